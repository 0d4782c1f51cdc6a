"""Paths of the config: every key means the same by them, in every command."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from small_run import SMALL

from gpt_pipeline.config import Config, keys
from gpt_pipeline.config.compose import compose
from gpt_pipeline.config.paths import is_path
from gpt_pipeline.config.problems import tagged
from gpt_pipeline.errors import ConfigError


def path_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        for option in tagged(field).values():
            yield from path_keys(option, f"{prefix}{name}.")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from path_keys(field.annotation, f"{prefix}{name}.")
        elif is_path(field):
            yield prefix + name


KEYS = [*dict.fromkeys(path_keys(Config)), "hydra.run.dir"]
OPTIONS = {key.name: key.options for key in keys(Config)} | {"hydra.run.dir": ()}
"""What has a key of one option, such as dataset=text."""


def value_of(key, *words):
    composed = compose([*OPTIONS[key], *words])
    if key == "hydra.run.dir":
        return str(composed.run_dir)
    value = composed.config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_every_key_that_names_a_file_or_folder_is_a_path():
    assert set(KEYS) == {
        "dataset.path", "dataset.val_path", "dataset.data_dir", "dataset.adopt", "dataset.hub_id",
        "tokenizer.path", "model.checkpoint_path", "checkpoint.load", "prompts", "output",
        "hydra.run.dir",
    }  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_tilde_is_the_home_folder(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/sue")
    assert value_of(key, f"{key}=~/my files/a,b") == "/home/sue/my files/a,b"
    assert value_of(key, f"{key}=./~/x") == ("~/x" if key == "hydra.run.dir" else "./~/x")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_value_is_refused(key, value):
    with pytest.raises(ConfigError, match=rf"^{key} must name a file or folder; got '{value}', as"):
        value_of(key, f"{key}={value}")


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_user_is_refused(key):
    with pytest.raises(ConfigError, match=rf"^{key} must begin with .*got ~nobody-here/x;"):
        value_of(key, f"{key}=~nobody-here/x")


def test_all_problems_are_reported_at_once(gpt):
    code, out, err = gpt("train", "dataset.val_path=", "hydra.run.dir=", "model.num_heads=x")
    assert (code, out) == (2, "")
    assert [line.split()[1] for line in err.splitlines()] == ["hydra.run.dir", "model.num_heads"]
    code, out, err = gpt("train", "dataset.val_path=", "hydra.run.dir=", "tokenizer.path=~nobody-x")
    assert [line.split()[1] for line in err.splitlines()] == [
        "hydra.run.dir", "dataset.val_path", "tokenizer.path",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a,b", "a b=c", "[x]", "it's", "${x", "a{b}", "#1", "100%", "é"])
def test_a_run_folder_may_have_any_name_that_a_text_may_have(name):
    assert value_of("hydra.run.dir", f"hydra.run.dir={name}") == name
    assert value_of("dataset.path", f"dataset.path={name}") == name


def test_a_run_folder_may_have_interpolations():
    year = value_of("hydra.run.dir", "hydra.run.dir=runs/${now:%Y}, mine")
    assert year.removeprefix("runs/").removesuffix(", mine").isdigit()


def test_train_plan_and_verify_mean_the_same_folder(gpt, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "home"))
    words = [*SMALL, "model.checkpoint_path=~/kept", "dataset.data_dir=~/tokens"]
    code, _, err = gpt("train", *words, "hydra.run.dir=~/runs/a, b")
    assert code == 0, err
    home = folder / "home"
    assert (home / "kept" / "small-step-00000012" / "manifest.json").exists()
    assert (home / "tokens" / "text" / "dataset_train.bin").exists()
    assert (home / "runs" / "a, b" / "metrics.jsonl").exists()
    assert not (folder / "~").exists()
    _, out, _ = gpt("plan", *words, "format=json")
    assert f'"path": "{home}/kept"' in out
    code, out, _ = gpt("verify", "model.checkpoint_path=~/kept", "dataset.data_dir=~/tokens")
    assert code == 0
    assert f"ok       {home}/kept/small-step-00000012" in out
    code, out, _ = gpt(
        "inference", "checkpoint.load=~/kept/small-step-00000012", "output=~/o.jsonl"
    )
    assert code == 0
    assert (home / "o.jsonl").exists()


def test_an_empty_path_is_not_verified_as_the_current_folder(trained):
    code, out, err = trained("verify", "")
    assert (code, out) == (2, "")
    assert err.startswith("error: the path must name a file or folder; got ''")


def test_a_checkpoint_from_elsewhere_may_name_users_that_are_unknown_here(trained, folder):
    """Its paths are looked at where they are used: by evaluate, for its data."""
    import yaml

    from gpt_pipeline.checkpoint.manifest import record
    from gpt_pipeline.durable import sealed, unsealed

    (path,) = folder.glob("checkpoints/small-step-00000012")
    config = yaml.safe_load((path / "config.yaml").read_text())
    config["dataset"] |= {"path": "~nobody-here/stories.txt", "data_dir": "~nobody-here/data"}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    manifest = unsealed((path / "manifest.json").read_bytes())
    manifest["files"]["config.yaml"] = vars(record(path / "config.yaml"))
    (path / "manifest.json").write_bytes(sealed(manifest))
    code, out, err = trained("inference", "model.prompt=Once")
    assert code == 0, err
    assert out.startswith("Once")
    code, _, err = trained("evaluate")
    assert code == 2
    assert "error: dataset.path must begin with a known home folder" in err


def test_no_other_module_expands_paths():
    import gpt_pipeline

    package = Path(gpt_pipeline.__file__).parent
    found = [p for p in package.rglob("*.py") if "expanduser" in p.read_text(encoding="utf-8")]
    assert sorted(path.relative_to(package).as_posix() for path in found) == [
        "config/paths.py",
        "inference/backends/native/library.py",  # the user's cache, which is no key
    ]
