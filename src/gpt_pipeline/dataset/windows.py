"""Token file -> windows of the context's length -> arrays for the model, and their order."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.dataset.permutation import permute
from gpt_pipeline.errors import DataError

IGNORED = -100
"""Target of padding: no loss is taken there (torch's cross_entropy skips it)."""

_CHUNK = 1 << 24
"""Tokens scanned per chunk."""

_BLOCK = 256
"""Positions of a run's order that are computed together."""


Tokens = NDArray[np.uint16] | NDArray[np.uint32]


def document_bounds(tokens: Tokens, max_length: int, eot_id: int) -> NDArray[np.int64]:
    """Where windows of whole documents begin, int64, and at last where the tokens end.

    As many documents as fit follow one another in a window; only one longer than `max_length` is
    split, and continues at the start of the next.
    """
    found = [
        np.flatnonzero(tokens[first : first + _CHUNK] == eot_id) + (first + 1)
        for first in range(0, len(tokens), _CHUNK)
    ]
    ends = np.concatenate([[0], *found, [len(tokens)]])
    bounds = [0]
    while (start := bounds[-1]) < len(tokens):
        last = int(ends[np.searchsorted(ends, start + max_length, side="right") - 1])
        bounds.append(last if last > start else start + max_length)
    return np.array(bounds, dtype=np.int64)


class Windows:
    """Cuts N tokens into windows of T in which every token is a target exactly once.

    Window i predicts tokens[bounds[i] : bounds[i+1]], each from the tokens before it;
    end-of-text precedes the first token. A window that is not full is filled up with end-of-text
    and `IGNORED`.

    Args:
        tokens: [N].
        max_length: T.
        eot_id: end-of-text.
        bounds: as of `document_bounds`; None: window i begins at i*T, wherever that is.
    """

    def __init__(
        self,
        tokens: Tokens,
        max_length: int,
        eot_id: int,
        bounds: NDArray[np.int64] | None = None,
    ) -> None:
        self.tokens = np.asarray(tokens)  # no copy: a memory map stays one
        self._max_length = max_length
        self._eot_id = eot_id
        self._bounds = bounds

    def __len__(self) -> int:
        return self.num_windows

    @property
    def num_windows(self) -> int:
        """Number of windows, including those that are not full."""
        if self._bounds is not None:
            return len(self._bounds) - 1
        return -(-len(self.tokens) // self._max_length)

    def check_trainable(self) -> None:
        """Refuse a training corpus that does not fill one window.

        Raises:
            DataError: with both numbers.
        """
        if len(self.tokens) < self._max_length:
            raise DataError(
                f"the training text must fill a window of model.max_length={self._max_length} "
                f"tokens; got {len(self.tokens)}; give more text or a smaller model.max_length"
            )

    def batch(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
        """Inputs and targets of the windows `indices`, both int64 of shape (B, T)."""
        if indices.size and not (indices.min() >= 0 and indices.max() < self.num_windows):
            raise IndexError(f"window indices must be in 0..{self.num_windows - 1}; got {indices}")
        first, end = self.spans(indices)  # (B,), (B,)
        places = first[:, None] + np.arange(self._max_length)  # (B, T)
        targets = self.tokens.take(places, mode="clip").astype(np.int64)  # (B, T)
        inputs = np.empty_like(targets)
        inputs[:, 0] = self.tokens.take(first - 1, mode="clip")
        inputs[:, 1:] = targets[:, :-1]
        inputs[first == 0, 0] = self._eot_id
        for row in np.flatnonzero(end - first < self._max_length).tolist():
            inputs[row, end[row] - first[row] :] = self._eot_id
            targets[row, end[row] - first[row] :] = IGNORED
        return inputs, targets

    def spans(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where windows have their first targets, and where the next ones begin, (B,) each."""
        return self._first(indices), self._first(indices + 1)

    def _first(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Offsets of the first targets of windows; for the window after the last, the end."""
        if self._bounds is not None:
            return self._bounds[indices]
        return np.minimum(indices.astype(np.int64) * self._max_length, len(self.tokens))


@dataclass(frozen=True)
class TrainingOrder:
    """Which window is at which position of a run, over all epochs: a pure function."""

    num_windows: int
    seed: int
    shuffle: bool

    def indices(self, position: int, count: int) -> NDArray[np.int64]:
        """Windows at [position, position + count); each epoch visits every window once."""
        first = position // _BLOCK
        blocks = [_block(self, n) for n in range(first, (position + count) // _BLOCK + 1)]
        start = position - first * _BLOCK
        return np.concatenate(blocks)[start : start + count]


@functools.lru_cache(maxsize=4)
def _block(order: TrainingOrder, number: int) -> NDArray[np.int64]:
    """The windows at positions from number * _BLOCK: many cost hardly more than a few."""
    places = np.arange(number * _BLOCK, (number + 1) * _BLOCK, dtype=np.int64)
    epochs, within = places // order.num_windows, places % order.num_windows
    if not order.shuffle:
        return within
    parts = [
        permute(within[epochs == epoch], order.num_windows, order.seed, int(epoch))
        for epoch in np.unique(epochs)
    ]
    return np.concatenate(parts)
