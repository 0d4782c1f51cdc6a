"""Measures a run by its own training step and evaluation on random tokens.

Memory and time come from doing the work, so they hold whatever the step does. It runs in a process
of its own (planning/measure.py), because a process may keep memory that it has held once.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gpt_pipeline.config import Config
from gpt_pipeline.metrics.evaluator import Evaluator
from gpt_pipeline.model import GPTModel
from gpt_pipeline.planning.memory_model import (
    MemoryBaseline,
    MemoryModel,
    MemoryReading,
    StepTiming,
)
from gpt_pipeline.runtime.memory import available_bytes, held_bytes, peak_bytes, reset_peak
from gpt_pipeline.runtime.precision import Arrays, Precision
from gpt_pipeline.training import new_model, ran_out_of_memory
from gpt_pipeline.training.step import OptimizerStep

TIMED_STEPS = 10
SIZES_S = 15.0
"""Seconds after which no larger micro-batch is tried; at least three sizes are."""
LAST_SIZE_S = 40.0
"""Seconds that the reading of the largest micro-batch may take."""
TIMING_S = 15.0
"""Seconds that the timed steps should take at most."""

_LEAST_SIZES = 3
_RATE = 1e-6
_BATCHES = 2


class _RandomWindows:
    """Windows of random tokens."""

    bytes_per_token = 1.0

    def __init__(self, vocab_size: int, max_length: int) -> None:
        self._vocab_size, self._max_length = vocab_size, max_length
        self._random = np.random.default_rng(0)

    def batch(self, count: int) -> Arrays:
        """Inputs and targets, int64 [count, T]; each call gives others."""
        shape = (count, self._max_length + 1)
        tokens = self._random.integers(0, self._vocab_size, shape, dtype=np.int64)
        return tokens[:, :-1].copy(), tokens[:, 1:].copy()

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Arrays]:
        """Batches for an evaluation: two, because one may be held while the next is made."""
        for _ in range(_BATCHES):
            yield self.batch(batch_size)


@dataclass(frozen=True)
class Probe:
    """What to measure: `start` gives the `baseline`, then come `readings`, then `timing`.

    Args:
        config: the run's, with vocabulary and micro-batch filled in.
        precision: of the run.
        compiled: whether the run compiles its model.
        available: memory for the run if the caller knows it better than this process; else None.
    """

    config: Config
    precision: Precision
    compiled: bool
    available: int | None = None

    def start(self) -> "Running":
        """Build the model and do a first step with one window.

        Raises:
            RuntimeError: there is not enough memory for it (`ran_out_of_memory`).
        """
        config, device = self.config, self.precision.device
        available = available_bytes(device) if self.available is None else self.available
        model = new_model(config, device)
        step = OptimizerStep(model, config, self.precision)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        program = 0 if device.type == "cuda" else held_bytes(device) - weights
        if self.compiled:
            step.compile(required=config.runtime.compile is True)
        model.train()
        running = Running(model, step, self.precision)
        running.step(1, 1)
        state = (tensor for kept in step.optimizer.state.values() for tensor in kept.values())
        optimizer = sum(tensor.numel() * tensor.element_size() for tensor in state)
        snapshot = config.checkpoint.background and device.type != "cuda"
        running.baseline = MemoryBaseline(
            device=device.type,
            dtype=self.precision.name,
            parameters=model.num_parameters(),
            program_bytes=max(0, program),
            weights_bytes=weights,
            gradients_bytes=weights,
            optimizer_bytes=optimizer,
            snapshot_bytes=weights + optimizer if snapshot else 0,
            available_bytes=available,
        )
        return running


class Running:
    """A model that is being measured.

    Attributes:
        baseline: what it holds after its first step.
    """

    baseline: MemoryBaseline

    def __init__(self, model: GPTModel, step: OptimizerStep, precision: Precision) -> None:
        self._model, self._step, self._precision = model, step, precision
        self._device = precision.device
        self._windows = _RandomWindows(model.config.vocab_size, model.config.max_length)

    def step(self, windows: int, micro_batch_size: int) -> float:
        """Seconds of one optimizer step."""
        batch = self._windows.batch(windows)
        started = time.perf_counter()
        self._step(batch, micro_batch_size=micro_batch_size, lr=_RATE)
        self._wait()
        return time.perf_counter() - started

    def readings(self, most: int) -> Iterator[MemoryReading]:
        """Readings at doubling micro-batches up to `most`, while time and memory allow."""
        started, done = time.perf_counter(), list[MemoryReading]()
        while not done or done[-1].windows < most:
            windows = self._next_size(done, most, time.perf_counter() - started)
            if windows is None:
                return
            try:
                done.append(self._read(windows))
            except (MemoryError, RuntimeError) as error:
                if ran_out_of_memory(error):
                    return
                raise
            yield done[-1]

    def _next_size(self, done: Sequence[MemoryReading], most: int, spent_s: float) -> int | None:
        """The next micro-batch to read: twice the last, or `most` if time allows.

        A reading is better than an extrapolation: a step may take less memory from some size on.
        """
        if not done:
            return 1
        memory_model, last = MemoryModel(self.baseline, done), done[-1]
        window_s = (last.step_s + _BATCHES * last.evaluation_s) / last.windows
        enough = len(done) >= _LEAST_SIZES
        if enough and memory_model.fits(most) and most * window_s <= LAST_SIZE_S:
            return most
        windows = min(2 * last.windows, most)
        if enough and spent_s + windows * window_s > SIZES_S:
            return None
        return windows if memory_model.fits(windows) else None

    def timing(
        self, last: MemoryReading, *, windows_per_step: int, micro_batch_size: int
    ) -> StepTiming:
        """Time steps: the run's own if they are short enough, else smaller ones."""
        per_window = last.step_s / last.windows
        size = min(micro_batch_size, last.windows)
        while size > 1 and TIMED_STEPS * size * per_window > TIMING_S:
            size //= 2
        windows = size
        if size == micro_batch_size and TIMED_STEPS * windows_per_step * per_window <= TIMING_S:
            windows = windows_per_step
        self.step(windows, size)
        seconds = sum(self.step(windows, size) for _ in range(TIMED_STEPS))
        evaluation_s = last.evaluation_s / last.windows
        return StepTiming(TIMED_STEPS, windows, size, seconds, evaluation_s)

    def _read(self, windows: int) -> MemoryReading:
        reset_peak(self._device)
        step_s = self.step(windows, windows)
        step_bytes = peak_bytes(self._device)
        reset_peak(self._device)
        started = time.perf_counter()
        self._evaluate(windows)
        evaluation_s = (time.perf_counter() - started) / _BATCHES
        return MemoryReading(windows, step_bytes, peak_bytes(self._device), step_s, evaluation_s)

    def _evaluate(self, windows: int) -> None:
        Evaluator(self._model, self._precision, micro_batch_size=windows)(self._windows)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
