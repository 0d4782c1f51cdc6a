"""The server as an ASGI application: routes, the page, and error responses."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from gpt_pipeline import __version__
from gpt_pipeline.config import ServeConfig, is_loopback
from gpt_pipeline.inference import Engine
from gpt_pipeline.serve.completions import Completions
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.limits import BODY_TIMEOUT_S, Limits
from gpt_pipeline.serve.metrics import Metrics, WatchRequests
from gpt_pipeline.serve.plan import no_such_model
from gpt_pipeline.serve.refusals import of_arguments, of_body, of_unreadable
from gpt_pipeline.serve.routing import PAGE, HeadAsGet, Page, not_answered
from gpt_pipeline.serve.scheduler import STOPPED, Scheduler
from gpt_pipeline.serve.schemas import Completion, ErrorBody, Health, ModelCard, ModelList
from gpt_pipeline.serve.served import Served
from gpt_pipeline.serve.tokenization import add_tokenization

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody},
    "5XX": {"model": ErrorBody},
}
_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
    "description": "a Completion as JSON; the last event is [DONE]",
}
_STREAM = {"text/event-stream": {"itemSchema": _EVENT}}


class _App(FastAPI):
    """FastAPI with middleware outside Starlette's, whose own error middleware is outermost."""

    around: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """The middleware that a request passes, outermost first."""
        return self.around(super().build_middleware_stack())


def _around(app: ASGIApp, *, metrics: Metrics, config: ServeConfig, api_key: str | None) -> ASGIApp:
    """Count every response, and allow pages of the origins to read it: refusals and bugs too.

    A browser's preflight request has no key, so CORS is handled before `Limits` checks the key.
    """
    if config.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=config.cors_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),  # clients add headers of their own
            expose_headers=("Retry-After",),
            **_of_newer_starlette(),
        )
    return WatchRequests(app, metrics, logs=config.log == "requests", secret=api_key)


def _of_newer_starlette() -> dict[str, Any]:
    """Let a page of a public host use a server in a private network, if Starlette knows how."""
    known = inspect.signature(CORSMiddleware).parameters
    return {"allow_private_network": True} if "allow_private_network" in known else {}


def create_app(
    served: Served,
    config: ServeConfig,
    *,
    engine: Engine | None = None,
    computing: Callable[[], AbstractContextManager[Any]] = nullcontext,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> FastAPI:
    """The application; its lifespan starts and ends the inference thread.

    Args:
        served: the model.
        config: the limits.
        engine: with `config.slots` slots; None: a new one.
        computing: makes the context that the model computes in, such as autocast.
        body_timeout_s: seconds within which a request's body must arrive.
    """
    if engine is None:
        engine = Engine(served.backend, eot_id=served.tokenizer.eot_id, slots=config.slots)
    api_key = None if config.api_key is None else config.api_key.strip()
    metrics = Metrics(served.name)
    scheduler = Scheduler(engine, queue=config.queue, metrics=metrics, computing=computing)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scheduler.start()
        yield
        await scheduler.close()

    app = _App(
        title="gpt-pipeline",
        version=__version__,
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.scheduler = scheduler
    app.around = partial(_around, metrics=metrics, config=config, api_key=api_key)
    _add_routes(app, served, Completions(served, scheduler, config, metrics), scheduler)
    add_tokenization(app, served, require_json=_require_json, errors=_ERRORS)
    app.add_api_route("/metrics", metrics.response, include_in_schema=False)
    if PAGE.is_dir():
        app.router.default = Page(directory=PAGE, html=True)  # paths without a route
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        Limits,
        max_body_bytes=config.max_body_bytes,
        timeout_s=config.timeout_s,
        api_key=api_key,
        local_hosts_only=api_key is None and is_loopback(config.host),
        body_timeout_s=body_timeout_s,
    )
    _add_errors(app, served)
    return app


def _add_routes(
    app: FastAPI, served: Served, completions: Completions, scheduler: Scheduler
) -> None:
    card = served.card()

    @app.get("/v1/models", responses=_ERRORS)
    async def list_models() -> ModelList:
        """The served model."""
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{model}", responses=_ERRORS)
    async def get_model(model: str) -> ModelCard:
        """One model."""
        if model != served.name:
            raise no_such_model(model, served)
        return card

    @app.get("/health", responses=_ERRORS)
    async def health() -> Health:
        """200 while the inference thread runs."""
        if not scheduler.alive:
            raise STOPPED.copy()
        return {"status": "ok"}

    app.add_api_route(
        "/v1/completions",
        completions.answer,
        methods=["POST"],
        dependencies=[Depends(_require_json)],
        response_model=None,
        responses={**_ERRORS, 200: {"model": Completion, "content": _STREAM}},
    )


async def _require_json(request: Request) -> None:
    """Refuse other types: a page of another host may send those without a preflight request."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise of_body()


def _add_errors(app: FastAPI, served: Served) -> None:
    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def wrong_arguments(request: Request, error: RequestValidationError) -> Response:
        return of_arguments(error.errors(), request.url.path).response()

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400 and error.__cause__ is not None:  # FastAPI's, for a body
            return of_unreadable(error.__cause__).response()
        model = request.path_params.get("model", served.name)
        if error.status_code == 405 and model != served.name:
            return no_such_model(model, served).response()
        return not_answered(error, request).response()

    @app.exception_handler(Exception)
    async def a_bug(request: Request, error: Exception) -> Response:
        return ApiError(
            500,
            "the server failed; see its log",
            code="bug",
            headers={"Connection": "close"},  # uvicorn closes it after logging the error
        ).response()
