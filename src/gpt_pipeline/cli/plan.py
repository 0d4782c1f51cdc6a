"""`gpt-pipeline plan`: what a run will take, before it starts: memory, disk, time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpt_pipeline.cli.console import log, log_to_stderr, print_json
from gpt_pipeline.config import BatchSplit, Config, TokenizerConfig
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.dataset import KnownData, known_data
from gpt_pipeline.display import count, duration, visible
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.planning import MemoryModel, Place, Speed, disk_places, lacking
from gpt_pipeline.planning.measure import Question, measured
from gpt_pipeline.planning.micro_batch import (
    check_fits,
    check_weights,
    is_auto,
    memory_told,
    with_split,
    without_auto,
)
from gpt_pipeline.runtime.device import set_up_torch
from gpt_pipeline.runtime.memory import available_bytes
from gpt_pipeline.tokenizer import byte_tokenizer
from gpt_pipeline.training import RunLength

_GPT2_ENTRIES = 50257
_UNKNOWN = "unknown until the data are prepared (gpt-pipeline data)"


@dataclass(frozen=True)
class Plan:
    """All that a plan says.

    Attributes:
        config: of the run, its micro-batch settled.
        memory_model: the memory and speed that were measured.
        largest: the largest micro-batch that fits; None where not one window does.
        places: what the run writes.
        length: steps and tokens; None where the data decide and are not prepared.
        seconds: training and evaluation to the run's end; None where that is not known.
    """

    config: Config
    memory_model: MemoryModel
    largest: BatchSplit | None
    places: list[Place]
    length: RunLength | None
    seconds: float | None

    @property
    def speed(self) -> Speed:
        """The timed steps."""
        if self.memory_model.speed is None:
            raise RuntimeError("a plan needs timed steps")
        return self.memory_model.speed

    @property
    def tokens_per_s(self) -> float:
        """Training tokens a second."""
        return self.speed.windows_per_s * self.config.model.max_length


def command(words: Sequence[str]) -> int:
    """Print the plan of the run that the words describe; the exit code.

    Raises:
        ConfigError: the micro-batch does not fit; said after the plan.
    """
    log_to_stderr()
    with memory_told():
        composed = compose(words)
        plan = make_plan(composed)
    if composed.config.format == "json":
        print_json(as_dict(plan))
    else:
        print(visible(as_table(plan), keep="\n"))
    for place in lacking(plan.places):
        log.warning(
            "%s need more room than %s has: %s are free",
            place.name, place.path, f"{count(place.free_bytes)}B",
        )  # fmt: skip
    check_fits(plan.config, plan.memory_model)
    return 0


def make_plan(composed: Composed) -> Plan:
    """Measure the run, and work out what follows.

    Raises:
        ConfigError: the device is not there, or nothing fits.
        DataError: the text to train on is not there.
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
    log.info("measuring up to %d windows at once, then 10 steps", most)
    memory_model = measured(Question(config, most, timed=True, available=available))
    if memory_model is None or memory_model.speed is None:
        check_fits(config, None)
        raise ConfigError(["the measurement was ended from outside; free some memory"])
    largest = memory_model.largest_split(split.windows_per_step)
    if is_auto(composed.config) and largest is not None:
        config = with_split(config, largest)
    length = _length(config, known)
    steps = length.num_steps if length else None
    places = disk_places(
        config, memory_model.baseline, run_dir=composed.run_dir, token_folder=known.folder,
        token_files=_file_bytes(known), num_steps=steps,
    )  # fmt: skip
    seconds = _seconds(config, known, length, memory_model.speed)
    return Plan(config, memory_model, largest, places, length, seconds)


def _entries(tokenizer: TokenizerConfig) -> int | None:
    """Entries of the tokenizer that the config asks for, where that is known."""
    if tokenizer.name == "bytes":
        return byte_tokenizer().vocab_size
    return _GPT2_ENTRIES if tokenizer.name == "gpt2" else None


