"""Refused and failed requests: a status, and OpenAI's error body."""

import json
from collections.abc import Mapping

from fastapi.responses import Response

from gpt_pipeline.errors import GptPipelineError


class ApiError(GptPipelineError):
    """A request that is refused, or that failed.

    Attributes:
        status: HTTP's.
        message: one line for the user.
        param: the argument at fault.
        code: the reason, for programs.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def kind(self) -> str:
        """The `type` of the body."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def copy(self) -> "ApiError":
        """A new error: each task that raises an exception writes its traceback into it."""
        return ApiError(
            self.status, self.message, param=self.param, code=self.code, headers=self.headers
        )

    def body(self) -> bytes:
        """The body as JSON; ASCII, as a message may quote lone surrogates."""
        error = {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }  # fmt: skip
        return json.dumps({"error": error}).encode("ascii")

    def response(self) -> Response:
        """The whole response."""
        return Response(self.body(), self.status, self.headers, "application/json")
