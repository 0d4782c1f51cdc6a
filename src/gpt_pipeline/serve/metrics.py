"""Metrics for Prometheus, and a log line per request."""

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
"""The status of a request whose client disconnected before it was answered."""
ABORTED = "abort"
"""The `finished_reason` of a sample whose request ended first."""
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
    """The metrics of one server, in a registry of their own.

    Metrics that vLLM has too keep its names after our prefix, and its label `model_name`; a request
    of vLLM is a sample here.

    Args:
        model: the name of the served model.
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
        self._tokens = self._counter("generation_tokens", "Tokens sampled, end-of-text included")
        self._running = self._gauge("num_requests_running", "Samples and prompts being computed")
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
        """Call these functions whenever the metrics are read."""
        self._waiting.set_function(queued)
        self._running.set_function(active)
        self._cache.set_function(cache)

    def asked(self, prompt_tokens: int) -> None:
        """Count the prompts of a request."""
        self._prompt_tokens.inc(prompt_tokens)

    def joined(self, seconds: float) -> None:
        """Count a sample that waited so long for its slot; for the inference thread."""
        self._queue.observe(seconds)

    def sampled(self, seconds: float, *, first: bool) -> None:
        """Count a token, and the time that it took; for the inference thread."""
        (self._first if first else self._between).observe(seconds)
        self._tokens.inc()

    def ended(self, reason: str, seconds: float) -> None:
        """Count a sample that ended so long after its request."""
        self._success.labels(self._model, reason).inc()
        self._whole.observe(seconds)

    def aborted(self, number: int) -> None:
        """Count samples whose request ended first."""
        if number:
            self._success.labels(self._model, ABORTED).inc(number)

    def answered(self, path: str, status: str) -> None:
        """Count a request."""
        if path.startswith("/v1/models/"):
            path = "/v1/models"
        known = path if path in _PATHS else "other"  # unknown paths must not add time series
        self._requests.labels(known, status).inc()

    async def response(self) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class WatchRequests:
    """ASGI middleware that counts every request by status, and logs it if asked to.

    Args:
        app: the application. It may set `usage` in the request's state: a function that gives the
            numbers of prompt tokens and sampled tokens.
        metrics: counts every request.
        logs: whether to log a line per request.
        secret: text to mask in the log, which a client may have put into a path.
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
            elif not message.get("more_body", False):  # before its client can read the metrics
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
    """Mask the secret; an encoded path, which may hide it, is masked as a whole."""
    return "***" if unquote(asked) != asked else asked.replace(secret, "***")
