import pytest
import torch
from torch import nn

from gpt_pipeline.model.blocks.layer_norm import LayerNorm


@pytest.mark.parametrize("shape", [(1, 1, 24), (4, 7, 24), (24,)])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layer_norm_and_its_gradients_equal_torchs(shape, eps):
    ours, theirs = LayerNorm(24, eps), nn.LayerNorm(24, eps)
    with torch.no_grad():
        ours.weight.copy_(torch.randn(24))
        ours.bias.copy_(torch.randn(24))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape) * 3 + 1
    grad = torch.randn(shape)
    torch.testing.assert_close(ours(x), theirs(x))
    for got, expected in zip(
        torch.autograd.grad((ours(x) * grad).sum(), list(ours.parameters())),
        torch.autograd.grad((theirs(x) * grad).sum(), list(theirs.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_layer_norm_is_the_papers_equation():
    x = torch.randn(4, 7, 24)
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, unbiased=False)
    expected = (x - mean) / torch.sqrt(variance + 0.3)
    torch.testing.assert_close(LayerNorm(24, 0.3)(x), expected)
