"""`gpt-pipeline serve`: serves a checkpoint: OpenAI's Completions API and a page to try it."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from types import ModuleType

from gpt_pipeline.cli.checkpoint import choose_checkpoint, sampling_config
from gpt_pipeline.cli.console import log, log_to_stderr
from gpt_pipeline.config import ServeConfig, is_loopback
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError, UserError, how_to_install
from gpt_pipeline.inference import prepare_as_configured
from gpt_pipeline.runtime.device import set_up_torch
from gpt_pipeline.runtime.precision import Precision

_EXTRA = {"fastapi", "prometheus_client", "starlette", "uvicorn"}


def command(overrides: Sequence[str]) -> int:
    """Serve the configured checkpoint until a signal arrives; returns the exit code."""
    log_to_stderr()
    composed = compose(overrides)
    given = composed.config
    serve = _serve_package()
    _check(given.serve)
    host, port = given.serve.host, given.serve.port
    with serve.listen(host, port, patience_s=given.serve.timeout_s) as listener:
        device = set_up_torch(given.runtime)
        checkpoint = choose_checkpoint(composed)
        config = sampling_config(composed, checkpoint)
        served = serve.Served(
            name=checkpoint.manifest.name,
            backend=prepare_as_configured(checkpoint.load_model(device), given.runtime),
            tokenizer=checkpoint.tokenizer(),
            prompt=config.model.prompt,
            sampling=config.sampler(),
            created=_seconds(checkpoint.manifest.saved_at),
            trained_with_eot=checkpoint.trained_with_eot,
        )
        precision = Precision.for_inference(given.runtime, device)
        app = serve.create_app(served, given.serve, computing=precision.autocast)
        _log_of_uvicorn()

        def ready() -> None:
            log.info("serving %s on %s (Ctrl-C ends)", served.name, serve.url_of(listener))

        serve.run(app, listener, grace_s=given.serve.grace_s, on_ready=ready)
    return 0


def _serve_package() -> ModuleType:
    """Import the server, whose libraries are an extra.

    Raises:
        UserError: a library is not installed.
    """
    try:
        from gpt_pipeline import serve
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        raise UserError(
            f"gpt-pipeline serve needs {error.name}; {how_to_install('serve')}"
        ) from None
    return serve


def _check(config: ServeConfig) -> None:
    if config.api_key is not None and not config.api_key.strip():
        raise ConfigError(["serve.api_key must not be empty; set null for no key"])
    if config.api_key is None and not is_loopback(config.host):
        log.warning(
            "serve.host=%s accepts requests from other machines without a key; set "
            "serve.api_key to require one",
            config.host,
        )
    if config.api_key is None and "*" in config.cors_origins:
        log.warning(
            "serve.cors_origins=[*] lets every web page in this machine's browsers use the "
            "server; set serve.api_key to require a key"
        )


def _seconds(saved_at: str) -> int:
    try:
        return int(datetime.fromisoformat(saved_at).timestamp())
    except ValueError:  # an untrusted checkpoint may have anything here
        return int(time.time())


def _log_of_uvicorn() -> None:
    """Log uvicorn's errors as the package's own, but no warnings about invalid requests."""
    theirs = logging.getLogger("uvicorn")
    theirs.handlers, theirs.propagate = log.handlers, False
    theirs.setLevel(logging.ERROR)
