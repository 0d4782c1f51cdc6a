"""What the server counts, for Prometheus."""

from collections.abc import Callable

from fastapi.responses import Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt_pipeline.generation import Drawn

ABANDONED = "499"
"""Stands for the status of a request whose client had gone before it got one."""
_PATHS = (
    "/", "/health", "/metrics", "/openapi.json", "/v1/completions", "/v1/models",
    "/tokenize", "/detokenize", "/tokenizer_info",
)  # fmt: skip
_FIRST_TOKEN_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """The counters of one server, apart from those of the process's other parts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "gpt_pipeline_requests", "Requests by path and status",
            ["path", "status"], registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter(
            "gpt_pipeline_generated_tokens", "Tokens drawn", registry=self.registry
        )
        self._queued = Gauge(
            "gpt_pipeline_queued_samples", "Samples that wait for a slot", registry=self.registry
        )
        self._active = Gauge(
            "gpt_pipeline_active_samples", "Samples at work", registry=self.registry
        )
        self._first = Histogram(
            "gpt_pipeline_time_to_first_token_seconds", "From the request to its first token",
            buckets=_FIRST_TOKEN_S, registry=self.registry,
        )  # fmt: skip
        self._between = Histogram(
            "gpt_pipeline_time_between_tokens_seconds", "From a token of a sample to its next",
            buckets=_BETWEEN_TOKENS_S, registry=self.registry,
        )  # fmt: skip

    def watch(self, *, queued: Callable[[], int], active: Callable[[], int]) -> None:
        """Ask these functions whenever somebody asks for the figures."""
        self._queued.set_function(queued)
        self._active.set_function(active)

    def drawn(self, drawn: Drawn, seconds: float, *, first: bool) -> None:
        """Count what was drawn, and the time that it took; for the scheduler's thread."""
        (self._first if first else self._between).observe(seconds)
        if drawn.token is not None:
            self._tokens.inc()

    def answered(self, path: str, status: str) -> None:
        """Count a request."""
        if path.startswith("/v1/models/"):
            path = "/v1/models"
        known = path if path in _PATHS else "other"  # a stranger's paths make no series
        self._requests.labels(known, status).inc()

    async def response(self) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class CountRequests:
    """ASGI middleware that tells `Metrics` the status of every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, counted = ABANDONED, False

        async def seen(message: Message) -> None:
            nonlocal status, counted
            if message["type"] == "http.response.start":
                status = str(message["status"])
            elif not message.get("more_body", False):  # before its client can ask for the figures
                self._metrics.answered(scope["path"], status)
                counted = True
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception:
            status = "500" if status == ABANDONED else status
            raise
        finally:
            if not counted:
                self._metrics.answered(scope["path"], status)
