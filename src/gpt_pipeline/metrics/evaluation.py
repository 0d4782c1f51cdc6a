"""Loss, accuracy, perplexity and bits per byte: one definition for every command."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Evaluation:
    """Means over the tokens that were evaluated.

    Attributes:
        loss: mean negative log-likelihood of a token, in nats.
        accuracy: share of the tokens that were the most likely one.
        tokens: how many were evaluated.
        bytes: UTF-8 bytes that these tokens stand for, an end mark counted as one byte.
    """

    loss: float
    accuracy: float
    tokens: int
    bytes: float

    @property
    def perplexity(self) -> float:
        """The exponential of the loss, capped where a float would overflow."""
        return math.exp(min(self.loss, _LARGEST_EXPONENT))

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte of text costs under the model: comparable between tokenizers."""
        return self.loss * self.tokens / math.log(2) / self.bytes

    def as_dict(self) -> dict[str, float]:
        """All figures under the names that commands and files use."""
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "accuracy": self.accuracy,
            "bits_per_byte": self.bits_per_byte,
            "tokens": self.tokens,
            "bytes": round(self.bytes),
        }


@torch.inference_mode()
def evaluate(scored: Iterable[tuple[Tensor, Tensor]], *, bytes_per_token: float) -> Evaluation:
    """Evaluate a model in evaluation mode from its logits [..., V] and their targets [...].

    Targets below zero are not counted. Sums are in float64, so that the figure does not depend
    on how the rows were batched; `scored` need hold no more of them at once than it wants to.
    """
    loss, right, tokens = 0.0, 0, 0
    for logits, targets in scored:
        rows, wanted = logits.float().flatten(0, -2), targets.flatten()  # [R, V], [R]
        losses = F.cross_entropy(rows, wanted, reduction="none")  # 0 where not counted
        loss += losses.cpu().double().sum().item()
        right += int((rows.argmax(-1) == wanted).sum())
        tokens += int((wanted >= 0).sum())
    if tokens == 0:
        raise ValueError("evaluate needs at least one batch with a token to predict; got none")
    return Evaluation(loss / tokens, right / tokens, tokens, tokens * bytes_per_token)
