"""The schema: types, ranges, relations, and that no key is there for nothing."""

import ast
from pathlib import Path

import pytest

import gpt_pipeline
from gpt_pipeline.config import Config, GPTConfig, Sampling, keys
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError

CONTRACT = """
dataset.train_ratio dataset.train_shuffle dataset.num_workers dataset.path dataset.val_path
dataset.data_dir tokenizer.vocab_size tokenizer.path runtime.seed runtime.device runtime.dtype
runtime.compile runtime.num_threads schedule.max_steps schedule.max_minutes checkpoint.save_every
checkpoint.keep_last checkpoint.resume checkpoint.load format num_samples
model.vocab_size model.embed_dim model.ff_hidden_dim model.max_length model.num_heads
model.num_layers model.micro_batch_size model.grad_accumulation model.ffn_dropout_rate
model.mha_dropout_rate model.emb_dropout_rate model.layer_norm_eps model.qkv_bias
model.learning_rate model.min_lr model.weight_decay model.warmup_steps model.num_epochs
model.eval_freq model.eval_iter model.prompt model.temperature model.top_k model.top_p
model.max_new_tokens model.checkpoint_name model.checkpoint_path
""".split()


def values(**changes):
    plain = compose([]).config.model_dump()
    for key, value in changes.items():
        group, leaf = key.split("__")
        plain[group][leaf] = value
    return plain


def test_every_key_of_the_contract_exists():
    assert set(CONTRACT) <= {key.name for key in keys(Config)}


def test_model_has_no_keys_beyond_the_contract():
    own = {key.name for key in keys(Config) if key.name.startswith("model.")}
    assert own <= set(CONTRACT)


def test_every_key_is_described():
    assert [key.name for key in keys(Config) if not key.doc] == []


# What a group is called where its keys are read; m: in a line of cli/train.py.
ALIASES = {
    "model": {"model", "m", "model_config", "gpt_config", "config", "sampling"},
    "block": {"gpt_config", "config"},
    "checkpoint": {"checkpoint", "_options"},
    "dataset": {"dataset"},
    "tokenizer": {"tokenizer", "config"},
    "serve": {"serve", "config", "_config"},
    "": {"config", "given"},
}


def owner(node):
    """`runtime` of `config.runtime.seed`, `self` left out."""
    value = node.value
    return value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", None)


def test_every_leaf_is_read_by_the_code():
    """A leaf counts as read where it is taken from something that bears its group's name."""
    package = Path(gpt_pipeline.__file__).parent
    read = set()
    for path in package.rglob("*.py"):
        if path.parent.name != "config":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute):
                    own = owner(node) == "self" and path.parent.name == "optimizers"
                    read.add(("optimizer" if own else owner(node), node.attr))
    unread = set()
    for key in keys(Config):
        group, _, leaf = key.name.rpartition(".")
        if not any((name, leaf) in read for name in ALIASES.get(group, {group})):
            unread.add(key.name)
    assert unread == set()


