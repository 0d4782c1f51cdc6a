"""The plan of a run: its measured memory and speed, its length, its time and its disk space."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gpt_pipeline.config import BatchSplit, Config, TokenizerConfig
from gpt_pipeline.config.compose import Composed
from gpt_pipeline.dataset import GPT2_VOCABULARY, KnownData, known_data
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.planning.disk import DiskUse, disk_uses
from gpt_pipeline.planning.measure import Question, measured
from gpt_pipeline.planning.memory_model import MemoryModel, StepTiming
from gpt_pipeline.planning.micro_batch import (
    check_fits,
    check_weights,
    is_auto,
    with_split,
    without_auto,
)
from gpt_pipeline.runtime.device import set_up_torch
from gpt_pipeline.runtime.memory import available_bytes
from gpt_pipeline.tokenizer import byte_tokenizer
from gpt_pipeline.training import RunLength

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunPlan:
    """What a run will take.

    Attributes:
        config: the run's, with vocabulary and micro-batch filled in.
        memory_model: the measured memory and speed.
        largest: the split with the largest micro-batch that fits; None if not one window does.
        disk: the files that the run writes.
        length: steps and tokens; None if they depend on data that are not prepared.
        seconds: time of training and evaluation; None if it is not known.
    """

    config: Config
    memory_model: MemoryModel
    largest: BatchSplit | None
    disk: list[DiskUse]
    length: RunLength | None
    seconds: float | None

    @property
    def timing(self) -> StepTiming:
        """The timed steps."""
        if self.memory_model.timing is None:
            raise RuntimeError("a plan needs timed steps")
        return self.memory_model.timing

    @property
    def tokens_per_s(self) -> float:
        """Training tokens per second."""
        return self.timing.windows_per_s * self.config.model.max_length


def make_plan(composed: Composed, *, set_up: Callable[[], None]) -> RunPlan:
    """Measure a run and work out its plan.

    Args:
        composed: the run's config.
        set_up: for the process that measures; see `measured`.

    Raises:
        ConfigError: this machine does not have the device, or not one window fits.
        DataError: the training text does not exist.
    """
    config = without_auto(composed)
    device = set_up_torch(config.runtime)
    tokenizer_entries = _entries(config.tokenizer)
    known = known_data(config.dataset, vocab_size=tokenizer_entries)
    size = _vocab_size(config, known, tokenizer_entries)
    config = config.replace({"model.vocab_size": size, "block.eot_id": 0})  # any does
    available = available_bytes(device)
    check_weights(config, available)
    split = config.model.batch_split()
    most = split.windows_per_step if is_auto(composed.config) else split.micro_batch_size
    log.info("measuring micro-batches of up to %d windows, then timing 10 steps", most)
    question = Question(config, most, timed=True, available_bytes=available)
    memory_model = measured(question, set_up)
    if memory_model is None or memory_model.timing is None:
        check_fits(config, None)
        raise ConfigError(["the measuring process was killed; free some memory"])
    largest = memory_model.largest_split(split.windows_per_step)
    if is_auto(composed.config) and largest is not None:
        config = with_split(config, largest)
    length = _length(config, known)
    steps = length.num_steps if length else None
    disk = disk_uses(
        config, memory_model.baseline, run_dir=composed.run_dir, token_folder=known.folder,
        token_files=_file_bytes(known), num_steps=steps,
    )  # fmt: skip
    seconds = _seconds(config, known, length, memory_model.timing)
    return RunPlan(config, memory_model, largest, disk, length, seconds)


def _entries(tokenizer: TokenizerConfig) -> int | None:
    """Vocabulary size of the configured tokenizer; None if it depends on the data."""
    if tokenizer.name == "bytes":
        return byte_tokenizer().vocab_size
    return GPT2_VOCABULARY if tokenizer.name == "gpt2" else None


def _vocab_size(config: Config, known: KnownData, entries: int | None) -> int:
    """The model's vocabulary size: as configured, as prepared, or the tokenizer's."""
    actual = known.train.vocab_size if known.train else entries or config.tokenizer.vocab_size
    configured = config.model.vocab_size
    if configured is not None and actual is not None and configured != actual:
        log.warning(
            "model.vocab_size=%d differs from the %d entries of tokenizer=%s; train will refuse it",
            configured, actual, config.tokenizer.name,
        )  # fmt: skip
    size = configured if configured is not None else actual
    if size is None:
        raise ConfigError(["tokenizer.vocab_size must be a number with tokenizer=bpe; got null"])
    return size


def _file_bytes(known: KnownData) -> int | None:
    if known.train is None:
        return None
    return sum(sidecar.file_bytes for sidecar in (known.train, known.val) if sidecar)


def _length(config: Config, known: KnownData) -> RunLength | None:
    if known.train is None and config.schedule.max_steps is None:
        return None
    windows = -(-known.train.tokens // config.model.max_length) if known.train else 1
    return RunLength(config.model, config.schedule, windows)


def _seconds(
    config: Config, known: KnownData, length: RunLength | None, timing: StepTiming
) -> float | None:
    """Seconds of training, partial evaluations, and the full evaluation at the end."""
    limit = config.schedule.max_minutes
    if length is None:
        return None if limit is None else 60 * limit
    training = length.num_windows / timing.windows_per_s
    m = config.model
    windows = length.num_steps // m.eval_freq * m.eval_iter * length.micro_batch_size
    if known.val is not None:
        every = -(-known.val.tokens // m.max_length)
        partial = min(every, m.eval_iter * length.micro_batch_size)
        windows = length.num_steps // m.eval_freq * partial + every
    total = training + windows * timing.evaluation_s_per_window
    return total if limit is None else min(total, 60 * limit)
