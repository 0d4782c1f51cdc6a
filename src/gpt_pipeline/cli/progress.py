"""Progress on standard error: a bar on a terminal, elsewhere a line every 15 seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from tqdm import tqdm

from gpt_pipeline.cli.console import is_terminal, log
from gpt_pipeline.display import count, duration
from gpt_pipeline.training import StepReport

_LINE_EVERY_S = 15.0


class TrainingProgress:
    """Shows loss, remaining time and throughput after each step."""

    def __init__(self, num_steps: int, done: int) -> None:
        self._started = self._last_line = time.monotonic()
        self._first: float | None = None
        self._bar = tqdm(
            total=num_steps,
            initial=done,
            unit="step",
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not is_terminal(sys.stderr),
            bar_format="{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt}{postfix}",
        )

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._bar.close()

    def show(self, report: StepReport) -> None:
        """Show one step."""
        now = time.monotonic()
        if self._first is None:  # at the end of the first step, so that start-up does not count
            self._first, self._started = report.progress, now
        text = _describe(report, self._left_s(report, now))
        if not self._bar.disable:
            # schedule.max_minutes may end the run earlier
            if report.progress > 0:
                self._bar.total = max(report.step, round(report.step / report.progress))
            self._bar.set_postfix_str(text, refresh=False)
            with suppress(OSError):  # the terminal was closed
                self._bar.update(report.step - self._bar.n)
        elif now - self._last_line > _LINE_EVERY_S or report.progress >= 1:
            self._last_line = now
            log.info("step %d (%.0f %%): %s", report.step, 100 * report.progress, text)

    def _left_s(self, report: StepReport, now: float) -> float | None:
        done = report.progress - (self._first or 0.0)
        return (now - self._started) / done * (1 - report.progress) if done > 0 else None


@contextmanager
def sample_progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show the number of finished samples; yields a function to call with the tokens of each."""
    started = last = time.monotonic()
    done = tokens = 0
    bar = tqdm(
        total=total, unit="sample", dynamic_ncols=True, file=sys.stderr,
        disable=not is_terminal(sys.stderr),
    )  # fmt: skip

    def advance(new_tokens: int) -> None:
        nonlocal done, tokens, last
        done, tokens, now = done + 1, tokens + new_tokens, time.monotonic()
        rate = f"{tokens / (now - started):,.0f} tokens/s"
        if not bar.disable:
            bar.set_postfix_str(rate, refresh=False)
            bar.update()
        elif now - last > _LINE_EVERY_S:
            last = now
            log.info("%s of %s samples, %s", f"{done:,}", f"{total:,}", rate)

    with bar:
        yield advance


def _describe(report: StepReport, left_s: float | None) -> str:
    """What matters most comes first: a narrow terminal cuts the end off."""
    parts = [f"loss {report.loss:.3f}"]
    if report.val_loss is not None:
        parts.append(f"val {report.val_loss:.3f}")
    if left_s is not None:
        parts.append(f"{duration(left_s)} left")
    speed = report.speed
    share = ""
    if speed.mfu is not None:
        share = f" (mfu {100 * speed.mfu:.0f} %)"
    parts += [
        f"{speed.tokens_per_s:,.0f} tokens/s{share}",
        f"{100 * speed.data_wait_share:.1f} % waiting for data",
    ]
    if speed.memory_bytes is not None:
        parts.append(f"{count(speed.memory_bytes)}B")
    parts.append(f"lr {report.lr:.1e}")
    return ", ".join(parts)
