"""What a request is refused with: a status, and OpenAI's error body."""

import json
from collections.abc import Mapping

from fastapi.responses import Response

from gpt_pipeline.errors import GptPipelineError


class ApiError(GptPipelineError):
    """A request that is not answered, or not to its end.

    Attributes:
        status: HTTP's.
        message: one line for the person behind the client.
        param: the argument that is at fault.
        code: a word that a program can tell the reason by.
        headers: sent beside the body.
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

    def body(self) -> bytes:
        """The body as JSON; ASCII, as a message may quote what no encoding can hold."""
        error = {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }  # fmt: skip
        return json.dumps({"error": error}).encode("ascii")

    def response(self) -> Response:
        """The whole response."""
        return Response(self.body(), self.status, self.headers, "application/json")
