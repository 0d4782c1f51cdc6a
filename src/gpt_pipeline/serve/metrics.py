"""What the server counts, for Prometheus; and a log line for each request."""

import logging
import time
from collections.abc import Callable
from urllib.parse import unquote

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

from gpt_pipeline.config.problems import one_line

log = logging.getLogger(__name__)

ABANDONED = "499"
"""Stands for the status of a request whose client had gone before it got one."""
ABORTED = "abort"
"""The `finished_reason` of a sample whose request ended before it did."""
_PATHS = (
    "/", "/health", "/metrics", "/openapi.json", "/v1/completions", "/v1/models",
    "/tokenize", "/detokenize", "/tokenizer_info",
)  # fmt: skip
_LONGEST_PATH = 200
_FIRST_TOKEN_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SAMPLE_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WAIT_S = (0.001, 0.01, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server, apart from those of the process's other parts.

    What vLLM counts too has its name behind our own prefix, and its label `model_name`; a request
    there is a sample here.

    Args:
        model: the name of the model that is served.
    """

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._model = model
        self._requests = Counter(
            "gpt_pipeline_requests", "HTTP requests by path and status",
            ["path", "status"], registry=self.registry,
        )  # fmt: skip
        self._success = Counter(
            "gpt_pipeline_request_success", "Samples that ended, by their reason",
            ["model_name", "finished_reason"], registry=self.registry,
        )  # fmt: skip
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts")
        self._tokens = self._counter("generation_tokens", "Tokens drawn, end-of-text included")
        self._running = self._gauge("num_requests_running", "Samples and scored prompts at work")
        self._waiting = self._gauge(
            "num_requests_waiting", "Samples, and prompts to be scored, that wait"
        )
        self._cache = self._gauge("kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1")
        self._first = self._histogram(
            "time_to_first_token", "From the request to a sample's first token", _FIRST_TOKEN_S
        )
        self._between = self._histogram(
            "inter_token_latency", "From a token of a sample to its next", _BETWEEN_TOKENS_S
        )
        self._whole = self._histogram(
            "e2e_request_latency", "From the request to a sample's end", _SAMPLE_S
        )
        self._queue = self._histogram(
            "request_queue_time", "From the request to a sample's slot", _WAIT_S
        )

    def _counter(self, name: str, about: str) -> Counter:
        made = Counter(f"gpt_pipeline_{name}", about, ["model_name"], registry=self.registry)
        return made.labels(self._model)

    def _gauge(self, name: str, about: str) -> Gauge:
        made = Gauge(f"gpt_pipeline_{name}", about, ["model_name"], registry=self.registry)
        return made.labels(self._model)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        made = Histogram(
            f"gpt_pipeline_{name}_seconds", about, ["model_name"],
            buckets=buckets, registry=self.registry,
        )  # fmt: skip
        return made.labels(self._model)

    def watch(
        self, *, queued: Callable[[], int], active: Callable[[], int], cache: Callable[[], float]
    ) -> None:
        """Ask these functions whenever somebody asks for the figures."""
        self._waiting.set_function(queued)
        self._running.set_function(active)
        self._cache.set_function(cache)

    def asked(self, prompt_tokens: int) -> None:
        """Count the prompts of a request."""
        self._prompt_tokens.inc(prompt_tokens)

    def joined(self, seconds: float) -> None:
        """Count a sample that got its slot after so long; for the scheduler's thread."""
        self._queue.observe(seconds)

    def drawn(self, seconds: float, *, first: bool) -> None:
        """Count a token, and the time that it took; for the scheduler's thread."""
        (self._first if first else self._between).observe(seconds)
        self._tokens.inc()

    def ended(self, reason: str, seconds: float) -> None:
        """Count a sample that came to its end after so long."""
        self._success.labels(self._model, reason).inc()
        self._whole.observe(seconds)

    def aborted(self, number: int) -> None:
        """Count samples whose request ended before they did."""
        if number:
            self._success.labels(self._model, ABORTED).inc(number)

    def answered(self, path: str, status: str) -> None:
        """Count a request."""
        if path.startswith("/v1/models/"):
            path = "/v1/models"
        known = path if path in _PATHS else "other"  # a stranger's paths make no series
        self._requests.labels(known, status).inc()

    async def response(self) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class WatchRequests:
    """ASGI middleware that tells `Metrics` the status of every request, and logs it if asked to.

    Args:
        app: what answers. It may leave `usage` in the request's state: a function that gives the
            tokens of prompts and those that were drawn.
        metrics: counts every request.
        logs: whether each request is a line of the log.
        secret: what must not come into the log, if a client has put it into a path.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, *, logs: bool = False, secret: str | None = None
    ) -> None:
        self._app, self._metrics, self._logs, self._secret = app, metrics, logs, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, counted, began = ABANDONED, False, time.monotonic()
        scope.setdefault("state", {})

        async def seen(message: Message) -> None:
            nonlocal status, counted
            if message["type"] == "http.response.start":
                status = str(message["status"])
            elif not message.get("more_body", False):  # before its client can ask for the figures
                self._count(scope, status, began)
                counted = True
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception:
            status = "500" if status == ABANDONED else status
            raise
        finally:
            if not counted:
                self._count(scope, status, began)

    def _count(self, scope: Scope, status: str, began: float) -> None:
        self._metrics.answered(scope["path"], status)
        if not self._logs:
            return
        asked = f"{scope['method']} {scope['path']}"
        if self._secret:
            asked = _masked(asked, self._secret)
        line = f"{one_line(asked, _LONGEST_PATH)} {status} {time.monotonic() - began:.3f} s"
        if (usage := scope["state"].get("usage")) is not None:
            line += ", {} prompt tokens, {} generated tokens".format(*usage())
        log.info("%s", line)


def _masked(asked: str, secret: str) -> str:
    """Without the secret; what is encoded more than once may hide it, and no path of ours is."""
    return "***" if unquote(asked) != asked else asked.replace(secret, "***")
