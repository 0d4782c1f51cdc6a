"""ASGI middleware around the server: hosts, the API key, sizes and times of requests."""

import asyncio
import contextlib
import hmac
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt_pipeline.config import is_loopback
from gpt_pipeline.config.problems import one_line
from gpt_pipeline.serve.errors import ApiError

BODY_TIMEOUT_S = 20.0
"""Seconds within which a request's body must arrive."""
LINGER_S = 5.0
"""Seconds for which the rest of a refused body is read and dropped: a client that is disconnected
while it sends may never read the response."""
_MARGIN_S = 5.0
"""A request that exceeds its time by so much is cancelled: its client does not read."""
_KEYED = ("/v1/", "/metrics", "/tokenize", "/detokenize")
"""Paths that need the key; the page does not, as users enter the key there."""


class Limits:
    """Reads the whole body within its limits before the application sees the request.

    A request whose client disconnects, or that far exceeds its time, is cancelled.

    Args:
        app: the application.
        max_body_bytes: a longer body is refused while it is read.
        timeout_s: seconds that a request may take.
        api_key: the key that `Authorization: Bearer` must have, stripped; None: no key.
        local_hosts_only: accept only Host headers that name this machine, such as localhost
            (protection against DNS rebinding). Starlette's TrustedHostMiddleware takes a list of
            names, but every 127.x.x.x, ::1 and *.localhost is allowed here.
        body_timeout_s: seconds within which the body must arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        timeout_s: float,
        api_key: str | None,
        local_hosts_only: bool,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._key = None if api_key is None else api_key.encode()
        self._local_hosts_only = local_hosts_only
        self._timeout_s, self._body_timeout_s = timeout_s, min(body_timeout_s, timeout_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_name(scope)
            self._check_key(scope)
            self._check_size(int(_header(scope, b"content-length") or 0))
            body = await asyncio.wait_for(self._body(receive), self._body_timeout_s)
        except asyncio.TimeoutError:
            error = ApiError(
                408,
                f"the body did not arrive within {self._body_timeout_s:g} s",
                code="body_timeout",
            )
            await _refuse(error, receive, send, linger_s=0)
        except ApiError as error:
            await _refuse(error, receive, send, linger_s=LINGER_S)
        else:
            if body is not None:
                await self._answer(body, scope, receive, send)

    def _check_name(self, scope: Scope) -> None:
        name = (_header(scope, b"host") or b"").decode("latin-1")
        # browsers always send the header
        if self._local_hosts_only and name and not is_loopback(_host_of(name)):
            raise ApiError(
                403,
                f"the Host header must name this machine, such as localhost; got "
                f"{one_line(name)!r}; serve.api_key allows other names",
                code="wrong_host",
            )

    def _check_key(self, scope: Scope) -> None:
        if self._key is None or not scope["path"].startswith(_KEYED):
            return
        scheme, _, given = (_header(scope, b"authorization") or b"").partition(b" ")
        same = hmac.compare_digest(given.strip(), self._key)
        if scheme.lower() != b"bearer" or not same:
            raise ApiError(
                401,
                "the request must have the server's key: Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._max_body_bytes:
            raise ApiError(
                400,
                f"the body must be at most {self._max_body_bytes} bytes (serve.max_body_bytes)",
                code="body_too_large",
            )

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None: the client disconnected."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            self._check_size(len(body))
            if not message.get("more_body", False):
                return bytes(body)

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        begun, whole = False, asyncio.Event()

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                whole.set()

        work = asyncio.ensure_future(self._app(scope, _replay(body), sent))
        gone = asyncio.create_task(_gone(receive, whole))
        try:
            done, _ = await asyncio.wait(
                {work, gone},
                timeout=self._timeout_s + _MARGIN_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled():
            work.result()  # raises the application's exception
        elif not done and not begun:
            error = ApiError(
                503,
                f"the request took longer than {self._timeout_s:g} s (serve.timeout_s)",
                code="request_timeout",
            )
            await _refuse(error, receive, send, linger_s=0)


def _replay(body: bytes) -> Receive:
    """Give the body, and then nothing: `Limits` itself watches for a disconnect."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return await _never()

    return receive


async def _gone(receive: Receive, whole: asyncio.Event) -> None:
    """Return when the client disconnects; never once the response is sent, as the application may
    still be closing files.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    if whole.is_set():
        await _never()


async def _never() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def _host_of(authority: str) -> str:
    """The host without the port; an invalid authority is returned as it is."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return authority


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


async def _refuse(error: ApiError, receive: Receive, send: Send, *, linger_s: float) -> None:
    """Answer at once, and close the connection when the client has had time to read it."""
    response = error.response()
    headers = [*response.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_drop(receive), linger_s)
    await send({"type": "http.response.body", "body": b""})


async def _drop(receive: Receive) -> None:
    more = True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
