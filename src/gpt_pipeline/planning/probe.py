"""The trainer's own step and evaluation on random tokens, at growing micro-batches, and timed.

Memory and time come from doing the work, so they are right whatever the step does. It runs in a
process of its own (cli/probe.py): memory that a process held once, it may keep.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gpt_pipeline.checkpoint import CheckpointStore
from gpt_pipeline.config import Config
from gpt_pipeline.planning.memory_model import MemoryBaseline, MemoryModel, MemoryReading, Speed
from gpt_pipeline.runtime.memory import available_bytes, held_bytes, peak_bytes, reset_peak
from gpt_pipeline.runtime.precision import Arrays, Precision
from gpt_pipeline.tokenizer import byte_tokenizer
from gpt_pipeline.training import Trainer, new_model, ran_out_of_memory

TIMED_STEPS = 10
SIZES_S = 15.0
"""Seconds after which no larger micro-batch is tried; three sizes are in any case."""
LAST_SIZE_S = 40.0
"""Seconds that a reading of the largest micro-batch itself may take."""
TIMING_S = 15.0
"""Seconds that the timed steps should take at most, if one window at once allows it."""

_LEAST_SIZES = 3
_RATE = 1e-6
_BATCHES = 2


class RandomWindows:
    """Windows of random tokens, `at_once` in each batch of an evaluation."""

    bytes_per_token = 1.0
    num_windows = 1 << 40

    def __init__(self, vocab_size: int, max_length: int) -> None:
        self.at_once = 1
        self._vocab_size, self._max_length = vocab_size, max_length
        self._random = np.random.default_rng(0)

    def batch(self, position: int, count: int) -> Arrays:
        """Inputs and targets, int64 [count, T]; each call gives others."""
        shape = (count, self._max_length + 1)
        tokens = self._random.integers(0, self._vocab_size, shape, dtype=np.int64)
        return tokens[:, :-1].copy(), tokens[:, 1:].copy()

    def num_targets(self, position: int, count: int) -> int:
        """All of them count."""
        return count * self._max_length

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Arrays]:
        """Batches of `at_once` windows: two, for what is held of one while the next comes."""
        for _ in range(_BATCHES):
            yield self.batch(0, self.at_once)


@dataclass(frozen=True)
class Probe:
    """One measurement: `baseline`, then `readings`, then `speed`.

    Args:
        config: of the run, its vocabulary and micro-batch settled.
        precision: of the run.
        compiled: whether the run compiles its model.
        available: memory for the run where the caller knows better than this process; else None.
    """

    config: Config
    precision: Precision
    compiled: bool
    available: int | None = None

    def start(self) -> "Running":
        """Build the model, and do a first step of one window.

        Raises:
            RuntimeError: there is not enough memory for that (`ran_out_of_memory`).
        """
        config, device = self.config, self.precision.device
        available = available_bytes(device) if self.available is None else self.available
        model = new_model(config, device)
        windows = RandomWindows(model.config.vocab_size, config.model.max_length)
        store = CheckpointStore(  # nothing is written: the trainer's loop does not run
            root=Path(config.model.checkpoint_path),
            name="plan",
            config=config,
            tokenizer=byte_tokenizer(),
            data_fingerprint="",
        )
        trainer = Trainer(model, windows, windows, store=store, precision=self.precision)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        program = 0 if device.type == "cuda" else held_bytes(device) - weights
        if self.compiled:
            trainer.compile(required=config.runtime.compile is True)
        model.train()
        running = Running(trainer, windows, device)
        running.step(1, 1)
        moments = trainer.step.optimizer.state_tensors(model).values()
        optimizer = sum(tensor.numel() * tensor.element_size() for tensor in moments)
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
    """A model that is being measured."""

    baseline: MemoryBaseline

    def __init__(self, trainer: Trainer, windows: RandomWindows, device: torch.device) -> None:
        self._trainer, self._windows, self._device = trainer, windows, device

    def step(self, windows: int, micro_batch_size: int) -> float:
        """Seconds of one optimizer step."""
        batch = self._windows.batch(0, windows)
        started = time.perf_counter()
        self._trainer.step(batch, micro_batch_size=micro_batch_size, lr=_RATE)
        self._wait()
        return time.perf_counter() - started

    def readings(self, most: int) -> Iterator[MemoryReading]:
        """Readings at doubling micro-batches up to `most`, as long as time and memory allow."""
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
        """The next micro-batch to read: twice the last, or `most` at once where time allows that.

        A reading is worth more than a line: a step may take less memory from some size on.
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

    def speed(self, last: MemoryReading, *, windows_per_step: int, micro_batch_size: int) -> Speed:
        """Timed steps: whole ones of the run where they are short enough, else smaller ones."""
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
        return Speed(TIMED_STEPS, windows, size, seconds, evaluation_s)

    def _read(self, windows: int) -> MemoryReading:
        reset_peak(self._device)
        step_s = self.step(windows, windows)
        step_bytes = peak_bytes(self._device)
        reset_peak(self._device)
        self._windows.at_once = windows
        started = time.perf_counter()
        self._trainer.validate(self._windows)
        evaluation_s = (time.perf_counter() - started) / _BATCHES
        return MemoryReading(windows, step_bytes, peak_bytes(self._device), step_s, evaluation_s)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
