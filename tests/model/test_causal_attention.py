"""Attention by the equation written out: values, gradients, groups of heads, dropout."""

import math

import pytest
import torch
from torch.nn import functional

from gpt_pipeline.model.blocks.causal_attention import causal_attention
from gpt_pipeline.model.blocks.dropout import Dropout, keep_mask

B, H, T, D = 2, 6, 11, 5


def inputs(groups, dtype):
    generator = torch.Generator().manual_seed(groups)

    def some(heads):
        return torch.randn(B, heads, T, D, generator=generator).to(dtype).requires_grad_()

    return some(H), some(groups), some(groups)


def documents():
    """Two windows: documents of 4 and 7 positions, and of 1, 2 and 8."""
    numbers = torch.tensor([[0] * 4 + [1] * 7, [0] + [1] * 2 + [2] * 8])
    return (numbers[:, :, None] == numbers[:, None, :]).tril()


def written_out(q, k, v, mask):
    k, v = (x.repeat_interleave(H // x.shape[1], 1) for x in (k, v))
    scores = (q @ k.mT / math.sqrt(D)).masked_fill(~mask[:, None], -math.inf)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("groups", [6, 3, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("in_full", [True, False])
@pytest.mark.parametrize("mask", [None, documents()], ids=["causal", "document"])
def test_it_is_the_equation(monkeypatch, groups, dtype, in_full, mask):
    monkeypatch.setattr(
        "gpt_pipeline.model.blocks.causal_attention._better_in_full", lambda *args: in_full
    )
    here, there = (
        inputs(groups, dtype),
        [x.detach().float().requires_grad_() for x in inputs(groups, dtype)],
    )
    all_before = torch.ones(B, T, T, dtype=torch.bool).tril()
    found = causal_attention(*here, mask=mask)
    wanted = written_out(*there, all_before if mask is None else mask)
    tolerance = {"rtol": 1e-6, "atol": 2e-6 if dtype == torch.float32 else 0.06}
    torch.testing.assert_close(found.float(), wanted, **tolerance)
    weight = torch.linspace(-1, 1, found.numel()).view(found.shape)
    (found.float() * weight).sum().backward()
    (wanted * weight).sum().backward()
    for mine, theirs in zip(here, there, strict=True):
        torch.testing.assert_close(mine.grad.float(), theirs.grad, **tolerance)


def test_its_gradient_with_dropout_is_that_of_its_value():
    q, k, v = (x.detach().double().requires_grad_() for x in inputs(3, torch.float32))

    def repeatable(*args):
        torch.manual_seed(4)
        return causal_attention(*args, 0.3)

    assert not torch.equal(repeatable(q, k, v), causal_attention(q, k, v))
    assert torch.autograd.gradcheck(repeatable, (q, k, v))


def test_dropout_leaves_the_mean_as_it_is():
    q, k, v = (x.detach().requires_grad_() for x in inputs(6, torch.float32))
    torch.manual_seed(0)
    mean = torch.stack([causal_attention(q, k, v, 0.5) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, causal_attention(q, k, v), rtol=0, atol=0.15)


def test_without_a_gradient_it_is_torchs_own(monkeypatch):
    called = []
    own = functional.scaled_dot_product_attention

    def spy(*args, **kwargs):
        called.append(args)
        return own(*args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    q, k, v = inputs(6, torch.bfloat16)
    causal_attention(q, k, v)
    assert not called
    causal_attention(q.detach(), k, v)
    assert len(called) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_mask_drops_at_its_rate_and_depends_on_the_global_seed(dtype, rate):
    like = torch.empty(333, 301, dtype=dtype)  # not a multiple of 4
    torch.manual_seed(1)
    mask, kept = keep_mask(like, rate)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert kept == pytest.approx(1 - rate, abs=1 / (1 << 17))
    assert mask.float().mean().item() == pytest.approx(kept, abs=0.01)
    torch.manual_seed(1)
    assert torch.equal(keep_mask(like, rate)[0], mask)
    assert not torch.equal(keep_mask(like, rate)[0], mask)


def test_dropout_scales_what_it_keeps_and_rests_in_evaluation():
    dropout, x = Dropout(0.25), torch.ones(1000, 50)
    found = dropout(x)
    assert sorted(found.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert found.mean().item() == pytest.approx(1, abs=0.02)
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x
