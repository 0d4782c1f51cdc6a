"""A profile of a few steps by operator, for Perfetto or chrome://tracing."""

import logging
from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from gpt_pipeline.best_effort import BestEffort

log = logging.getLogger(__name__)

SKIPPED, RECORDED = 2, 3
"""Steps before the profile, because the first ones are slow, and steps in it."""


class StepTrace:
    """Profiles steps of a run with torch's profiler, without an effect on their results.

    The file is `step-<8 digits>.json.gz`, with the number of its last step. If the run ends during
    the profile, it is shorter; if it ends before, there is none. A failure of the profiler or the
    disk is a warning.

    Args:
        folder: where the profile is written; created then.
        device: where the steps run.
        step: the step that the run starts or resumes from.
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
            acc_events=True,  # avoids a warning about later cycles, of which there are none
        )

    def stepped(self, step: int) -> None:
        """Count a step of the run."""
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
