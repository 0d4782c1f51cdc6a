"""Token files as batches of windows: what the trainer and `evaluate` read."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.dataset.sidecar import Sidecar
from gpt_pipeline.dataset.token_file import open_tokens
from gpt_pipeline.dataset.windows import TrainingOrder, Windows, document_bounds

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class TrainingSet:
    """The training windows in the order of a run; batches are pure functions of the position."""

    windows: Windows
    order: TrainingOrder
    sidecar: Sidecar

    @classmethod
    def open(cls, path: Path, max_length: int, *, seed: int, shuffle: bool) -> "TrainingSet":
        """Open a training file.

        Raises:
            DataError: it is shorter than one window, or not whole.
        """
        tokens, sidecar = open_tokens(path)
        windows = Windows(tokens, max_length, sidecar.eot_id)
        windows.check_trainable()
        return cls(windows, TrainingOrder(windows.num_windows, seed=seed, shuffle=shuffle), sidecar)

    @property
    def num_windows(self) -> int:
        """Windows of one epoch."""
        return self.windows.num_windows

    def batch(self, position: int, count: int) -> Arrays:
        """Inputs and targets, int64 [count, T], at positions [position, position + count)."""
        return self.windows.batch(self.order.indices(position, count))

    def num_targets(self, position: int, count: int) -> int:
        """Number of targets in the windows at these positions."""
        first, end = self.spans(position, count)
        return int((end - first).sum())

    def spans(self, position: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets of their first targets in the file, and of the first targets after them."""
        return self.windows.spans(self.order.indices(position, count))


@dataclass(frozen=True)
class ValidationSet:
    """The validation windows, each once; a document that fits into one is whole in it.

    A document whose beginning is cut off costs more than it is worth: no model can know its names.
    """

    windows: Windows
    sidecar: Sidecar

    @classmethod
    def open(cls, path: Path, max_length: int) -> "ValidationSet":
        """Open a validation file."""
        tokens, sidecar = open_tokens(path)
        bounds = document_bounds(tokens, max_length, sidecar.eot_id)
        return cls(Windows(tokens, max_length, sidecar.eot_id, bounds), sidecar)

    @property
    def bytes_per_token(self) -> float:
        """Mean UTF-8 bytes per token."""
        return self.sidecar.bytes / self.sidecar.tokens

    def floor(self) -> dict[str, float]:
        """`floor_bits_per_byte`, the entropy floor of this text, where it is known."""
        floor = self.sidecar.floor_bits_per_byte
        return {} if floor is None else {"floor_bits_per_byte": floor}

    @property
    def floor_loss(self) -> float | None:
        """The entropy floor in nats per token, where it is known."""
        floor = self.sidecar.floor_bits_per_byte
        return None if floor is None else floor * self.bytes_per_token * math.log(2)

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Arrays]:
        """Every window once in the file's order, or `limit` batches spread evenly over it.

        Yields inputs and targets, int64 [B, T]; targets below 0 are padding.
        """
        number = self.windows.num_windows
        wanted = number if limit is None else min(number, limit * batch_size)
        indices = np.arange(wanted, dtype=np.int64) * number // wanted
        for first in range(0, wanted, batch_size):
            yield self.windows.batch(indices[first : first + batch_size])
