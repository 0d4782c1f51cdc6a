"""Training windows from a token file in GPU memory."""

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
"""Share of the device's free memory that a token file may take."""

_PART = 1 << 25
"""Tokens that are copied at a time."""


class PlacedWindows(TrainingWindows, Protocol):
    """Windows with known places in their file."""

    def spans(self, position: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the first targets, [B], and one past the last, [B]."""


class ResidentWindows:
    """The windows of a token file in device memory; each batch copies only places to the device.

    Args:
        windows: of the file.
        tokens: of the whole file, uint16 or uint32 [N].
        max_length: T.
        eot_id: end-of-text, the input before the first token and in padding.
        device: where the tokens are kept.
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
        """Inputs and targets, int64 [count, T], the same as those of the file."""
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
    """Whether a GPU has memory for a token file and a model; logs it if not."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    if tokens.nbytes <= _MOST_OF_FREE * free:
        return True
    log.info(
        "tokens are read from the disk: %.1f GB are more than a quarter of the %.1f GB of free "
        "device memory", tokens.nbytes / 1e9, free / 1e9,
    )  # fmt: skip
    return False


def _sent(tokens: NDArray[Any], device: torch.device) -> Tensor:
    """Copy tokens as signed integers: few operations of torch support unsigned ones."""
    signed = tokens.view(tokens.dtype.str.replace("u", "i"))
    held = torch.empty(len(signed), dtype=torch.as_tensor(signed[:0].copy()).dtype, device=device)
    for first in range(0, len(signed), _PART):
        part = np.array(signed[first : first + _PART])  # a copy that torch may write to
        held[first : first + _PART] = torch.from_numpy(part)
    return held
