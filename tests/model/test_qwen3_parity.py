"""The same weights in transformers' Qwen3 give the same logits, gradients and greedy text."""

from dataclasses import replace

import pytest
import torch
from decoding import decode
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM

from gpt_pipeline.config import GPTConfig, Sampling
from gpt_pipeline.inference.backends.torch import TorchBackend
from gpt_pipeline.model import GPTModel


@pytest.fixture(params=[1, 2, 4], ids=lambda groups: f"{groups} of 4 heads have keys")
def modern(gpt_config: GPTConfig, request) -> GPTConfig:
    """Sizes pairwise different: V=37, C=24, ff=60, T<=11, H=4, D=6, two layers."""
    return replace(
        gpt_config,
        num_heads=4,
        qkv_bias=False,
        position="rotary",
        rope_theta=500.0,
        norm="rms_norm",
        feed_forward="swiglu",
        qk_norm=True,
        num_kv_heads=request.param,
        bias=False,
    )


def twin_of(model: GPTModel) -> Qwen3ForCausalLM:
    sizes = model.config
    config = Qwen3Config(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.embed_dim,
        intermediate_size=sizes.ff_hidden_dim,
        max_position_embeddings=sizes.max_length,
        num_attention_heads=sizes.num_heads,
        num_key_value_heads=sizes.num_kv_heads,
        head_dim=sizes.head_dim,
        num_hidden_layers=sizes.num_layers,
        rms_norm_eps=sizes.layer_norm_eps,
        rope_theta=sizes.rope_theta,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        tie_word_embeddings=True,
        attention_bias=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    twin = Qwen3ForCausalLM(config).eval()
    missing, unexpected = twin.load_state_dict(renamed(model), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    twin.tie_weights()
    return twin


def renamed(model: GPTModel) -> dict[str, torch.Tensor]:
    """Our state dict under transformers' names."""
    sizes = model.config
    parts = [n * sizes.head_dim for n in (sizes.num_heads, sizes.num_kv_heads, sizes.num_kv_heads)]
    result = {}
    names = {
        "embedding.token": "model.embed_tokens",
        "final_norm": "model.norm",
        "attention_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
        "attention.out": "self_attn.o_proj",
        "attention.q_norm": "self_attn.q_norm",
        "attention.k_norm": "self_attn.k_norm",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.up": "mlp.up_proj",
        "feed_forward.down": "mlp.down_proj",
    }
    for name, tensor in model.state_dict().items():
        module = name.removesuffix(".weight")
        layer = ""
        if module.startswith("blocks."):
            _, number, module = module.split(".", 2)
            layer = f"model.layers.{number}."
        if module == "attention.qkv":
            for letter, part in zip("qkv", tensor.split(parts), strict=True):
                result[f"{layer}self_attn.{letter}_proj.weight"] = part
        else:
            result[f"{layer}{names[module]}.weight"] = tensor
    return result


@pytest.fixture
def twins(modern):
    """Large random weights everywhere, so that every term of the computation is seen."""
    torch.manual_seed(5)
    model = GPTModel(modern).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model, twin_of(model)


def test_logits_equal_those_of_qwen3(twins):
    model, twin = twins
    tokens = torch.randint(37, (3, 11))
    torch.testing.assert_close(model(tokens), twin(tokens).logits, atol=1e-5, rtol=0)


def test_gradients_equal_those_of_qwen3(twins):
    model, twin = twins
    tokens, targets = torch.randint(37, (2, 3, 11))
    for one in (model, twin):
        logits = one(tokens) if one is model else one(tokens).logits
        functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    theirs = {name: p.grad for name, p in twin.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    for name, gradient in renamed(model).items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-4)


def test_greedy_text_equals_that_of_qwen3(twins):
    model, twin = twins
    prompt = [5, 17, 2]
    sampling = Sampling(temperature=0.0, top_k=None, top_p=1.0, max_new_tokens=8)
    (sample,) = decode(model, prompt, sampling=sampling, eot_id=0, seed=0)
    theirs = twin.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 3), max_new_tokens=8, do_sample=False
    )
    assert [*prompt, *sample.tokens] == theirs[0].tolist()[: 3 + len(sample.tokens)]


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1] * 11, [10, 1], [3, 1, 5, 2]], ids=str)
def test_reading_in_chunks_gives_the_logits_of_reading_at_once(twins, chunks):
    model, _ = twins
    tokens = torch.randint(37, (4, 11))
    cache = TorchBackend(model).new_cache(4)
    parts = tokens.split(chunks, dim=1)
    logits = torch.cat([cache.logits(part, cache.kv) for part in parts], dim=1)
    torch.testing.assert_close(logits, model(tokens), atol=1e-5, rtol=0)


@torch.no_grad()
def test_each_document_of_a_window_has_the_logits_that_qwen3_gives_it_alone(twins):
    model, twin = twins
    bounded = GPTModel(replace(model.config, attention="document", eot_id=0)).eval()
    bounded.load_state_dict(model.state_dict())
    documents = [torch.tensor([[0, 5, 9]]), torch.tensor([[0]]), torch.tensor([[0, 3, 7, 5, 1]])]
    window = torch.cat([torch.tensor([[8, 4]]), *documents], dim=1)  # begins in mid-document
    alone = [twin(tokens).logits for tokens in (window[:, :2], *documents)]
    torch.testing.assert_close(bounded(window), torch.cat(alone, dim=1), atol=1e-5, rtol=0)
    assert not torch.allclose(model(window), bounded(window), atol=1e-2)
