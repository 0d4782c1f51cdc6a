"""Loss, accuracy, perplexity and bits per byte: one definition for every command."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Arrays, Precision

_LARGEST_EXPONENT = 700.0

_LOGITS_PER_CHUNK = {"cpu": 1 << 23}
"""Logits that an evaluation computes at once: 32 MB of float32 are fastest on a CPU."""
_LOGITS_PER_CHUNK_ELSEWHERE = 1 << 28


@dataclass(frozen=True)
class Evaluation:
    """Means over the tokens that were evaluated.

    Attributes:
        loss: mean negative log-likelihood, in nats per token.
        accuracy: share, 0 to 1, of the tokens that had the largest logit.
        tokens: number of tokens.
        bytes: UTF-8 bytes of these tokens, end-of-text counted as one byte.
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
        """The loss in bits per byte of text, comparable between tokenizers."""
        return self.loss * self.tokens / math.log(2) / self.bytes

    def as_dict(self) -> dict[str, float]:
        """All figures, under the names in commands and files."""
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

    Targets below 0 are not counted. Sums are in float64, so that the figures do not depend on how
    the rows are batched.

    Raises:
        ValueError: no target counts.
    """
    loss, right, tokens = 0.0, 0, 0
    for logits, targets in scored:
        rows, wanted = logits.float().flatten(0, -2), targets.flatten()  # [R, V], [R]
        losses = F.cross_entropy(rows, wanted, reduction="none")  # 0 where not counted
        loss += losses.cpu().double().sum().item()
        right += int((rows.argmax(-1) == wanted).sum())
        tokens += int((wanted >= 0).sum())
    if tokens == 0:
        raise ValueError("evaluate needs at least one target that counts; got none")
    return Evaluation(loss / tokens, right / tokens, tokens, tokens * bytes_per_token)


def scored(
    model: GPTModel, precision: Precision, batches: Iterable[Arrays]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the model's logits [R, V] for batches, and their targets [R], for `evaluate`.

    A chunk of rows at a time: the logits of a whole batch would be the largest tensor in memory.
    """
    at_once = _LOGITS_PER_CHUNK.get(precision.device.type, _LOGITS_PER_CHUNK_ELSEWHERE)
    rows = max(1, at_once // model.config.vocab_size)
    for tokens, targets in _micro_batches(precision, batches):
        with precision.autocast():
            hidden_states = model.hidden_states(tokens).flatten(0, 1)  # B*T C
        for chunk, wanted in zip(
            torch.split(hidden_states, rows), torch.split(targets.flatten(), rows), strict=True
        ):
            with precision.autocast():
                logits = model.head(chunk)  # R V
            yield logits, wanted


def _micro_batches(
    precision: Precision, batches: Iterable[Arrays]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches on the device, as much at a time as goes through the layers at once."""
    for batch in batches:
        tokens, targets = precision.to_device(batch)
        size = precision.windows_at_once(*tokens.shape)
        yield from zip(torch.split(tokens, size), torch.split(targets, size), strict=True)
