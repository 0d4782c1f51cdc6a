import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks.mha import MultiHeadAttention

GPT_30M = compose(["model=gpt_30m"]).config.gpt_config()
BLOCK_KEYS = [
    "attention_norm.weight",
    "attention_norm.bias",
    "attention.qkv.weight",
    "attention.qkv.bias",
    "attention.out.weight",
    "attention.out.bias",
    "feed_forward_norm.weight",
    "feed_forward_norm.bias",
    "feed_forward.up.weight",
    "feed_forward.up.bias",
    "feed_forward.down.weight",
    "feed_forward.down.bias",
]


def expected_keys(num_layers: int) -> list[str]:
    blocks = [f"blocks.{idx}.{key}" for idx in range(num_layers) for key in BLOCK_KEYS]
    embedding = ["embedding.token.weight", "embedding.position.weight"]
    return [*embedding, *blocks, "final_norm.weight", "final_norm.bias"]


def test_state_dict_keys_are_frozen(gpt_config):
    assert list(GPTModel(gpt_config).state_dict()) == expected_keys(2)


def test_without_qkv_bias_only_those_keys_are_gone(gpt_config):
    keys = list(GPTModel(replace(gpt_config, qkv_bias=False)).state_dict())
    assert keys == [key for key in expected_keys(2) if not key.endswith("qkv.bias")]


def test_gpt_30m_has_its_exact_number_of_parameters():
    with torch.device("meta"):
        assert GPTModel(GPT_30M).num_parameters() == 30_037_632


@pytest.mark.parametrize(("batch_size", "num_tokens"), [(1, 1), (5, 1), (1, 11), (4, 7)])
def test_logits_have_a_row_of_the_vocabulary_for_each_token(model, batch_size, num_tokens):
    tokens = torch.randint(37, (batch_size, num_tokens))
    assert model(tokens).shape == (batch_size, num_tokens, 37)


def test_no_position_sees_a_later_token(model):
    tokens = torch.randint(37, (2, 9))
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 37
    difference = (model(tokens) - model(changed)).abs().amax(dim=(0, 2))
    assert (difference[:6] == 0).all()
    assert (difference[6:] > 1e-3).all()


def test_rows_of_a_batch_do_not_see_each_other(model):
    tokens = torch.randint(37, (4, 7))
    torch.testing.assert_close(model(tokens)[2:3], model(tokens[2:3]))


def test_a_sequence_longer_than_max_length_is_refused(model):
    with pytest.raises(ValueError, match="got 12, and 11"):
        model(torch.zeros(1, 12, dtype=torch.int64))


def test_a_sequence_of_no_tokens_is_refused(model):
    with pytest.raises(ValueError, match="at least one position; got none"):
        model(torch.zeros(2, 0, dtype=torch.int64))


@pytest.mark.parametrize(("vocab_size", "embed_dim"), [(37, 24), (512, 192), (50257, 48)])
def test_loss_at_initialisation_is_the_logarithm_of_the_vocabulary(
    gpt_config, vocab_size, embed_dim
):
    torch.manual_seed(0)
    sizes = replace(gpt_config, vocab_size=vocab_size, embed_dim=embed_dim)
    model = GPTModel(sizes).eval()
    tokens, targets = torch.randint(vocab_size, (2, 40, 11))
    with torch.no_grad():
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
    assert loss.item() == pytest.approx(math.log(vocab_size), rel=0.02)


def test_weights_start_as_those_of_gpt2_do(gpt_config):
    torch.manual_seed(0)
    sizes = replace(gpt_config, embed_dim=192, ff_hidden_dim=300, num_layers=5)
    for name, weight in GPTModel(sizes).state_dict().items():
        if name.endswith("bias"):
            assert (weight == 0).all(), name
        elif name.endswith("norm.weight"):
            assert (weight == 1).all(), name
        else:
            residual = name.endswith(("attention.out.weight", "down.weight"))
            expected = 0.02 / math.sqrt(10) if residual else 0.02
            assert weight.std().item() == pytest.approx(expected, rel=0.06), name
            assert abs(weight.mean().item()) < 0.1 * expected, name


def test_the_global_seed_decides_the_initial_weights(gpt_config):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(GPTModel(gpt_config).state_dict()["blocks.1.feed_forward.up.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("rate", ["ffn_dropout_rate", "mha_dropout_rate", "emb_dropout_rate"])
def test_each_dropout_acts_in_training_only(gpt_config, rate):
    torch.manual_seed(0)
    model = GPTModel(replace(gpt_config, **{rate: 0.5}))
    tokens = torch.randint(37, (2, 7))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_attention_dropout_acts_on_weights_and_on_output(gpt_config):
    torch.manual_seed(0)
    attention = MultiHeadAttention(replace(gpt_config, mha_dropout_rate=0.5))
    x = torch.randn(2, 7, 24)
    assert (attention(x) == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    attention.dropout.rate = 0.0  # what is left is the dropout of the weights
    assert not torch.equal(attention(x), attention(x))
