"""ASGI middleware around the whole server: who may ask, how much, how slowly, for how long."""

import asyncio
import contextlib
import hmac
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt_pipeline.config import is_loopback
from gpt_pipeline.config.problems import one_line
from gpt_pipeline.serve.errors import ApiError

BODY_TIMEOUT_S = 20.0
"""A body that takes longer to come is not waited for."""
LINGER_S = 5.0
"""How long the rest of a body that is refused is read and dropped: a client that is cut off while
it sends may never read the answer."""
_MARGIN_S = 5.0
"""A request that is over its time by so much cannot be told so: its client does not read."""
_KEYED = ("/v1/", "/metrics", "/tokenize", "/detokenize")
"""Paths that need the key; the page has to be loaded before it can be given one."""


class Limits:
    """Reads the body within its limits before anything looks at it, and drops requests that end.

    A request whose client goes away, or that is far over its time, is cancelled.

    Args:
        app: what answers.
        max_body_bytes: a longer body is refused while it is read.
        timeout_s: seconds that a request may take.
        api_key: what `Authorization: Bearer` must have, stripped; None: anything.
        own_names_alone: whether requests must call the server by a name of this machine's own: a
            page of another host may have had its name lead here (DNS rebinding).
        body_timeout_s: seconds that the body may take.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        timeout_s: float,
        api_key: str | None,
        own_names_alone: bool,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._key = None if api_key is None else api_key.encode()
        self._own_names_alone = own_names_alone
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
                f"the body did not come within {self._body_timeout_s:g} s",
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
        if self._own_names_alone and name and not is_loopback(_host_of(name)):  # browsers send one
            raise ApiError(
                403,
                f"the server is for this machine alone, by the name localhost; got "
                f"{one_line(name)!r}; serve.api_key lets it answer to other names",
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
                "the request must bring the server's key: Authorization: Bearer KEY",
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
        """The whole body; None: the client has gone."""
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
            work.result()  # raises what the app did
        elif not done and not begun:
            error = ApiError(
                503,
                f"the request took longer than {self._timeout_s:g} s (serve.timeout_s)",
                code="request_timeout",
            )
            await _refuse(error, receive, send, linger_s=0)


def _replay(body: bytes) -> Receive:
    """Hands out the body, and then nothing: `Limits` itself looks whether the client is there."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return await _never()

    return receive


async def _gone(receive: Receive, whole: asyncio.Event) -> None:
    """Ends when the client goes; when it has been told all, the app may still close its files."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if whole.is_set():
        await _never()


async def _never() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def _host_of(authority: str) -> str:
    """Without the port; what is no authority is a host by itself."""
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
