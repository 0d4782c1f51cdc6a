"""Words of the command line to a config."""

import pytest
import yaml

from gpt_pipeline.config import Config
from gpt_pipeline.config.compose import as_yaml, compose, groups, write_run_files
from gpt_pipeline.errors import ConfigError


def test_the_default_is_laptop_stories_bpe():
    composed = compose([])
    assert (composed.chosen["model"], composed.chosen["dataset"]) == ("laptop", "stories")
    assert composed.config.tokenizer.name == "bpe"
    assert composed.overridden == frozenset()


def test_a_group_on_the_command_line_wins_over_the_experiment():
    composed = compose(["experiment=tinystories_30m", "dataset=text", "dataset.path=a.txt"])
    assert composed.config.dataset.source == "text"
    assert composed.config.model.num_layers == 6
    assert composed.overrides_group("dataset")
    assert not composed.overrides_group("model")


@pytest.mark.parametrize(
    "prompt",
    [
        'He said: "It\'s, {fine}!" [ok] (yes) $5 #1',
        "a=b, c=d",
        "ends with a backslash \\",
        "quote\\'s",
        "",
        "123",
        "true",
        "Once upon a time,\nthere was",
        "Zoë — ünïcode 🦊",
    ],
)
def test_a_prompt_is_taken_as_it_is_typed(prompt):
    assert compose([f"model.prompt={prompt}"]).config.model.prompt == prompt


def test_numbers_nulls_and_booleans_have_their_types():
    config = compose(
        ["model.learning_rate=1e-3", "model.top_k=null", "runtime.compile=true"]
    ).config
    assert config.model.learning_rate == 1e-3
    assert config.model.top_k is None
    assert config.runtime.compile is True


def test_all_wrong_words_and_values_are_reported_at_once():
    words = ["foo", "mdel=tiny", "model=tinny", "model.embd_dim=3", "embed_dim=4"]
    with pytest.raises(ConfigError) as caught:
        compose([*words, "model.num_heads=7", "runtime.device=tpu"])
    text = str(caught.value)
    assert len(caught.value.problems) == 7
    assert "'foo' must have the form key=value" in text
    assert "mdel is not a key of the config; did you mean model?" in text
    assert (
        "model must be one of gpt_30m, laptop, modern_30m, tiny; got tinny; did you mean tiny?"
        in text
    )
    assert "model.embd_dim is not a key of the config; did you mean model.embed_dim?" in text
    assert "embed_dim is not a key of the config; did you mean model.embed_dim?" in text


@pytest.mark.parametrize("word", ["model.num_heads=[1", "hydra.nothing=1", "model.num_heads=1,2"])
def test_what_hydra_cannot_take_is_one_line(word):
    with pytest.raises(ConfigError) as caught:
        compose([word])
    assert len(caught.value.problems) == 1


def test_hydra_run_dir_can_be_set(tmp_path):
    assert compose([f"hydra.run.dir={tmp_path}/run"]).run_dir == tmp_path / "run"


def test_the_resolved_config_reads_back_equal():
    config = compose(["model=gpt_30m"]).config
    assert Config.parse(yaml.safe_load(as_yaml(config))) == config


def test_the_run_folder_gets_hydras_three_files(tmp_path):
    composed = compose(["model=tiny", "model.prompt=Hi, you"])
    write_run_files(composed, composed.config, tmp_path)
    read = {p.name: yaml.safe_load(p.read_text()) for p in (tmp_path / ".hydra").iterdir()}
    assert set(read) == {"config.yaml", "overrides.yaml", "hydra.yaml"}
    assert Config.parse(read["config.yaml"]) == composed.config
    assert read["overrides.yaml"] == ["model=tiny", "model.prompt=Hi, you"]


def test_hidden_files_are_no_options():
    assert groups()["model"] == ["gpt_30m", "laptop", "modern_30m", "tiny"]
    assert groups()["dataset"] == ["stories", "text", "tinystories"]
