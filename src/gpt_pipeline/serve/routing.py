"""Requests outside the API's routes: HEAD, the files of the page, and unknown paths."""

import os
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt_pipeline.config.problems import one_line
from gpt_pipeline.serve.errors import ApiError

PAGE = Path(__file__).parent / "page"
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_READS = ("GET", "HEAD")
_OF_CHAT_MODELS = ("/chat/completions", "/responses", "/messages")
_BESIDE_V1 = ("/completions", "/models")


class Page(StaticFiles):
    """The files of the page, with a policy that forbids loading anything from other hosts."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; methods other than GET and HEAD are refused only if it exists."""
        response = await super().get_response(path, {**scope, "method": "GET"})
        if scope["method"] not in _READS:
            raise HTTPException(405, headers={"Allow": ", ".join(_READS)})
        return response

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of a path; none for a name that no file can have."""
        try:
            return super().lookup_path(path)
        except ValueError:  # a null byte
            return "", None

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file with the headers of the page."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_PAGE_HEADERS)
        return response


def not_answered(error: HTTPException, request: Request) -> ApiError:
    """The refusal of an unknown path, or of a method that a path does not support."""
    path, headers = request.url.path, dict(error.headers or {})
    methods = headers.get("Allow", "").split(", ")
    if "GET" in methods and "HEAD" not in methods:
        headers["Allow"] = ", ".join([*methods, "HEAD"])
    message = f"{error.detail} ({request.method} {one_line(path)})"
    meant = path.rstrip("/").removeprefix("/v1")
    if error.status_code == 404 and meant in _OF_CHAT_MODELS:
        message += ": this is a base model, without chat; use /v1/completions"
    elif error.status_code == 404 and meant in _BESIDE_V1:
        message += f"; did you mean /v1{meant}?"
    return ApiError(error.status_code, message, headers=headers)


class HeadAsGet:
    """ASGI middleware that answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI defines it."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, without_body)
