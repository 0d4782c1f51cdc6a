"""The same weights in transformers' GPT-2 give the same logits, gradients and greedy text."""

from dataclasses import replace

import pytest
import torch
from decoding import decode
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from gpt_pipeline.config import Sampling
from gpt_pipeline.model import GPTModel

NAMES = {  # ours in a block: theirs, and whether theirs is a Conv1D, whose weight is transposed
    "attention_norm": ("ln_1", False),
    "attention.qkv": ("attn.c_attn", True),
    "attention.out": ("attn.c_proj", True),
    "feed_forward_norm": ("ln_2", False),
    "feed_forward.up": ("mlp.c_fc", True),
    "feed_forward.down": ("mlp.c_proj", True),
}


def pairs(model: GPTModel, twin: GPT2LMHeadModel):
    """Each parameter of ours with its name, theirs, and whether theirs is transposed."""
    theirs = dict(twin.named_parameters())
    outside = {
        "embedding.token.weight": "transformer.wte.weight",
        "embedding.position.weight": "transformer.wpe.weight",
        "final_norm.weight": "transformer.ln_f.weight",
        "final_norm.bias": "transformer.ln_f.bias",
    }
    for name, parameter in model.named_parameters():
        if name in outside:
            yield name, parameter, theirs[outside[name]], False
            continue
        _, layer, rest = name.split(".", 2)
        module, kind = rest.rsplit(".", 1)
        other, conv = NAMES[module]
        transposed = conv and kind == "weight"
        yield name, parameter, theirs[f"transformer.h.{layer}.{other}.{kind}"], transposed


def twin_of(model: GPTModel, attention: str) -> GPT2LMHeadModel:
    sizes = model.config
    config = GPT2Config(
        vocab_size=sizes.vocab_size,
        n_embd=sizes.embed_dim,
        n_inner=sizes.ff_hidden_dim,
        n_positions=sizes.max_length,
        n_head=sizes.num_heads,
        n_layer=sizes.num_layers,
        layer_norm_epsilon=sizes.layer_norm_eps,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation=attention,
    )
    twin = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for block in twin.transformer.h:
            block.attn.c_attn.bias.zero_()
        for _, ours, theirs, transposed in pairs(model, twin):
            theirs.copy_(ours.T if transposed else ours)
    return twin


@pytest.fixture(params=[True, False], ids=["qkv_bias", "no_qkv_bias"])
def twins(gpt_config, request):
    """Two models with the same weights, all biases and norms randomised too."""
    torch.manual_seed(5)
    model = GPTModel(replace(gpt_config, qkv_bias=request.param)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model, twin_of(model, "eager")


@pytest.mark.parametrize(("batch_size", "num_tokens"), [(1, 1), (4, 7), (2, 11)])
@torch.no_grad()
def test_logits_equal_those_of_transformers(twins, batch_size, num_tokens):
    model, twin = twins
    tokens = torch.randint(37, (batch_size, num_tokens))
    difference = (model(tokens) - twin(tokens).logits).abs().max().item()
    print(f"logits differ by {difference:.1e}")
    assert difference <= 1e-5


def test_gradients_equal_those_of_transformers(twins):
    model, twin = twins
    tokens, targets = torch.randint(37, (2, 4, 7))
    for logits in (model(tokens), twin(tokens).logits):
        functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    compared = 0
    for name, ours, theirs, transposed in pairs(model, twin):
        expected = theirs.grad.T if transposed else theirs.grad
        difference = (ours.grad - expected).abs().max().item()
        print(f"{name}: gradients differ by {difference:.1e} of {expected.abs().max():.1e}")
        assert expected.abs().max() > 1e-4, f"{name} is not seen by the loss"
        assert difference <= 1e-5, name
        compared += 1
    assert compared == len(model.state_dict())


def test_greedy_text_equals_that_of_transformers(model):
    twin = twin_of(model, "sdpa")
    prompt = torch.tensor([[7, 30, 12]])
    expected = twin.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=8,
        pad_token_id=0,
    )
    greedy = Sampling(temperature=0.0, top_k=None, top_p=1.0, max_new_tokens=8)
    (sample,) = decode(model, prompt[0].tolist(), sampling=greedy, eot_id=0, seed=0)
    assert list(sample.tokens) == expected[0, 3:].tolist()
