"""Log-probabilities under the model: of what was drawn, and of a text that is there already."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_pipeline.generation.request import Alternatives, Drawn
from gpt_pipeline.model import GPTModel


def logprobs_of(
    logits: Tensor, tokens: Sequence[int], most: int
) -> list[tuple[float, Alternatives]]:
    """Of a token a row of logits [B, V], before any setting of the sampling.

    Returns:
        A row each: the token's log-probability, and the `most` best tokens with theirs.
    """
    table = logits.float().log_softmax(-1)  # B V
    chosen = table.gather(1, torch.tensor(tokens, device=table.device)[:, None]).squeeze(1)
    values, ids = table.topk(min(most, table.shape[1]))
    rows = zip(chosen.tolist(), ids.tolist(), values.tolist(), strict=True)
    return [(own, tuple(zip(best, found, strict=True))) for own, best, found in rows]


@torch.inference_mode()
def score(model: GPTModel, tokens: Sequence[int], *, eot_id: int, logprobs: int) -> list[Drawn]:
    """What each token of a text costs, given those before it; before the first is end-of-text.

    Args:
        model: in evaluation mode.
        tokens: at most max_length of them.
        eot_id: end-of-text.
        logprobs: how many alternatives to tell.
    """
    if not tokens:
        return []
    read = torch.tensor([[eot_id, *tokens[:-1]]], device=model.device)
    rows = logprobs_of(model(read)[0], tokens, logprobs)
    return [Drawn(token, None, own, best) for token, (own, best) in zip(tokens, rows, strict=True)]
