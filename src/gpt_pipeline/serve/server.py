"""The server process: its socket, its connections, and its shutdown."""

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
"""Seconds within which the head of a connection's next request must arrive."""
_BACKLOG = 512
_MOST_FILES = 8192
"""Open files that the process requests from the system; each connection is one."""
_TOO_MANY = ApiError(503, "the server has too many connections", code="too_many_connections")
_READ_S = 1.0
"""Seconds for clients to read the error before they are disconnected."""


def listen(host: str, port: int, *, patience_s: float) -> socket.socket:
    """A listening socket, whose connections queue until the server runs.

    Args:
        host: an address of this machine, or a name for one.
        port: 0: any free port.
        patience_s: seconds after which the system drops a connection whose client does not read,
            where the system supports it.

    Raises:
        ConfigError: the port is in use, or the address is not one of this machine.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # with an explicit protocol: else asyncio sends small pieces 40 ms late (Nagle's algorithm)
        listener = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            [f"serve.host={host} is not an address of this machine: {error}"]
        ) from None
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
        return f"serve.port={port} is in use on {host}; stop that program, or choose another port"
    if error.errno == errno.EACCES:
        return f"serve.port={port} is not permitted to this user; choose one above 1023"
    return f"serve.host={host} serve.port={port} cannot be listened on: {error.strerror}"


def url_of(listener: socket.socket) -> str:
    """The server's URL for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: FastAPI, listener: socket.socket, *, grace_s: float, on_ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests then have `grace_s` seconds to finish.

    A second signal stops at once.
    """
    server = _Server(configured(app, grace_s=grace_s), grace_s, on_ready)
    asyncio.run(server.serve(sockets=[listener]))


def free_files() -> int:
    """How many more files this process may open, after raising its limit to some thousands."""
    try:
        import resource
    except ImportError:  # Windows
        return _MOST_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < _MOST_FILES:
        wanted = _MOST_FILES if hard == unlimited else min(hard, _MOST_FILES)
        with suppress(OSError, ValueError):  # macOS has a lower limit too
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    allowed = _MOST_FILES if soft == unlimited else min(soft, _MOST_FILES)
    with suppress(OSError):
        allowed -= len(list(Path("/dev/fd").iterdir()))
    return allowed


def configured(app: FastAPI, *, grace_s: float, files: int | None = None) -> uvicorn.Config:
    """Uvicorn's configuration.

    Args:
        app: the application.
        grace_s: seconds that running requests have to finish.
        files: how many files may be opened; None: as many as the system allows. Connections are
            refused before none is left: asyncio would retry without end, and log each attempt.
    """
    files = free_files() if files is None else files
    at_once = max(min(_BACKLOG, files // 8), 1)
    return uvicorn.Config(
        app,
        http=_Protocol,
        backlog=at_once,
        # connections accepted in one turn of the loop are refused and closed some turns later; one
        # more than _Protocol's limit, so that a request on an accepted connection is not refused
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
    """Uvicorn's server, with our own handling of signals."""

    def __init__(
        self, config: uvicorn.Config, grace_s: float, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._grace_s, self._on_ready = grace_s, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM, SIGINT and SIGHUP meanwhile, unless they were ignored."""
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
            if name == "SIGHUP":  # a closing terminal sends two
                return
            log.info("%s: stopped at once", name)
            self._disconnect_all()
            return
        log.info(
            "%s: running requests have %g s to finish; a second signal stops at once",
            name,
            self._grace_s,
        )
        self.should_exit = True
        loop.call_later(self._grace_s, self._fail_all)
        loop.call_later(self._grace_s + _READ_S, self._disconnect_all)

    def _fail_all(self) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.scheduler.fail_all(
            ApiError(503, "the server is shutting down (serve.grace_s)", code="shutting_down")
        )

    def _disconnect_all(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Protocol(H11Protocol):
    """Uvicorn's protocol, with limits for connections and for the time of a request's head, and
    with OpenAI's error bodies.
    """

    _head_by: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept or refuse a connection."""
        super().connection_made(transport)
        if len(self.connections) >= (self.limit_concurrency or math.inf):
            self._refuse(_TOO_MANY)
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Receive bytes; an incomplete head keeps its time limit."""
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
        """Answer what is not HTTP, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # within another response
            self.transport.close()
            return
        self._refuse(ApiError(400, msg, code="invalid_http"))

    def _refuse(self, error: ApiError) -> None:
        """Answer before the request is complete, and close."""
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
