"""Quantized and packed weights: the same logits, up to their precision."""

import copy

import pytest
import torch

from gpt_pipeline.config.compose import compose
from gpt_pipeline.inference.backends.torch import TorchBackend
from gpt_pipeline.inference.quantize import quantize

SIZES = """
model.vocab_size=301 model.embed_dim=64 model.ff_hidden_dim=160 model.max_length=24
model.num_heads=4 model.num_layers=2 block.eot_id=0
""".split()
ODD = ["model.ff_hidden_dim=100", "model.embed_dim=36"]  # no multiples of 16
KINDS = {
    "gpt2": ["model=tiny"],
    "odd sizes": ["model=tiny", *ODD],
    "qwen3": ["model=laptop", "block.num_kv_heads=2"],
}
CLOSE = {"float32": 1e-5, "bfloat16": 0.03, "int8": 0.08}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def model(request, large_weights):
    return large_weights(compose([*SIZES, *request.param]).config.gpt_config(), 0.1)


@torch.inference_mode()
@pytest.mark.parametrize("weights", CLOSE)
def test_logits_are_those_of_the_model_up_to_the_precision(model, weights):
    tokens = torch.randint(301, (3, 20))
    wanted = model(tokens)
    got = quantize(copy.deepcopy(model), weights)(tokens).float()
    assert (got - wanted).abs().max() < CLOSE[weights] * wanted.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize("weights", CLOSE)
def test_the_cache_changes_no_logits(model, weights):
    model, tokens = quantize(model, weights), torch.randint(301, (3, 20))
    wanted, cache = model(tokens).float(), TorchBackend(model).new_cache(3)
    parts = tokens.split([7, 1, 1, 11], dim=1)
    got = torch.cat([cache.logits(part, cache.kv) for part in parts], 1)
    assert cache.kv.layers[0].keys.dtype == torch.float32
    assert (got.float() - wanted).abs().max() < CLOSE[weights] * wanted.abs().max()


@torch.inference_mode()
@pytest.mark.parametrize("weights", CLOSE)
def test_a_row_of_a_product_does_not_depend_on_those_beside_it(model, weights):
    """So that a sample is the same whatever is made beside it."""
    model = quantize(model, weights)
    x = torch.randn(9, 1, model.config.embed_dim, dtype=model.final_norm.weight.dtype)
    for number in range(1, 9):
        for matrix in (model.blocks[0].attention.qkv, model.embedding.token.project):
            assert torch.equal(matrix(x[:number]), matrix(x)[:number])


def test_int8_takes_a_row_of_zeros_and_the_largest_of_a_row_exactly(model):
    with torch.no_grad():
        model.embedding.token.weight[7] = 0
    whole = model.embedding.token.weight.detach().clone()
    matrix = quantize(model, "int8").embedding.token.matrix
    kept = matrix.rows(torch.arange(301)).float()
    assert (kept[7] == 0).all()
    step = whole.abs().amax(1, keepdim=True) / 127
    assert ((kept - whole).abs() <= 0.6 * step + 1e-2 * whole.abs()).all()


def test_where_onednn_is_not_there_the_model_stays_as_it_is(model, monkeypatch):
    monkeypatch.setattr("gpt_pipeline.inference.quantize._can_pack", lambda device, dtype: False)
    before = model.state_dict().keys()
    assert quantize(model, "float32").state_dict().keys() == before
