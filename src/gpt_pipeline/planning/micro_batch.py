"""The micro-batch of a run: the configured one if it fits, or with auto the largest that fits."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.config import BatchSplit, Config
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.display import count
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.model import meta_model
from gpt_pipeline.planning.measure import Question, measured
from gpt_pipeline.planning.memory_model import MemoryModel, half
from gpt_pipeline.runtime.memory import available_bytes
from gpt_pipeline.training import Outcome, ran_out_of_memory, reason

log = logging.getLogger(__name__)

SetUp = Callable[[], None]
"""Sets up the process that measures; see `measured`."""

_KEY = "model.micro_batch_size"
_WORTH_MEASURING = 0.5
"""Share of the free memory from which on an estimate is not enough."""

_WITH_SNAPSHOT = 7 / 4
"""A checkpoint written in the background needs a copy of weights and moments, not of gradients."""
_WIDTHS, _HIDDEN_WIDTHS = 24, 8
"""Numbers of 4 bytes, in widths, that a layer keeps per token for the backward pass: more than any
model here was measured to keep."""
_LOGIT_BYTES = 10
"""Bytes per logit of an evaluation that computes those of a whole micro-batch."""


def is_auto(config: Config) -> bool:
    """Whether model.micro_batch_size is auto."""
    return config.model.micro_batch_size == "auto"


def without_auto(composed: Composed) -> Config:
    """Replace micro_batch_size=auto by the number that the config has without that override.

    Together with grad_accumulation, that number gives the windows per step.

    Raises:
        ConfigError: no config file has a number.
    """
    if not is_auto(composed.config):
        return composed.config
    overrides = [word for word in composed.overrides if not word.startswith(f"{_KEY}=")]
    for given in (overrides, [f"model={composed.chosen['model']}"]):
        size = compose(given).config.model.micro_batch_size
        if size != "auto":
            return composed.config.replace({_KEY: size})
    raise ConfigError([f"{_KEY}=auto needs a number in the model's own file, which has auto too"])


def with_split(config: Config, split: BatchSplit) -> Config:
    """The config with this split of the windows of a step."""
    return config.replace(
        {_KEY: split.micro_batch_size, "model.grad_accumulation": split.grad_accumulation}
    )


def choose_micro_batch(
    config: Config,
    checkpoint: Checkpoint | None,
    device: torch.device,
    *,
    auto: bool,
    set_up: SetUp,
) -> Config:
    """Return the config with the micro-batch that the run uses; logs the choice of auto.

    A resumed run keeps its split if the windows per step are the same, because another split
    would sum in another order. Nothing is measured if an estimate is far below the free memory.

    Args:
        config: the run's, with a number for the micro-batch.
        checkpoint: the one that the run resumes from; None for a new run.
        device: of the run.
        auto: whether to choose the largest micro-batch that fits.
        set_up: for the process that measures; see `measured`.

    Raises:
        ConfigError: the micro-batch does not fit; names the largest that does.
    """
    split = config.model.batch_split()
    if checkpoint is not None:
        saved = checkpoint.config().model.batch_split()
        if saved == split or (auto and saved.windows_per_step == split.windows_per_step):
            return with_split(config, saved)
    available = available_bytes(device)
    check_weights(config, available)
    if not auto and rough_bytes(config) <= _WORTH_MEASURING * available:
        return config
    log.info("measuring how much memory the run takes")
    most = split.windows_per_step if auto else split.micro_batch_size
    question = Question(config, most, timed=False, available_bytes=available)
    memory_model = measured(question, set_up)
    if not auto:
        check_fits(config, memory_model)
        return config
    best = memory_model.largest_split(split.windows_per_step) if memory_model else None
    if memory_model is None or best is None:
        raise ConfigError([_nothing_fits(config)])
    log.info(
        "%s=auto: %d sequences per micro-batch, %d micro-batches per step (%s of %s free)",
        _KEY, best.micro_batch_size, best.grad_accumulation,
        f"{count(memory_model.peak_bytes(best.micro_batch_size))}B", f"{count(available)}B",
    )  # fmt: skip
    return with_split(config, best)


def at_least_bytes(config: Config) -> int:
    """The least memory that a run of the model takes: its weights, gradients and moments."""
    return config.optimizer.training_bytes(meta_model(config.gpt_config()))


def rough_bytes(config: Config) -> int:
    """Estimate the memory of a run from its shape, without the program, rather high than low."""
    m, split = config.gpt_config(), config.model.batch_split()
    held = round(at_least_bytes(config) * _WITH_SNAPSHOT)
    layer = 4 * (_WIDTHS * m.embed_dim + _HIDDEN_WIDTHS * m.ff_hidden_dim)
    token = m.num_layers * layer + _LOGIT_BYTES * m.vocab_size
    return held + split.micro_batch_size * m.max_length * token


def check_weights(config: Config, available: int) -> None:
    """Refuse a model whose weights, gradients and moments alone exceed the available memory.

    Raises:
        ConfigError: with both sizes.
    """
    least = at_least_bytes(config)
    if least > available:
        raise ConfigError(
            [f"the model's weights, gradients and moments must fit into the free memory, "
             f"{count(available)}B; got {count(least)}B; choose a smaller model.embed_dim, "
             "model.num_layers or model.vocab_size"]
        )  # fmt: skip


def check_fits(config: Config, memory_model: MemoryModel | None) -> None:
    """Refuse a micro-batch that does not fit.

    Args:
        config: the run's.
        memory_model: its measurement; None if not even one window fits.

    Raises:
        ConfigError: names the largest micro-batch that fits.
    """
    split = config.model.batch_split()
    if memory_model is not None and memory_model.fits(split.micro_batch_size):
        return
    best = memory_model.largest_split(split.windows_per_step) if memory_model else None
    if memory_model is None or best is None:
        raise ConfigError([_nothing_fits(config)])
    need, room = (
        memory_model.peak_bytes(split.micro_batch_size),
        memory_model.baseline.available_bytes,
    )
    raise ConfigError(
        [f"{_KEY} must fit into memory: {split.micro_batch_size} takes about {count(need)}B, and "
         f"{count(room)}B are free; the largest that fits is {best.micro_batch_size}: "
         f"{_overrides(best)} keep the tokens per step"]
    )  # fmt: skip


def out_of_memory_error(
    config: Config, outcome: Outcome, device: torch.device, *, set_up: SetUp
) -> UserError:
    """The error of a run that ran out of memory: what was saved, and the micro-batch that fits.

    Args:
        config: the run's.
        outcome: the reason, and the newest checkpoint.
        device: of the run; memory that this process holds there counts as free.
        set_up: for the process that measures; see `measured`.
    """
    split = config.model.batch_split()
    kept = "no step was completed; start again"
    if outcome.checkpoint is not None:
        kept = f"all steps are saved; resume from {outcome.checkpoint.path}"
    got = f"memory ran out with {_KEY}={split.micro_batch_size} ({outcome.out_of_memory}); {kept}"
    smaller = half(split)
    if smaller is None:
        return UserError(f"{got} with a smaller model, or checkpoint.background=false")
    available = available_bytes(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # for the process that measures
    question = Question(with_split(config, smaller), smaller.micro_batch_size, False, available)
    memory_model = measured(question, set_up)
    best = memory_model.largest_split(split.windows_per_step) if memory_model else None
    if best is None or best.micro_batch_size > smaller.micro_batch_size:
        best = smaller
    return UserError(
        f"{got} with {_overrides(best)}, the largest that fits with the same tokens per step"
    )


@contextmanager
def out_of_memory_as_user_error() -> Iterator[None]:
    """Turn an out-of-memory error of the block into a UserError.

    Raises:
        UserError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise UserError(
            f"memory ran out: {reason(error)}; choose a smaller model or {_KEY}; "
            "`gpt-pipeline plan` shows what fits"
        ) from error


def _nothing_fits(config: Config) -> str:
    return (
        f"{_KEY} must fit into memory; not even 1 window of {config.model.max_length} tokens does; "
        "choose a smaller model.max_length, or a smaller model"
    )


def _overrides(split: BatchSplit) -> str:
    return f"{_KEY}={split.micro_batch_size} model.grad_accumulation={split.grad_accumulation}"
