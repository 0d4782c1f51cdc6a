"""Log-probabilities under the model: of sampled tokens, and of the tokens of a given text."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_pipeline.inference.backends import Backend
from gpt_pipeline.inference.deferred_checks import DeferredChecks
from gpt_pipeline.inference.request import Alternatives, SampledToken
from gpt_pipeline.inference.sampling import check_finite


def logprobs_of(
    logits: Tensor, tokens: Sequence[int], most: int
) -> list[tuple[float, Alternatives]]:
    """Log-probabilities from logits [B, V], without the settings of `Sampling`.

    Args:
        logits: of B positions.
        tokens: one per position.
        most: how many alternatives to report.

    Returns:
        For each position the token's log-probability, and the `most` best tokens with theirs.
    """
    table = logits.float().log_softmax(-1)  # B V
    chosen = table.gather(1, torch.tensor(tokens, device=table.device)[:, None]).squeeze(1)
    values, ids = table.topk(min(most, table.shape[1]))
    rows = zip(chosen.tolist(), ids.tolist(), values.tolist(), strict=True)
    return [(own, tuple(zip(best, found, strict=True))) for own, best, found in rows]


@torch.inference_mode()
def score(backend: Backend, tokens: Sequence[int], *, logprobs: int) -> list[SampledToken]:
    """The log-probability of each token of a text given those before it; the first has none.

    Args:
        backend: of the model.
        tokens: at most max_length of them.
        logprobs: how many alternatives to report.

    Raises:
        UserError: logits are not finite.
    """
    if not tokens:
        return []
    read = torch.tensor([tokens[:-1]], dtype=torch.int64, device=backend.device)
    rows: list[tuple[float, Alternatives]] = []
    if len(tokens) > 1:
        logits = backend.logits(read)[0]
        check_finite(logits, DeferredChecks(wait=True))
        rows = logprobs_of(logits, tokens[1:], logprobs)
    rest = zip(tokens[1:], rows, strict=True)
    return [
        SampledToken(tokens[0], None),
        *(SampledToken(each, None, own, best) for each, (own, best) in rest),
    ]
