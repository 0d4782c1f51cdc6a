"""A seeded permutation of 0..size-1 that needs no table: any position's image at any time."""

import math

import numpy as np
from numpy.typing import NDArray

LARGEST = 1 << 40
_ROUNDS = 8
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def permute(
    positions: NDArray[np.int64], size: int, seed: int, epoch: int
) -> NDArray[np.int64]:  # fmt: skip
    """Images of `positions` under the permutation of range(size) that seed and epoch name.

    A Feistel network over a grid of about sqrt(size) x sqrt(size) (Black and Rogaway 2002, with
    addition in place of xor), applied again where it leaves range(size). O(1) memory besides the
    arrays; no random state is read or written.
    """
    if not 1 <= size <= LARGEST:
        raise ValueError(f"size must be in 1..{LARGEST}; got {size}")
    if positions.size and not (positions.min() >= 0 and positions.max() < size):
        raise ValueError(f"positions must be in 0..{size - 1}")
    rows = math.isqrt(size - 1) + 1
    columns = -(-size // rows)
    keys = _round_keys(size, seed, epoch)
    found = _network(positions.astype(np.uint64), rows, columns, keys)
    outside = np.flatnonzero(found >= size)
    while outside.size:
        found[outside] = _network(found[outside], rows, columns, keys)
        outside = outside[found[outside] >= size]
    return found.astype(np.int64)


def _network(
    values: NDArray[np.uint64], rows: int, columns: int, keys: list[int]
) -> NDArray[np.uint64]:  # fmt: skip
    width = np.uint64(columns)
    row, column = values // width, values % width
    for number, key in enumerate(keys):
        if number % 2 == 0:
            row = (row + _mix(column, key) % np.uint64(rows)) % np.uint64(rows)
        else:
            column = (column + _mix(row, key) % width) % width
    return row * width + column


def _mix(values: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014) on values + key; wraps around on purpose."""
    mixed = values * np.uint64(_GOLDEN) + np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _round_keys(size: int, seed: int, epoch: int) -> list[int]:
    state = 0
    keys = []
    for part in (size, seed & _WORD, seed >> 64, epoch, *range(_ROUNDS)):
        state = int(_mix(np.array([(state ^ part) & _WORD], dtype=np.uint64), _GOLDEN)[0])
        keys.append(state)
    return keys[-_ROUNDS:]
