"""Dropout, drawn from torch's global generator or from seeds that belong to sequences."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
"""2^64 over the golden ratio: multiples of it are far apart (Steele et al. 2014)."""
_FACTORS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
_SHIFTS = (30, 27, 31)


def mix(numbers: Tensor) -> Tensor:
    """Hash int64 numbers to int64, one to one; numbers that differ in one bit differ in half.

    Source: Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators", mix64variant13 of
    SplitMix.
    """
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        high = (numbers >> shift) & ((1 << (64 - shift)) - 1)  # without the copies of the sign
        numbers = (numbers ^ high) * factor
    return numbers


def dropout_keys(seeds: Tensor, num_sites: int) -> Tensor:
    """A key for each sequence and each site of dropout in the model, int64 [B, S].

    Args:
        seeds: int64 [B], one per sequence.
        num_sites: S.
    """
    return mix(mix(seeds)[:, None] + _steps(num_sites, seeds.device))


def _steps(count: int, device: torch.device) -> Tensor:
    """`count` different numbers that are far apart, int64."""
    numbers = torch.arange(count, device=device)
    # xor: Inductor would compute a product of indices in Python's integers, which do not wrap
    return (numbers ^ -1) * _GOLDEN


def keep_mask(like: Tensor, rate: float, keys: Tensor | None = None) -> tuple[Tensor, float]:
    """Which elements dropout keeps.

    Each 64-bit number decides on four elements, which is four times faster on a CPU than torch's
    own dropout. So the rate is a multiple of 1/65,536, and at most 1/131,072 off.

    Args:
        like: [N, ...], a multiple of B rows where there are keys.
        rate: the probability of being dropped.
        keys: int64 [B]. The mask of a sequence is then a function of its key and of the position
            in it. In eager mode on a CPU, generators of their own draw it; elsewhere it is a hash,
            so the two differ. None: drawn from torch's global generator, for a CPU.

    Returns:
        1 or 0 in the shape and type of `like`, and the share that is expected to be kept.
    """
    dropped = round(rate * _LEVELS)
    batch = 1 if keys is None else len(keys)
    number = like.numel() // batch  # of a sequence
    if keys is not None and (like.device.type != "cpu" or torch.compiler.is_compiling()):
        levels = _hashed_levels(keys, number)
    else:
        draws = torch.empty(batch, -(-number // 4), dtype=torch.int64)
        if keys is None:
            draws.random_(-(1 << 63), None)
        else:
            _draw(draws, keys)
        levels = draws.view(torch.int16)[:, :number]
    mask = torch.empty_like(like, requires_grad=False, memory_format=torch.contiguous_format)
    torch.ge(levels.reshape(like.shape), dropped - _LEVELS // 2, out=mask)
    return mask, 1 - dropped / _LEVELS


def _draw(draws: Tensor, keys: Tensor) -> None:
    """Fill each row of int64 draws [B, N] from a generator that starts at the row's key."""
    generator = torch.Generator()
    for row, key in zip(draws, keys.tolist(), strict=True):
        row.random_(-(1 << 63), None, generator=generator.manual_seed(key))


def _hashed_levels(keys: Tensor, number: int) -> Tensor:
    """Numbers in -32,768 to 32,767, int64 [B, number], hashed from key and position."""
    draws = mix(keys[:, None] + _steps(-(-number // 4), keys.device))[..., None]  # B number/4 1
    shifts = torch.arange(0, 64, 16, device=keys.device)
    levels = ((draws >> shifts) & (_LEVELS - 1)) - _LEVELS // 2
    return levels.flatten(1)[:, :number]


class Dropout(nn.Module):
    """Set each element to 0 with probability `rate` in training, and scale the others to make up.

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", section 4, with the scaling in training.

    Attributes:
        rate: the probability of being dropped.
        site: which of the model's dropouts this is, its column in the keys.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.site = rate, 0

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """Drop from x [B, ...]; the shape stays.

        Args:
            x: one sequence per row.
            keys: of `dropout_keys`, int64 [B, S]; None: the global generator draws.
        """
        if not self.training or self.rate == 0:
            return x
        key = self.of_site(keys)
        if key is None and (x.device.type != "cpu" or torch.compiler.is_compiling()):
            return functional.dropout(x, self.rate)
        mask, kept = keep_mask(x, self.rate, key)
        return x * mask.div_(kept)

    def of_site(self, keys: Tensor | None) -> Tensor | None:
        """The column [B] of the keys [B, S] that is this dropout's."""
        return None if keys is None else keys[:, self.site]
