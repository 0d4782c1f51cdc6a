"""Keys of one option, such as optimizer=muon: accepted with it, refused by name with another."""

import subprocess
import sys

import pytest

from gpt_pipeline.cli.help import key_rows
from gpt_pipeline.config import Config, keys
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError


def test_a_key_of_another_optimizer_is_refused_with_what_to_do():
    with pytest.raises(ConfigError) as caught:
        compose(["optimizer=adamw", "optimizer.momentum=0.9"])
    assert str(caught.value) == (
        "optimizer.momentum is a key of optimizer=muon; got optimizer=adamw; drop it or choose "
        "optimizer=muon"
    )


def test_keys_that_a_model_sets_for_its_own_optimizer_go_with_it():
    """model=laptop chooses Muon and sets two of its keys."""
    assert compose(["model=laptop"]).config.optimizer.ns_steps == 3
    config = compose(["model=laptop", "optimizer=adamw"]).config
    assert not hasattr(config.optimizer, "ns_steps")
    assert config.optimizer.model_dump().keys() == {"name", "beta1", "beta2", "eps", "grad_clip"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "sgd"}, "optimizer.name must be adamw, muon, schedulefree; got sgd"),
        ({}, "optimizer.name is missing from the config; add it"),
        ("muon", "optimizer must be a group of keys; got muon"),
    ],
)
def test_a_group_without_a_known_option_is_named(value, message):
    with pytest.raises(ConfigError) as caught:
        Config.parse(compose([]).config.model_dump() | {"optimizer": value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("words", "option", "missing"),
    [
        (["model=tiny", "optimizer.name=muon"], "optimizer=muon", "optimizer.momentum"),
        (["dataset.source=text", "dataset.val_path=x"], "dataset=text", "dataset.path"),
    ],
)
def test_an_option_chosen_by_its_name_alone_lacks_keys_and_says_how_to_choose_it(
    words, option, missing
):
    with pytest.raises(ConfigError) as caught:
        compose(words)
    assert f"{missing} is missing; choose {option}, which sets" in str(caught.value)


def test_a_key_of_one_option_is_listed_once_with_the_option_and_its_default_there():
    rows = {name: (doc, default) for name, doc, default in key_rows()}
    assert len(rows) == len(key_rows())
    assert rows["optimizer.momentum"] == (
        "decay of Muon's running mean of the gradient (optimizer=muon)",
        "0.95",
    )
    common = [key for key in keys(Config) if key.name == "optimizer.grad_clip"]
    assert [key.options for key in common] == [()]


def test_an_optimizer_without_support_for_float16_is_refused_with_it():
    with pytest.raises(ConfigError, match=r"optimizer=muon needs runtime\.dtype=bfloat16"):
        compose(["optimizer=muon", "runtime.dtype=float16"]).config.check_trainable()
    compose(["model=tiny", "optimizer=adamw", "runtime.dtype=float16"]).config.check_trainable()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["dataset.path=x.txt"],
            "dataset.path is a key of dataset=text; got dataset=stories; drop it or choose "
            "dataset=text",
        ),
        (
            ["dataset=text", "dataset.path=x.txt", "dataset.num_stories=9"],
            "dataset.num_stories is a key of dataset=stories; got dataset=text; drop it or choose "
            "dataset=stories",
        ),
        (
            ["dataset.val_path=v.txt", "dataset.train_ratio=0.5"],
            "dataset.train_ratio and dataset.val_path both choose the validation text; got 0.5 and "
            "v.txt; leave one out",
        ),
        (
            ["dataset.num_val_stories=9", "dataset.train_ratio=0.5"],
            "dataset.train_ratio and dataset.num_val_stories both choose the validation stories; "
            "leave one out",
        ),
    ],
)
def test_keys_of_the_dataset_that_have_no_effect_are_refused(words, message):
    with pytest.raises(ConfigError) as caught:
        compose(words)
    assert str(caught.value) == message


def test_a_validation_file_goes_with_every_source_and_with_a_ratio_of_one():
    for words in ([], ["dataset=tinystories"], ["dataset=text"]):
        assert compose([*words, "dataset.val_path=v.txt", "dataset.train_ratio=1"])


def test_the_config_is_imported_without_hydra_and_the_optimizers_without_torch():
    code = "import sys, gpt_pipeline.config as _; print({'hydra', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
