import math

import torch

from gpt_pipeline.model.blocks.mha import MultiHeadAttention


def written_out_attention(attention: MultiHeadAttention, x: torch.Tensor) -> torch.Tensor:
    """Vaswani et al. 2017, equation 1, position by position and head by head."""
    num_tokens, width = x.shape[1], x.shape[2]
    head_dim = attention.head_dim
    qkv = x @ attention.qkv.weight.T + attention.qkv.bias
    q, k, v = qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]
    allowed = torch.ones(num_tokens, num_tokens).tril() == 1
    heads = []
    for start in range(0, width, head_dim):
        part = slice(start, start + head_dim)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(head_dim)
        weights = torch.softmax(scores.masked_fill(~allowed, -math.inf), dim=-1)
        heads.append(weights @ v[..., part])
    return torch.cat(heads, dim=-1) @ attention.out.weight.T + attention.out.bias


def test_attention_equals_the_written_out_formula(model):
    attention = model.blocks[1].attention
    x = torch.randn(4, 7, 24)
    expected = written_out_attention(attention, x)
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=0)


def test_attention_gradients_equal_those_of_the_written_out_formula(model):
    attention = model.blocks[0].attention
    x, grad = torch.randn(2, 4, 7, 24)
    parameters = list(attention.parameters())
    got = torch.autograd.grad((attention(x) * grad).sum(), parameters)
    expected = torch.autograd.grad((written_out_attention(attention, x) * grad).sum(), parameters)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-5)
