"""Log-probabilities under the model: of what was drawn, and of a text that is there already."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_pipeline.inference.deferred_checks import DeferredChecks
from gpt_pipeline.inference.request import Alternatives, SampledToken
from gpt_pipeline.inference.sampling import check_finite
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
def score(model: GPTModel, tokens: Sequence[int], *, logprobs: int) -> list[SampledToken]:
    """What each token of a text costs, given those before it; the first has nothing to be held to.

    Args:
        model: in evaluation mode.
        tokens: at most max_length of them.
        logprobs: how many alternatives to tell.

    Raises:
        UserError: logits are not finite.
    """
    if not tokens:
        return []
    read = torch.tensor([tokens[:-1]], dtype=torch.int64, device=model.device)
    rows: list[tuple[float, Alternatives]] = []
    if len(tokens) > 1:
        logits = model(read)[0]
        check_finite(logits, DeferredChecks(wait=True))
        rows = logprobs_of(logits, tokens[1:], logprobs)
    rest = zip(tokens[1:], rows, strict=True)
    return [
        SampledToken(tokens[0], None),
        *(SampledToken(each, None, own, best) for each, (own, best) in rest),
    ]
