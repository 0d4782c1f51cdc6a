"""Responses as bytes: whole ones, and server-sent events."""

from collections.abc import AsyncIterator, Callable

from fastapi.responses import Response
from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.schemas import Completion

DONE = b"data: [DONE]\n\n"
_NO_BUFFERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream(Response):
    """Server-sent events; calls `leave` when the stream ends or the client disconnects.

    Starlette's StreamingResponse is not used: here an error is the stream's last event, `Limits`
    watches for a disconnect, and each layer between a token and its socket costs time.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(headers=_NO_BUFFERS)
        del self.headers["content-length"]
        self._first, self._rest, self._leave = first, rest, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            await send(_part(self._first))
            try:
                async for event in self._rest:
                    await send(_part(event))
            except ApiError as error:
                await send(_part(b"data: " + error.body() + b"\n\n"))
            await send(_part(b"", more=False))
        finally:
            self._leave()


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def sse(event: Completion) -> bytes:
    """A completion as one server-sent event."""
    return b"data: " + _dumped(event) + b"\n\n"


def whole_response(completion: Completion) -> Response:
    """A completion as the whole body."""
    return Response(_dumped(completion), media_type="application/json")


def _dumped(value: Completion) -> bytes:
    # as ASCII: some clients that read lines split them at U+2028
    return to_json(value, ensure_ascii=True)