def _vocab_size(config: Config, known: KnownData, entries: int | None) -> int:
    """What the model's vocabulary will be: as asked, as prepared, or as the tokenizer's is."""
    found = known.train.vocab_size if known.train else entries or config.tokenizer.vocab_size
    asked = config.model.vocab_size
    if asked is not None and found is not None and asked != found:
        log.warning(
            "model.vocab_size=%d is not the %d entries of tokenizer=%s: train will refuse that",
            asked, found, config.tokenizer.name,
        )  # fmt: skip
    size = asked if asked is not None else found
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
    config: Config, known: KnownData, length: RunLength | None, speed: Speed
) -> float | None:
    """Training, partial evaluations, and the last look at all of the validation tokens."""
    limit = config.schedule.max_minutes
    if length is None:
        return None if limit is None else 60 * limit
    training = length.num_windows / speed.windows_per_s
    m = config.model
    windows = length.num_steps // m.eval_freq * m.eval_iter * length.micro_batch_size
    if known.val is not None:
        every = -(-known.val.tokens // m.max_length)
        look = min(every, m.eval_iter * length.micro_batch_size)
        windows = length.num_steps // m.eval_freq * look + every
    total = training + windows * speed.evaluation_s_per_window
    return total if limit is None else min(total, 60 * limit)


def as_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    baseline, split, length = (
        plan.memory_model.baseline,
        plan.config.model.batch_split(),
        plan.length,
    )
    peak = plan.memory_model.peak_bytes(split.micro_batch_size)
    return {
        "parameters": baseline.parameters,
        "device": baseline.device,
        "dtype": baseline.dtype,
        "micro_batch_size": split.micro_batch_size,
        "grad_accumulation": split.grad_accumulation,
        "tokens_per_step": split.windows_per_step * plan.config.model.max_length,
        "program_bytes": baseline.program_bytes,
        "weights_bytes": baseline.weights_bytes,
        "gradients_bytes": baseline.gradients_bytes,
        "optimizer_bytes": baseline.optimizer_bytes,
        "snapshot_bytes": baseline.snapshot_bytes,
        "activations_bytes": max(0, peak - baseline.bytes),
        "peak_bytes": peak,
        "peak_measured": plan.memory_model.is_measured(split.micro_batch_size),
        "available_bytes": baseline.available_bytes,
        "fits": plan.memory_model.fits(split.micro_batch_size),
        "largest_micro_batch_size": plan.largest.micro_batch_size if plan.largest else None,
        "disk": {
            place.name.replace(" ", "_"): {
                "path": str(place.path), "bytes": place.bytes, "free_bytes": place.free_bytes,
            }
            for place in plan.places
        },
        "tokens_per_s": plan.tokens_per_s,
        "timed_steps": plan.speed.steps,
        "timed_windows": plan.speed.windows,
        "steps": length.num_steps if length else None,
        "tokens": length.num_windows * plan.config.model.max_length if length else None,
        "hours": plan.seconds / 3600 if plan.seconds is not None else None,
    }  # fmt: skip


def as_table(plan: Plan) -> str:
    """The plan as lines of a name and a figure."""
    rows = [*_batch_rows(plan), *_memory_rows(plan), *_disk_rows(plan), *_time_rows(plan)]
    wide = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{wide}}{text}".rstrip() for name, text in rows)


Row = tuple[str, str]


def _batch_rows(plan: Plan) -> list[Row]:
    baseline, split, m = (
        plan.memory_model.baseline,
        plan.config.model.batch_split(),
        plan.config.model,
    )
    tokens = split.windows_per_step * m.max_length
    return [
        ("parameters", count(baseline.parameters)),
        ("machine", f"{baseline.device}, {baseline.dtype}"),
        (
            "batch",
            f"{split.micro_batch_size} windows x {m.max_length} tokens x "
            f"{split.grad_accumulation} accumulated = {tokens:,} tokens a step",
        ),
    ]


def _memory_rows(plan: Plan) -> list[Row]:
    baseline, split = plan.memory_model.baseline, plan.config.model.batch_split()
    peak = plan.memory_model.peak_bytes(split.micro_batch_size)
    how = "measured"
    if not plan.memory_model.is_measured(split.micro_batch_size):
        how = f"drawn on from {plan.memory_model.readings[-1].windows} windows at once"
    parts = {
        "Python and libraries": baseline.program_bytes,
        "weights": baseline.weights_bytes,
        "gradients": baseline.gradients_bytes,
        "optimizer": baseline.optimizer_bytes,
        "copy for saving": baseline.snapshot_bytes,
        "activations and the rest": max(0, peak - baseline.bytes),
    }
    largest = "none"
    if plan.largest is not None:
        best = plan.largest
        largest = (
            f"{best.micro_batch_size} of the {best.windows_per_step} windows of a step: "
            f"model.micro_batch_size={best.micro_batch_size} "
            f"model.grad_accumulation={best.grad_accumulation}"
        )
    return [
        *((f"  {name}", f"{_size(size):>9}") for name, size in parts.items() if size),
        (
            "memory at its peak",
            f"{_size(peak):>9} of {_size(baseline.available_bytes)} that are free ({how})",
        ),
        ("largest micro-batch", largest),
    ]


def _disk_rows(plan: Plan) -> list[Row]:
    rows = []
    for place in plan.places:
        size = "unknown" if place.bytes is None else _size(place.bytes)
        detail = f" ({place.detail})" if place.detail else ""
        rows.append(
            (
                f"disk, {place.name}",
                f"{size:>9}{detail}, {_size(place.free_bytes)} free in {place.path}",
            )
        )
    return rows


def _time_rows(plan: Plan) -> list[Row]:
    speed, length = plan.speed, plan.length
    run = _UNKNOWN
    if length is not None:
        tokens = count(length.num_windows * plan.config.model.max_length)
        run = f"{length.num_steps:,} steps, {tokens} tokens"
    return [
        (
            "speed",
            f"{plan.tokens_per_s:,.0f} tokens/s ({speed.steps} steps of {speed.windows} windows, "
            f"{speed.micro_batch_size} at once)",
        ),
        ("run", run),
        ("time to its end", _UNKNOWN if plan.seconds is None else duration(plan.seconds)),
    ]


def _size(size: int) -> str:
    return f"{count(size)}B"
