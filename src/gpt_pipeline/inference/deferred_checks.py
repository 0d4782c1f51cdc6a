"""Conditions that almost never hold and must be checked, without a device synchronization each."""

import torch
from torch import Tensor


class DeferredChecks:
    """Conditions on the logits of a step that almost never hold.

    With `wait` (on a CPU) each is checked at once. Reading a condition from a GPU synchronizes
    with it, so there it is taken to be false, and `resolve` checks all of them together with the
    result; if one held, the step must be computed again with `wait`.
    """

    def __init__(self, *, wait: bool) -> None:
        self.wait = wait
        self._deferred: list[Tensor] = []

    def holds(self, condition: Tensor) -> bool:
        """Whether a bool [] is true; False if the check is deferred."""
        if self.wait:
            return bool(condition)
        self._deferred.append(condition)
        return False

    def resolve(self, tokens: Tensor) -> tuple[list[int], bool]:
        """Ids [B] as a list, and whether all deferred conditions are false; one synchronization."""
        if not self._deferred:
            return tokens.tolist(), True
        any_holds = torch.stack(self._deferred).any().to(tokens.dtype)[None]
        *ids, held = torch.cat((tokens, any_holds)).tolist()
        return ids, not held
