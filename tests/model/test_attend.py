"""Attention written out for bfloat16 on the CPU equals torch's kernel."""

import pytest
import torch
from torch.nn import functional

from gpt_pipeline.model.blocks import attend as attend_module
from gpt_pipeline.model.blocks.attend import attend


@pytest.mark.parametrize("rows", [4, 11, 256])
def test_written_out_attention_equals_the_kernel(monkeypatch, rows):
    monkeypatch.setattr(attend_module, "_ROWS", rows)
    q, k, v, grad = torch.randn(4, 3, 2, 11, 8).unbind()
    single = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    expected = functional.scaled_dot_product_attention(*single, is_causal=True)
    expected.backward(grad)
    half = [x.detach().bfloat16().requires_grad_() for x in (q, k, v)]
    got = attend(*half, dropout_rate=0.0)
    got.backward(grad.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.02)
    for ours, theirs in zip(half, single, strict=True):
        torch.testing.assert_close(ours.grad.float(), theirs.grad, atol=0.08, rtol=0.03)


def test_no_position_sees_a_later_one():
    q, k, v = torch.randn(3, 2, 2, 9, 8).bfloat16().unbind()
    before = attend(q, k, v, dropout_rate=0.0)
    k[:, :, 5:], v[:, :, 5:] = 7.0, -3.0
    after = attend(q, k, v, dropout_rate=0.0)
    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert not torch.equal(before[:, :, 5:], after[:, :, 5:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropped_attention_weights_leave_the_mean(dtype):
    torch.manual_seed(0)
    q, k = torch.zeros(2, 1, 1, 16, 8, dtype=dtype).unbind()  # all positions weigh the same
    v = torch.ones(1, 1, 16, 8, dtype=dtype)
    rates = torch.stack([attend(q, k, v, dropout_rate=0.25) for _ in range(400)]).float()
    assert rates[..., -1, 0].mean() == pytest.approx(1.0, abs=0.03)
    assert rates[..., -1, 0].std() > 0.05
