"""Penalties and biases on logits, before sampling."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.runtime.transfer import on_device


def check_logit_bias(tokens: Iterable[int], vocab_size: int, name: str) -> None:
    """Refuse biases of tokens that are not in the vocabulary.

    Raises:
        UserError: there is one; the message begins with `name`.
    """
    for token in tokens:
        if token >= vocab_size:
            raise UserError(
                f"{name} must name token ids below {vocab_size}, the size of the vocabulary; "
                f"got {token}"
            )


def adjusted(
    logits: Tensor,
    sampling: Sampling,
    texts: Sequence[Sequence[int]] | None,
    sampled: Sequence[Sequence[int]] | None,
) -> Tensor:
    """Logits [B, V] after all penalties and the bias; the same tensor if there are none.

    Args:
        logits: [B, V].
        sampling: the settings.
        texts: tokens of each row, including its prompt; None: no repetition penalty.
        sampled: tokens that were sampled for each row; None: no presence or frequency penalty.
    """
    if sampling.repetition_penalty != 1 and texts is not None:
        logits = penalized(logits, texts, sampling.repetition_penalty)
    if sampling.penalizes_drawn and sampled is not None:
        presence, frequency = sampling.presence_penalty, sampling.frequency_penalty
        logits = lowered(logits, sampled, presence=presence, frequency=frequency)
    if sampling.logit_bias:
        logits = biased(logits, sampling.logit_bias)
    return logits


def penalized(logits: Tensor, texts: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Divide the logits [B, V] of tokens in a row's text by the penalty; multiply negative ones.

    Source: Keskar et al. 2019, "CTRL", section 4.1; negative logits as in transformers.
    """
    logits = logits.clone()
    for row, text in zip(logits, texts, strict=True):
        seen = on_device(torch.tensor(sorted(set(text)), dtype=torch.int64), row.device)
        values = row[seen]
        row[seen] = torch.where(values < 0, values * penalty, values / penalty)
    return logits


def lowered(
    logits: Tensor, sampled: Sequence[Sequence[int]], *, presence: float, frequency: float
) -> Tensor:
    """Subtract from the logits [B, V] of each sampled token `presence`, and `frequency` times the
    number of times it was sampled.

    Source: OpenAI's API reference, "Frequency and presence penalties".
    """
    logits = logits.clone()
    for row, text in zip(logits, sampled, strict=True):
        counts = Counter(text)
        ids = on_device(torch.tensor([*counts], dtype=torch.int64), row.device)
        times = torch.tensor([*counts.values()], dtype=torch.float32)
        row[ids] -= on_device(presence + frequency * times, row.device).to(row.dtype)
    return logits


def biased(logits: Tensor, bias: Sequence[tuple[int, float]]) -> Tensor:
    """Add biases to the logits [B, V] of token ids; ids outside the vocabulary are ignored."""
    known = [(token, value) for token, value in bias if 0 <= token < logits.shape[1]]
    logits = logits.clone()
    ids = on_device(torch.tensor([token for token, _ in known], dtype=torch.int64), logits.device)
    values = on_device(torch.tensor([value for _, value in known]), logits.device)
    logits[:, ids] += values
    return logits
