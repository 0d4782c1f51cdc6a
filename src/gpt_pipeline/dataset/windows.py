"""Token file -> windows of the context's length -> arrays for the model, and their order."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.dataset.permutation import permute
from gpt_pipeline.errors import DataError

IGNORED = -100
"""Target of padding: no loss is taken there (torch's cross_entropy skips it)."""

_BLOCK = 256
"""Places of a run's order that are computed together."""


class Windows:
    """Cuts N tokens into ceil(N / T) windows in which every token is a target exactly once.

    Window i predicts tokens[i*T : (i+1)*T], each from the tokens before it; what stands before
    the first token is end-of-text. The last window is filled up with end-of-text and `IGNORED`.
    """

    def __init__(
        self, tokens: NDArray[np.uint16] | NDArray[np.uint32], max_length: int, eot_id: int
    ) -> None:
        self._tokens = np.asarray(tokens)  # no copy: a memory map stays one
        self._max_length = max_length
        self._eot_id = eot_id

    def __len__(self) -> int:
        return self.num_windows

    @property
    def num_windows(self) -> int:
        """How many windows there are, the padded one at the end included."""
        return -(-len(self._tokens) // self._max_length)

    def check_trainable(self) -> None:
        """Refuse a training corpus that does not fill one window.

        Raises:
            DataError: with both numbers.
        """
        if len(self._tokens) < self._max_length:
            raise DataError(
                f"the training text must fill a window of model.max_length={self._max_length} "
                f"tokens; got {len(self._tokens)}; give more text or a smaller model.max_length"
            )

    def batch(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
        """Inputs and targets of the windows `indices`, both int64 of shape (B, T)."""
        if indices.size and not (indices.min() >= 0 and indices.max() < self.num_windows):
            raise IndexError(f"window indices must be in 0..{self.num_windows - 1}; got {indices}")
        first = indices.astype(np.int64) * self._max_length  # (B,)
        places = first[:, None] + np.arange(self._max_length)  # (B, T)
        targets = self._tokens.take(places, mode="clip").astype(np.int64)  # (B, T)
        inputs = np.empty_like(targets)
        inputs[:, 0] = self._tokens.take(first - 1, mode="clip")
        inputs[:, 1:] = targets[:, :-1]
        inputs[first == 0, 0] = self._eot_id
        last = len(self._tokens) % self._max_length  # tokens of the padded window, if there is one
        if last:
            padded = indices == self.num_windows - 1  # (B,)
            inputs[padded, last:] = self._eot_id
            targets[padded, last:] = IGNORED
        return inputs, targets


@dataclass(frozen=True)
class TrainingOrder:
    """Which window comes at which place of a run, over all its epochs: a pure function."""

    num_windows: int
    seed: int
    shuffle: bool

    def indices(self, position: int, count: int) -> NDArray[np.int64]:
        """Windows at the places position .. position+count-1; each epoch visits every one once."""
        first = position // _BLOCK
        blocks = [_block(self, n) for n in range(first, (position + count) // _BLOCK + 1)]
        start = position - first * _BLOCK
        return np.concatenate(blocks)[start : start + count]


@functools.lru_cache(maxsize=4)
def _block(order: TrainingOrder, number: int) -> NDArray[np.int64]:
    """The windows at the places number * _BLOCK and on: many cost hardly more than a few."""
    places = np.arange(number * _BLOCK, (number + 1) * _BLOCK, dtype=np.int64)
    epochs, within = places // order.num_windows, places % order.num_windows
    if not order.shuffle:
        return within
    parts = [
        permute(within[epochs == epoch], order.num_windows, order.seed, int(epoch))
        for epoch in np.unique(epochs)
    ]
    return np.concatenate(parts)
