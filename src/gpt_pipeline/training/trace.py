"""A trace of a few steps: which operator took how long, for Perfetto or chrome://tracing."""

import logging
from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from gpt_pipeline.best_effort import BestEffort

log = logging.getLogger(__name__)

SKIPPED, RECORDED = 2, 3
"""Steps that come before the trace, since the first ones are slow, and steps in it."""


class StepTrace:
    """Records steps of a run with torch's profiler. None of it changes what the steps compute.

    The trace is `step-<8 digits>.json.gz`, the number that of its last step. A run that ends
    within it leaves a shorter one, a run that ends before it none. A failure of the profiler or
    the disk is a warning.

    Args:
        folder: where the trace goes; made when it is written.
        device: where the steps run.
        step: the step that the run goes on from.
    """

    def __init__(self, folder: Path, device: torch.device, *, step: int) -> None:
        self._folder, self._step, self._done = folder, step, False
        self._best_effort = BestEffort()
        self._first = step + SKIPPED + 1
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=SKIPPED - 1, warmup=1, active=RECORDED, repeat=1),
            on_trace_ready=self._write,
            record_shapes=True,
            acc_events=True,  # there is one cycle, and the warning of others would be noise
        )

    def stepped(self, step: int) -> None:
        """A step of the run has ended."""
        self._step = step
        if not self._done:
            with self._best_effort.to("profile the steps"):
                self._profiler.step()

    def __enter__(self) -> "StepTrace":
        with self._best_effort.to("profile the steps"):
            self._profiler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._best_effort.to("profile the steps"):
            self._profiler.stop()
        if not self._done:
            log.warning("no profile: the run ended before step %d", self._first)

    def _write(self, profiler: profile) -> None:
        self._done = True
        path = self._folder / f"step-{self._step:08d}.json.gz"
        with self._best_effort.to(f"write the profile {path}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            profiler.export_chrome_trace(str(path))
            log.info("profile of steps %d to %d: %s", self._first, self._step, path)
