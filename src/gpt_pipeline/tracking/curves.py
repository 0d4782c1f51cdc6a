"""The loss curve and the learning rate curve of a run, drawn with matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

TRAIN, VALIDATION, RATE = "#9db8d9", "#c2410c", "#1f5f8b"
_TREND = "#1d4e89"
_SMOOTHING_SHARE = 50  # of the run, to either side

Entry = dict[str, Any]


def draw_loss_plot(entries: Sequence[Entry], path: Path, entropy_floor: float | None) -> None:
    """Draw training and validation loss over the steps."""
    figure, axes = _figure(entries, "loss (nats per token)")
    _losses(axes, entries, entropy_floor)
    _save(figure, path)


def draw_lr_plot(entries: Sequence[Entry], path: Path) -> None:
    """Draw the learning rate over the steps."""
    figure, axes = _figure(entries, "learning rate")
    _rates(axes, entries)
    _save(figure, path)


def _figure(entries: Sequence[Entry], label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel(label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = entries[-1] if entries else None
    if last and last["step"]:
        per_step = last["tokens"] / last["step"]
        tokens = axes.secondary_xaxis(
            "top", functions=(lambda step: step * per_step, lambda count: count / per_step)
        )
        tokens.set_xlabel("tokens")
        tokens.xaxis.set_major_formatter(EngFormatter())
    return figure, axes


def _losses(axes: Axes, entries: Sequence[Entry], entropy_floor: float | None) -> None:
    steps, losses = _series(entries, "train_loss")
    axes.plot(steps, losses, color=TRAIN, linewidth=1, label="training, each logged step")
    if len(losses) >= 20:
        axes.plot(steps, _smooth(losses), color=_TREND, linewidth=2, label="training, smoothed")
    val_steps, val_losses = _series(entries, "val_loss")
    if val_losses:
        axes.plot(val_steps, val_losses, color=VALIDATION, linewidth=2, marker="o", markersize=4,
                  label="validation")  # fmt: skip
        axes.annotate(f"{val_losses[-1]:.3f}", (val_steps[-1], val_losses[-1]), color=VALIDATION,
                      xytext=(0, 8), textcoords="offset points", ha="right")  # fmt: skip
    if entropy_floor is not None:
        axes.axhline(entropy_floor, color="#555555", linestyle="--", linewidth=1,
                     label=f"entropy floor, {entropy_floor:.3f}")  # fmt: skip
    if losses and max(losses) > 4 * min(losses):  # the first steps would flatten all the rest
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    if losses or val_losses:
        axes.legend(frameon=False)


def _rates(axes: Axes, entries: Sequence[Entry]) -> None:
    steps, rates = _series(entries, "lr")
    axes.plot(steps, rates, color=RATE, linewidth=2)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, -3))


def _series(entries: Sequence[Entry], key: str) -> tuple[list[int], list[float]]:
    points = [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]


def _smooth(values: Sequence[float]) -> list[float]:
    """Mean over a window centred on each value: unlike an exponential mean it does not lag."""
    reach = max(1, len(values) // _SMOOTHING_SHARE)
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    FigureCanvasAgg(figure)
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