def test_gpt_30m_is_the_reference():
    config = compose(["experiment=tinystories_30m"]).config
    assert config.dataset.source == "tinystories"
    assert config.tokenizer.name == "gpt2"
    m = config.model
    assert (m.num_layers, m.num_heads, m.embed_dim, m.ff_hidden_dim) == (6, 8, 384, 1536)
    assert (m.max_length, m.vocab_size, m.qkv_bias) == (256, 50257, False)
    assert {m.ffn_dropout_rate, m.mha_dropout_rate, m.emb_dropout_rate} == {0.1}
    assert (m.learning_rate, m.min_lr, m.weight_decay) == (6e-4, 6e-5, 0.1)
    assert (m.warmup_steps, m.micro_batch_size, m.grad_accumulation) == (200, 32, 4)
    assert (m.num_epochs, m.eval_freq, m.eval_iter, m.max_new_tokens) == (1, 100, 10, 250)
    assert (m.temperature, m.top_k, m.top_p, m.prompt) == (1.2, 50, 0.95, "Once upon a time")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"block__num_kv_heads": 3},
            r"block\.num_kv_heads must divide model\.num_heads; got 3 and 4; try 2 or 4",
        ),
        (
            {"block__position": "rotary", "model__num_heads": 4, "model__embed_dim": 12},
            r"rotary needs an even head dimension \(model.embed_dim / model.num_heads\); got 3",
        ),
        ({"model__embed_dim": 0}, r"model\.embed_dim must be a whole number > 0; got 0"),
        ({"model__num_layers": -2}, r"model\.num_layers must be .* > 0; got -2"),
        ({"model__embed_dim": 1.5}, r"model\.embed_dim must be a whole number > 0; got 1\.5"),
        ({"model__qkv_bias": 1}, r"model\.qkv_bias must be true or false; got 1"),
        ({"model__learning_rate": "fast"}, r"model\.learning_rate must be a number > 0; got fast"),
        ({"model__temperature": -1}, r"model\.temperature must be a number >= 0; got -1"),
        ({"model__top_p": 0.0}, r"model\.top_p must be a number > 0 and <= 1.*; got 0\.0"),
        ({"model__top_k": 0}, r"model\.top_k must be a whole number > 0 or null; got 0"),
        ({"model__ffn_dropout_rate": 1.0}, r"ffn_dropout_rate must be a number >= 0 and < 1"),
        ({"model__checkpoint_name": "a/b"}, r"checkpoint_name must be text of letters.*got a/b"),
        ({"dataset__train_ratio": 0.0}, r"dataset\.train_ratio .* > 0 and <= 1.*; got 0\.0"),
        ({"dataset__train_ratio": 1.1}, r"dataset\.train_ratio .* > 0 and <= 1 or null; got 1\.1"),
        (
            {"model__micro_batch_size": 0},
            r"micro_batch_size must be a whole .* > 0 or auto; got 0$",
        ),
        ({"model__micro_batch_size": "all"}, r"micro_batch_size must be .* > 0 or auto; got all$"),
        ({"runtime__device": "tpu"}, r"runtime\.device must be auto, cpu, cuda, mps; got tpu"),
        ({"model__learning_rate": float("nan")}, r"model\.learning_rate must be .*; got nan"),
        ({"model__num_heads": 7}, r"num_heads must divide .*; got 7 and 256; try 4 or 8"),
        ({"model__min_lr": 1.0}, r"model\.min_lr must be at most .*; got 1\.0 and"),
        ({"dataset__source": "text"}, r"dataset\.path must name a file.*dataset\.path=your\.txt"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named_with_what_is_allowed(change, message):
    with pytest.raises(ConfigError, match=message):
        Config.parse(values(**change))


def test_all_problems_are_reported_at_once():
    wrong = values(model__num_heads=7, runtime__seed=-1, dataset__train_ratio=2.0)
    wrong["model"]["embed_dimm"] = 3
    del wrong["model"]["prompt"]
    with pytest.raises(ConfigError) as caught:
        Config.parse(wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert "model.embed_dimm is not a key of the config; did you mean model.embed_dim?" in text
    assert "model.prompt is missing" in text
    assert "num_heads must divide" in text


def test_slices_hold_what_the_config_says():
    config = Config.parse(values(model__vocab_size=97, model__top_k=None, block__eot_id=3))
    gpt_config = config.gpt_config()
    assert gpt_config == GPTConfig(
        vocab_size=97,
        embed_dim=config.model.embed_dim,
        ff_hidden_dim=config.model.ff_hidden_dim,
        max_length=config.model.max_length,
        num_heads=config.model.num_heads,
        num_layers=config.model.num_layers,
        ffn_dropout_rate=0.0,
        mha_dropout_rate=0.0,
        emb_dropout_rate=0.0,
        layer_norm_eps=config.model.layer_norm_eps,
        qkv_bias=False,
        **config.block.model_dump(),
    )
    assert config.sampler() == Sampling(
        temperature=config.model.temperature, top_k=None, top_p=0.95, max_new_tokens=250
    )


def test_an_architecture_needs_its_vocabulary():
    with pytest.raises(ConfigError, match=r"model\.vocab_size must be set here; got null"):
        compose([]).config.gpt_config()
    with pytest.raises(ConfigError, match=r"block\.eot_id must be set here; got null"):
        compose(["model.vocab_size=9"]).config.gpt_config()


def test_end_of_text_shapes_a_model_only_where_documents_bound_its_attention():
    for attention, eot_id in (("causal", None), ("document", 3)):
        words = ["model.vocab_size=9", f"block.attention={attention}", "block.eot_id=3"]
        assert compose(words).config.gpt_config().eot_id == eot_id


def test_a_step_needs_a_micro_batch_that_is_settled():
    config = Config.parse(values(model__micro_batch_size="auto"))
    with pytest.raises(
        ConfigError, match=r"model\.micro_batch_size must be a number here; got auto"
    ):
        config.model.batch_split()
    split = config.replace({"model.micro_batch_size": 3}).model.batch_split()
    assert (split.micro_batch_size, split.windows_per_step) == (3, 3)


def test_replace_changes_and_checks():
    config = compose([]).config
    assert config.replace({"model.vocab_size": 12}).model.vocab_size == 12
    with pytest.raises(ConfigError, match="got 0"):
        config.replace({"model.vocab_size": 0})
