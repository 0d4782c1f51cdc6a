"""`gpt-pipeline plan`: what a run will take, before it starts: memory, disk, time."""

from collections.abc import Sequence
from typing import Any

from gpt_pipeline.cli.console import log, log_to_stderr, print_json
from gpt_pipeline.cli.train import set_up_measuring
from gpt_pipeline.config.compose import compose
from gpt_pipeline.display import count, duration, visible
from gpt_pipeline.planning import RunPlan, check_fits, make_plan, out_of_memory_as_user_error
from gpt_pipeline.planning.disk import too_large

_UNKNOWN = "unknown until the data are prepared (gpt-pipeline data)"


def command(overrides: Sequence[str]) -> int:
    """Print the plan of a run; returns the exit code.

    Raises:
        ConfigError: the micro-batch does not fit; raised after printing.
    """
    log_to_stderr()
    with out_of_memory_as_user_error():
        composed = compose(overrides)
        composed.config.check_trainable()
        plan = make_plan(composed, set_up=set_up_measuring)
    if composed.config.format == "json":
        print_json(as_dict(plan))
    else:
        print(visible(as_table(plan), keep="\n"))
    for use in too_large(plan.disk):
        log.warning(
            "not enough disk space for %s: %s has %s free",
            use.name, use.path, f"{count(use.free_bytes)}B",
        )  # fmt: skip
    check_fits(plan.config, plan.memory_model)
    return 0


def as_dict(plan: RunPlan) -> dict[str, Any]:
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
            use.name.replace(" ", "_"): {
                "path": str(use.path), "bytes": use.bytes, "free_bytes": use.free_bytes,
            }
            for use in plan.disk
        },
        "tokens_per_s": plan.tokens_per_s,
        "timed_steps": plan.timing.steps,
        "timed_windows": plan.timing.windows,
        "steps": length.num_steps if length else None,
        "tokens": length.num_windows * plan.config.model.max_length if length else None,
        "hours": plan.seconds / 3600 if plan.seconds is not None else None,
    }  # fmt: skip


def as_table(plan: RunPlan) -> str:
    """The plan as lines of a name and a figure."""
    rows = [*_batch_rows(plan), *_memory_rows(plan), *_disk_rows(plan), *_time_rows(plan)]
    wide = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{wide}}{text}".rstrip() for name, text in rows)


Row = tuple[str, str]


def _batch_rows(plan: RunPlan) -> list[Row]:
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
            f"{split.grad_accumulation} accumulated = {tokens:,} tokens per step",
        ),
    ]


def _memory_rows(plan: RunPlan) -> list[Row]:
    baseline, split = plan.memory_model.baseline, plan.config.model.batch_split()
    peak = plan.memory_model.peak_bytes(split.micro_batch_size)
    how = "measured"
    if not plan.memory_model.is_measured(split.micro_batch_size):
        how = f"extrapolated from {plan.memory_model.readings[-1].windows} windows"
    parts = {
        "Python and libraries": baseline.program_bytes,
        "weights": baseline.weights_bytes,
        "gradients": baseline.gradients_bytes,
        "optimizer": baseline.optimizer_bytes,
        "checkpoint copy": baseline.snapshot_bytes,
        "activations and other": max(0, peak - baseline.bytes),
    }
    largest = "none"
    if plan.largest is not None:
        best = plan.largest
        largest = (
            f"{best.micro_batch_size} of the {best.windows_per_step} windows per step: "
            f"model.micro_batch_size={best.micro_batch_size} "
            f"model.grad_accumulation={best.grad_accumulation}"
        )
    return [
        *((f"  {name}", f"{_size(size):>9}") for name, size in parts.items() if size),
        (
            "peak memory",
            f"{_size(peak):>9} of {_size(baseline.available_bytes)} free ({how})",
        ),
        ("largest micro-batch", largest),
    ]


def _disk_rows(plan: RunPlan) -> list[Row]:
    rows = []
    for use in plan.disk:
        size = "unknown" if use.bytes is None else _size(use.bytes)
        detail = f" ({use.detail})" if use.detail else ""
        rows.append(
            (
                f"disk, {use.name}",
                f"{size:>9}{detail}, {_size(use.free_bytes)} free in {use.path}",
            )
        )
    return rows


def _time_rows(plan: RunPlan) -> list[Row]:
    speed, length = plan.timing, plan.length
    run = _UNKNOWN
    if length is not None:
        tokens = count(length.num_windows * plan.config.model.max_length)
        run = f"{length.num_steps:,} steps, {tokens} tokens"
    return [
        (
            "speed",
            f"{plan.tokens_per_s:,.0f} tokens/s ({speed.steps} steps of {speed.windows} windows, "
            f"{speed.micro_batch_size} per micro-batch)",
        ),
        ("run", run),
        ("time", _UNKNOWN if plan.seconds is None else duration(plan.seconds)),
    ]


def _size(size: int) -> str:
    return f"{count(size)}B"
