"""The process around the application: its socket, its connections, and how it ends."""

import asyncio
import errno
import logging
import math
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from gpt_pipeline.errors import ConfigError
from gpt_pipeline.serve.errors import ApiError

log = logging.getLogger(__name__)

HEAD_TIMEOUT_S = 10.0
"""A connection whose next request's head is not there by then is closed."""
_BACKLOG = 512
_MOST_FILES = 8192
"""Open files that the process asks the system for; each connection is one."""
_TOO_MANY = ApiError(503, "the server has too many connections", code="too_many_connections")
_READ_S = 1.0
"""For clients to read that the time is over, before they are cut off."""


def listen(host: str, port: int, *, patience_s: float) -> socket.socket:
    """A socket that connections may queue at from now on.

    Args:
        host: an address of this machine, or a name of one.
        port: 0: any free one.
        patience_s: seconds that what was sent may stay unread before the system gives the
            connection up, where it can.

    Raises:
        ConfigError: the port is taken, or the address is not of this machine.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # with its protocol named: else asyncio sends small pieces 40 ms late (Nagle's algorithm)
        listener = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        raise ConfigError([f"serve.host={host} is no address of this machine: {error}"]) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(1000 * patience_s)
            )
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError([_cannot_listen(host, port, error)]) from None
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"serve.port={port} is taken on {host}; end what listens there, or choose another"
    if error.errno == errno.EACCES:
        return f"serve.port={port} is not for this user; choose one above 1023"
    return f"serve.host={host} serve.port={port} cannot be listened on: {error.strerror}"


def url_of(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: FastAPI, listener: socket.socket, *, grace_s: float, on_ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run then have `grace_s` to end in.

    A second signal ends it at once.
    """
    server = _Server(configured(app, grace_s=grace_s), grace_s, on_ready)
    asyncio.run(server.serve(sockets=[listener]))


def free_files() -> int:
    """How many files this process may still open: as many as the system lets it ask for, at most
    some thousands.
    """
    try:
        import resource
    except ImportError:  # Windows
        return _MOST_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < _MOST_FILES:
        wanted = _MOST_FILES if hard == unlimited else min(hard, _MOST_FILES)
        with suppress(OSError, ValueError):  # macOS has another limit behind its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    allowed = _MOST_FILES if soft == unlimited else min(soft, _MOST_FILES)
    with suppress(OSError):
        allowed -= len(list(Path("/dev/fd").iterdir()))
    return allowed


def configured(app: FastAPI, *, grace_s: float, files: int | None = None) -> uvicorn.Config:
    """How uvicorn is to serve the application.

    Args:
        app: what answers.
        grace_s: seconds that running requests have to end in.
        files: how many may be opened; None: as many as the system allows. A connection too many is
            refused before there is none left: asyncio would try again and again, and log each.
    """
    files = free_files() if files is None else files
    at_once = max(min(_BACKLOG, files // 8), 1)
    return uvicorn.Config(
        app,
        http=_Protocol,
        backlog=at_once,
        # what is accepted in one turn of the loop is refused and closed some turns later; one more
        # than _Protocol takes: a request that has a connection is not refused
        limit_concurrency=max(files - 4 * at_once, 1) + 1,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=math.ceil(HEAD_TIMEOUT_S),
        timeout_graceful_shutdown=math.ceil(grace_s + 2 * _READ_S),
    )


class _Server(uvicorn.Server):
    """Uvicorn's, but a signal is a wish to end, not the process's end after it."""

    def __init__(
        self, config: uvicorn.Config, grace_s: float, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._grace_s, self._on_ready = grace_s, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While open, SIGTERM, SIGINT and SIGHUP are taken in here, if they were not ignored."""
        loop = asyncio.get_running_loop()

        def take(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._stop, number)

        before = {
            number: signal.signal(number, take)
            for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None))
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int) -> None:
        name, loop = signal.Signals(number).name, asyncio.get_running_loop()
        if self.should_exit:
            if name == "SIGHUP":  # a terminal that closes sends two
                return
            log.info("%s: stopped at once", name)
            self._cut_all()
            return
        log.info(
            "%s: running requests have %g s to end in; a second one stops at once",
            name,
            self._grace_s,
        )
        self.should_exit = True
        loop.call_later(self._grace_s, self._fail_all)
        loop.call_later(self._grace_s + _READ_S, self._cut_all)

    def _fail_all(self) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.scheduler.fail_all(
            ApiError(503, "the server is shutting down (serve.grace_s)", code="shutting_down")
        )

    def _cut_all(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Protocol(H11Protocol):
    """Uvicorn's, but there is a limit to connections, a request's head has to come in time, and
    errors are OpenAI's.
    """

    _head_by: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) >= (self.limit_concurrency or math.inf):
            self._refuse(_TOO_MANY)
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that is still not whole keeps its time limit."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._head_by = None

    def _wait_for_head(self) -> None:
        if self._head_by is None:
            self._head_by = self.loop.time() + HEAD_TIMEOUT_S
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_at(
            self._head_by, self.timeout_keep_alive_handler
        )

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # amid another answer
            self.transport.close()
            return
        self._refuse(ApiError(400, msg, code="invalid_http"))

    def _refuse(self, error: ApiError) -> None:
        """Answer before a request is whole, and close."""
        headers = [("content-type", "application/json"), ("connection", "close")]
        for event in (
            h11.Response(
                status_code=error.status, headers=headers, reason=STATUS_PHRASES[error.status]
            ),
            h11.Data(data=error.body()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
