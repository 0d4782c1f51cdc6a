"""Which micro-batch a run uses: the one that is asked for, or with auto the largest that fits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.cli.console import log
from gpt_pipeline.config import BatchSplit, Config
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.display import count
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.planning import MemoryModel, at_least_bytes, half, rough_bytes
from gpt_pipeline.planning.measure import Question, measured
from gpt_pipeline.runtime.memory import available_bytes
from gpt_pipeline.training import Outcome, ran_out_of_memory, reason

_KEY = "model.micro_batch_size"
_WORTH_MEASURING = 0.5
"""From this share of the free memory on, a rough figure is not enough."""


def is_auto(config: Config) -> bool:
    """Whether the micro-batch is to be found."""
    return config.model.micro_batch_size == "auto"


def without_auto(composed: Composed) -> Config:
    """The config with a number for auto: the one that it has without the word, which also says
    how many windows a step has.

    Raises:
        ConfigError: no file says a number.
    """
    if not is_auto(composed.config):
        return composed.config
    words = [word for word in composed.overrides if not word.startswith(f"{_KEY}=")]
    for given in (words, [f"model={composed.chosen['model']}"]):
        size = compose(given).config.model.micro_batch_size
        if size != "auto":
            return composed.config.replace({_KEY: size})
    raise ConfigError([f"{_KEY}=auto needs a number in the model's own file; got auto there too"])


def with_split(config: Config, split: BatchSplit) -> Config:
    """The config with the step's windows split so."""
    return config.replace(
        {_KEY: split.micro_batch_size, "model.grad_accumulation": split.grad_accumulation}
    )


def settled(
    config: Config, checkpoint: Checkpoint | None, device: torch.device, *, auto: bool
) -> Config:
    """The config with the micro-batch that the run uses; says how auto chose.

    A run that goes on keeps the split that it has, if its steps have as many windows: another one
    would sum in another order, and be another run. Nothing is measured where a rough figure says
    that all is well.

    Raises:
        ConfigError: it does not fit; the largest that does is named.
    """
    split = config.model.batch_split()
    if checkpoint is not None:
        there = checkpoint.config().model.batch_split()
        if there == split or (auto and there.windows_per_step == split.windows_per_step):
            return with_split(config, there)
    available = available_bytes(device)
    check_weights(config, available)
    if not auto and rough_bytes(config) <= _WORTH_MEASURING * available:
        return config
    log.info("measuring how much memory the run takes")
    most = split.windows_per_step if auto else split.micro_batch_size
    memory_model = measured(Question(config, most, timed=False, available=available))
    if not auto:
        check_fits(config, memory_model)
        return config
    best = memory_model.largest_split(split.windows_per_step) if memory_model else None
    if memory_model is None or best is None:
        raise ConfigError([_nothing_fits(config)])
    log.info(
        "%s=auto: %d windows at once, %d accumulated (%s of %s that are free)",
        _KEY, best.micro_batch_size, best.grad_accumulation,
        f"{count(memory_model.peak_bytes(best.micro_batch_size))}B", f"{count(available)}B",
    )  # fmt: skip
    return with_split(config, best)


def check_weights(config: Config, available: int) -> None:
    """Refuse a model whose weights, gradients and moments alone are too large.

    Raises:
        ConfigError: with both sizes.
    """
    least = at_least_bytes(config)
    if least > available:
        raise ConfigError(
            [f"the model's weights, gradients and moments must fit into the memory that is free, "
             f"{count(available)}B; got {count(least)}B; choose a smaller model.embed_dim, "
             "model.num_layers or model.vocab_size"]
        )  # fmt: skip


def check_fits(config: Config, memory_model: MemoryModel | None) -> None:
    """Refuse a micro-batch that does not fit.

    Raises:
        ConfigError: the largest that does is named.
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
         f"{_words(best)} keep the tokens of a step"]
    )  # fmt: skip


def out_of_memory_error(config: Config, outcome: Outcome, device: torch.device) -> UserError:
    """What to say after memory ran out in mid-run: what was saved, and what fits.

    Args:
        config: of the run.
        outcome: why there was no memory, and the newest checkpoint.
        device: of the run; what this process holds there is free for the next one.
    """
    split = config.model.batch_split()
    kept = "no step was done yet: start again"
    if outcome.checkpoint is not None:
        kept = f"all steps are saved: go on from {outcome.checkpoint.path}"
    got = f"memory ran out with {_KEY}={split.micro_batch_size} ({outcome.out_of_memory}); {kept}"
    smaller = half(split)
    if smaller is None:
        return UserError(f"{got}; with a smaller model, or checkpoint.background=false")
    available = available_bytes(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # for the process that measures
    question = Question(with_split(config, smaller), smaller.micro_batch_size, False, available)
    memory_model = measured(question)
    best = memory_model.largest_split(split.windows_per_step) if memory_model else None
    if best is None or best.micro_batch_size > smaller.micro_batch_size:
        best = smaller
    return UserError(
        f"{got} with {_words(best)}: the largest that fits, with as many tokens a step"
    )


@contextmanager
def memory_told() -> Iterator[None]:
    """Turn an error that says that memory ran out, anywhere inside, into a line.

    Raises:
        UserError: that line.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise UserError(
            f"memory ran out: {reason(error)}; choose a smaller model or {_KEY}; "
            "`gpt-pipeline plan` says what fits"
        ) from error


def _nothing_fits(config: Config) -> str:
    return (
        f"{_KEY} must fit into memory; not even 1 window of {config.model.max_length} tokens does; "
        "choose a smaller model.max_length, or a smaller model"
    )


def _words(split: BatchSplit) -> str:
    return f"{_KEY}={split.micro_batch_size} model.grad_accumulation={split.grad_accumulation}"
