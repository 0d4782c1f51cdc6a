"""The protocol between the engine and what computes the logits."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model import GPTModel


class DecodingCache(Protocol):
    """Up to B texts that a backend decodes side by side, with what it has computed of them."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens that were read in each row, [B]."""

    def read(self, row: int, tokens: Sequence[int]) -> None:
        """Replace the contents of a row by these tokens, of which there may be none."""

    def next_logits(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each of the first N rows, and compute what may follow it.

        The other rows must be free: their contents are undefined afterwards.

        Args:
            tokens: N ids, 1 <= N <= B. Each row must hold fewer than max_length tokens.

        Returns:
            Logits, float32 [N, V], valid until the next call.
        """

    def copy_row(self, source: int, target: int) -> None:
        """Let row `target` hold what row `source` holds."""


class Backend(Protocol):
    """Computes the logits of one model, without gradients; for one thread.

    Attributes:
        name: for messages.
        config: the model's.
    """

    name: str
    config: GPTConfig

    @property
    def device(self) -> torch.device:
        """Where logits are."""

    @staticmethod
    def supports(model: GPTModel) -> str | None:
        """Whether this backend computes what the model's own modules compute.

        Args:
            model: before its weights are quantized or packed. Not only its config is compared but
                the classes of its modules too: a config cannot tell that a class was replaced.

        Returns:
            None if it does; else what it does not support, such as `block.feed_forward=relu2`.
        """

    def new_cache(self, batch_size: int) -> DecodingCache:
        """An empty cache of `batch_size` rows."""

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of `tokens`, int64 [B, T], to score texts."""

    def topk(self, logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Values, descending, and ids of the largest logits [N, V]: [N, number] each."""
