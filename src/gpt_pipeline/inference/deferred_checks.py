"""What is nearly never so, and yet must be looked at, without waiting for a GPU each time."""

import torch
from torch import Tensor


class DeferredChecks:
    """Questions to the logits of a step whose answer is nearly always no.

    On a CPU each is answered when it is asked. To ask a GPU is to wait for it, so there the answer
    is taken for a no, and one look at the end says whether that was wrong anywhere; the step is
    then gone through again, waiting.
    """

    def __init__(self, *, wait: bool) -> None:
        self.wait = wait
        self._open: list[Tensor] = []

    def ask(self, doubt: Tensor) -> bool:
        """Whether a bool [] is true, as far as is known now."""
        if self.wait:
            return bool(doubt)
        self._open.append(doubt)
        return False

    def settle(self, tokens: Tensor) -> tuple[list[int], bool]:
        """Ids [B] of tokens as a list, and whether all that was asked was a no, in one look."""
        if not self._open:
            return tokens.tolist(), True
        doubtful = torch.stack(self._open).any().to(tokens.dtype)[None]
        *found, wrong = torch.cat((tokens, doubtful)).tolist()
        return found, not wrong
