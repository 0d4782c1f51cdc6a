"""Training windows gathered on a GPU that holds the whole token file."""

import logging
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_pipeline.dataset.windows import IGNORED
from gpt_pipeline.runtime.transfer import on_device
from gpt_pipeline.training.hooks import TrainingWindows

log = logging.getLogger(__name__)

_MOST_OF_FREE = 0.25
"""Share of the device's free memory that a token file may take: the model needs the rest."""

_PART = 1 << 25
"""Tokens that are sent at once."""


class PlacedWindows(TrainingWindows, Protocol):
    """Windows that know where they are in their file."""

    def spans(self, position: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the first targets, [B], and those behind the last, [B]."""


class ResidentWindows:
    """The windows of a file whose tokens stand on the device; only places are sent there.

    Args:
        windows: those of the file.
        tokens: all of it, uint16 or uint32 [N].
        max_length: T.
        eot_id: what stands before the first token and behind the last.
        device: where the tokens go.
    """

    def __init__(
        self,
        windows: PlacedWindows,
        tokens: NDArray[Any],
        *,
        max_length: int,
        eot_id: int,
        device: torch.device,
    ) -> None:
        self._windows, self._max_length, self._eot_id = windows, max_length, eot_id
        self._tokens = _sent(tokens, device)

    @property
    def num_windows(self) -> int:
        """Windows of one epoch."""
        return self._windows.num_windows

    def num_targets(self, position: int, count: int) -> int:
        """Tokens to predict in the windows at these positions."""
        return self._windows.num_targets(position, count)

    def batch(self, position: int, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64 [count, T]: the file's own."""
        device, last = self._tokens.device, len(self._tokens) - 1
        spans = np.stack(self._windows.spans(position, count))  # 2 B
        first, end = on_device(spans[..., None], device)  # B 1 each
        places = first + torch.arange(self._max_length, device=device)  # B T
        beyond = places >= end
        targets = self._read(places.clamp(max=last)).masked_fill(beyond, IGNORED)
        before = self._read((places - 1).clamp(0, last))
        return before.masked_fill(beyond | (places == 0), self._eot_id), targets

    def _read(self, places: Tensor) -> Tensor:
        found = self._tokens[places].long()
        return found & 0xFFFF if self._tokens.dtype == torch.int16 else found


def fits(tokens: NDArray[Any], device: torch.device) -> bool:
    """Whether a GPU has the memory to hold a token file beside the model; says it if not."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    if tokens.nbytes <= _MOST_OF_FREE * free:
        return True
    log.info(
        "tokens are read from the disk: their %.1f GB are more than a quarter of the %.1f GB that "
        "the device has free", tokens.nbytes / 1e9, free / 1e9,
    )  # fmt: skip
    return False


def _sent(tokens: NDArray[Any], device: torch.device) -> Tensor:
    """Tokens in signed integers of their size: few operations of torch know unsigned ones."""
    signed = tokens.view(tokens.dtype.str.replace("u", "i"))
    held = torch.empty(len(signed), dtype=torch.as_tensor(signed[:0].copy()).dtype, device=device)
    for first in range(0, len(signed), _PART):
        part = np.array(signed[first : first + _PART])  # a copy that torch may write to
        held[first : first + _PART] = torch.from_numpy(part)
    return held
