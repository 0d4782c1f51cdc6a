"""What is added to logits, or takes from them, before a token is drawn."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_pipeline.config import Sampling
from gpt_pipeline.runtime.transfer import on_device


def adjusted(
    logits: Tensor,
    sampling: Sampling,
    texts: Sequence[Sequence[int]] | None,
    drawn: Sequence[Sequence[int]] | None,
) -> Tensor:
    """Logits [B, V] after all penalties and the bias; the same tensor where there are none.

    Args:
        logits: of the rows.
        sampling: its settings.
        texts: tokens of each row, those of its prompt included; None: no repetition penalty.
        drawn: tokens that were generated for each row; None: no presence or frequency penalty.
    """
    if sampling.repetition_penalty != 1 and texts is not None:
        logits = penalized(logits, texts, sampling.repetition_penalty)
    if sampling.penalizes_drawn and drawn is not None:
        logits = lowered(
            logits, drawn, presence=sampling.presence_penalty, frequency=sampling.frequency_penalty
        )
    if sampling.logit_bias:
        logits = biased(logits, sampling.logit_bias)
    return logits


def penalized(logits: Tensor, texts: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Make tokens that a row's text has less likely: logits [B, V] above 0 are divided, else times.

    Source: Keskar et al. 2019, "CTRL", section 4.1, for negative logits as transformers has it.
    """
    logits = logits.clone()
    for row, text in zip(logits, texts, strict=True):
        seen = on_device(torch.tensor(sorted(set(text)), dtype=torch.int64), row.device)
        values = row[seen]
        row[seen] = torch.where(values < 0, values * penalty, values / penalty)
    return logits


def lowered(
    logits: Tensor, drawn: Sequence[Sequence[int]], *, presence: float, frequency: float
) -> Tensor:
    """Subtract from logits [B, V] `presence` for each token that a row has drawn, and `frequency`
    for each time that it was drawn.

    Source: OpenAI's API reference, "Frequency and presence penalties".
    """
    logits = logits.clone()
    for row, text in zip(logits, drawn, strict=True):
        counts = Counter(text)
        ids = on_device(torch.tensor([*counts], dtype=torch.int64), row.device)
        times = torch.tensor([*counts.values()], dtype=torch.float32)
        row[ids] -= on_device(presence + frequency * times, row.device).to(row.dtype)
    return logits


def biased(logits: Tensor, bias: Sequence[tuple[int, float]]) -> Tensor:
    """Add to the logits [B, V] of token ids; ids that there are not are passed over."""
    there = [(token, value) for token, value in bias if 0 <= token < logits.shape[1]]
    logits = logits.clone()
    ids = on_device(torch.tensor([token for token, _ in there], dtype=torch.int64), logits.device)
    values = on_device(torch.tensor([value for _, value in there]), logits.device)
    logits[:, ids] += values
    return logits
