"""Dropout from seeds: a function of sequence and place in the model, whatever the batch."""

from dataclasses import replace

import pytest
import torch

from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks.causal_attention import _with_keys, causal_attention
from gpt_pipeline.model.blocks.dropout import Dropout, dropout_keys, keep_mask, mix

RATES = ["emb_dropout_rate", "mha_dropout_rate", "ffn_dropout_rate"]
KEYS = torch.tensor([3, -9, 2**61])


@pytest.fixture(params=["drawn", "hashed"])
def form(request, monkeypatch):
    """Both forms of the masks: generators in eager mode on a CPU, a hash elsewhere."""
    if request.param == "hashed":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    return request.param


@pytest.fixture
def model(gpt_config, large_weights):
    return large_weights(replace(gpt_config, **dict.fromkeys(RATES, 0.3)), 0.2).train()


def test_mix_is_that_of_the_paper():
    """The first two outputs of SplitMix64 with seed 0."""
    golden = 0x9E3779B97F4A7C15
    states = torch.tensor([golden - (1 << 64), (2 * golden) % (1 << 64)])
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert [number % (1 << 64) for number in mix(states).tolist()] == wanted


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_mask_drops_at_its_rate_and_follows_from_the_key_alone(form, rate):
    like = torch.empty(3, 333, 101)  # not a multiple of 4
    state = torch.get_rng_state()
    mask, kept = keep_mask(like, rate, KEYS)
    assert torch.equal(torch.get_rng_state(), state)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    for row in mask:
        assert row.mean().item() == pytest.approx(kept, abs=0.01)
    torch.testing.assert_close(keep_mask(like[:2], rate, KEYS[[2, 0]])[0], mask[[2, 0]])
    agreement = (mask[0] == mask[1]).float().mean().item()
    assert agreement == pytest.approx(kept**2 + (1 - kept) ** 2, abs=0.01)
    for shift in (1, 2, 3, 101):  # neither do elements of one sequence follow from one another
        flat = mask[0].flatten()
        agreement = (flat[shift:] == flat[:-shift]).float().mean().item()
        assert agreement == pytest.approx(kept**2 + (1 - kept) ** 2, abs=0.015)


def test_a_sequence_has_its_dropout_in_any_batch(form, gpt_config, model):
    tokens = torch.randint(37, (4, 9))
    seeds = torch.tensor([11, 12, 13, 14])
    whole = model(tokens, None, seeds)
    for rows in ([2], [3, 1], [0, 1, 2, 3]):
        torch.testing.assert_close(model(tokens[rows], None, seeds[rows]), whole[rows])
    assert not torch.allclose(model(tokens, None, seeds + 1), whole)
    same = model(tokens[:1].expand(2, -1), None, seeds[:2])
    assert not torch.allclose(same[0], same[1])


def test_every_site_has_a_mask_of_its_own(gpt_config):
    model = GPTModel(gpt_config)
    sites = [module.site for module in model.modules() if isinstance(module, Dropout)]
    assert sites == list(range(7))  # the embedding, and three in each of two blocks
    keys = dropout_keys(torch.tensor([1, 2]), 7)
    assert len(keys.unique()) == 14
    masks = {tuple(keep_mask(torch.empty(1, 64), 0.5, key[None])[0][0].tolist())
             for key in keys.flatten()}  # fmt: skip
    assert len(masks) == 14


@pytest.mark.parametrize("rate", RATES)
def test_each_dropout_of_the_model_follows_the_seeds(form, gpt_config, large_weights, rate):
    model = large_weights(replace(gpt_config, **{rate: 0.4}), 0.2).train()
    tokens = torch.randint(37, (2, 9))
    found = [model(tokens, None, torch.tensor(seeds)) for seeds in ([1, 2], [1, 2], [1, 3])]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][0], found[2][0])
    assert not torch.allclose(found[0][1], found[2][1])
    assert torch.equal(model.eval()(tokens, None, torch.tensor([1, 2])), model(tokens))


@pytest.mark.parametrize("groups", [6, 3])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_in_plain_operations_is_the_fast_one(groups, masked):
    generator = torch.Generator().manual_seed(2)
    q = torch.randn(3, 6, 11, 5, generator=generator).requires_grad_()
    k, v = torch.randn(2, 3, groups, 11, 5, generator=generator).unbind()
    mask = torch.ones(3, 11, 11, dtype=torch.bool).tril() if masked else None
    if masked:
        mask[1, 5:, :5] = False
    fast = causal_attention(q, k, v, 0.3, mask, KEYS)
    torch.testing.assert_close(_with_keys(q, k, v, 0.3, mask, KEYS), fast)
    assert not torch.allclose(causal_attention(q, k, v, 0.0, mask), fast)


@pytest.mark.slow
def test_compiled_dropout_is_the_hash_of_the_seeds(model, needs_cpp_compiler, monkeypatch):
    tokens, seeds = torch.randint(37, (3, 9)), torch.tensor([4, 5, 6])
    found = torch.compile(model, fullgraph=True)(tokens, None, seeds)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(found, model(tokens, None, seeds), rtol=1e-4, atol=1e-4)
