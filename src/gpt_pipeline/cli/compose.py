"""Command-line words to a checked Config. The only module that imports Hydra."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gpt_pipeline.config import Config, Key, keys, nearest
from gpt_pipeline.errors import ConfigError

CONF = Path(str(resources.files("gpt_pipeline"))) / "conf"
_QUOTED = re.compile(r"""^(["']).*\1$""", re.DOTALL)


@dataclass(frozen=True)
class Composed:
    """A config, and what the command line said to get it.

    Attributes:
        config: the checked config.
        chosen: the file that each group was taken from.
        overridden: dotted keys and group names that the command line named.
        overrides: the command line's words.
        run_dir: hydra.run.dir, resolved.
        hydra: Hydra's own part of the config, for the run folder.
    """

    config: Config
    chosen: dict[str, str]
    overridden: frozenset[str]
    overrides: tuple[str, ...]
    run_dir: Path
    hydra: DictConfig

    def overrides_group(self, group: str) -> bool:
        """Whether the command line chose this group or one of its keys."""
        return any(name == group or name.startswith(f"{group}.") for name in self.overridden)


def groups() -> dict[str, list[str]]:
    """Config groups and their options."""
    return {
        folder.name: sorted(
            file.stem for file in folder.glob("*.yaml") if not file.stem.startswith("_")
        )
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and not folder.name.startswith("_")
    }


def compose(words: Sequence[str]) -> Composed:
    """Compose conf/ with `key=value` words and check the result.

    Raises:
        ConfigError: with every problem of words and values at once.
    """
    sorted_out = _sort(words)
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            whole = hydra_compose("config", overrides=sorted_out.good, return_hydra_config=True)
        hydra = OmegaConf.masked_copy(whole, "hydra")
        run_dir = Path(str(whole.hydra.run.dir))
        chosen = {k: v for k, v in whole.hydra.runtime.choices.items() if "/" not in str(k)}
        values: Any = OmegaConf.to_container(
            OmegaConf.masked_copy(
                whole, [str(k) for k in whole if k not in ("hydra", "experiment")]
            ),
            resolve=True,
        )
    except (HydraException, OmegaConfBaseException) as error:
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        raise ConfigError([*sorted_out.problems, *lines[:1]]) from None
    try:
        config = Config.parse(values)
    except ConfigError as error:
        raise ConfigError([*sorted_out.problems, *error.problems]) from None
    if sorted_out.problems:
        raise ConfigError(sorted_out.problems)
    return Composed(
        config=config,
        chosen=chosen,
        overridden=frozenset(sorted_out.names),
        overrides=tuple(words),
        run_dir=run_dir,
        hydra=hydra,
    )


def write_run_files(composed: Composed, config: Config, run_dir: Path) -> None:
    """Write `.hydra/` into a run folder as Hydra itself does: config, overrides, hydra.yaml."""
    folder = run_dir / ".hydra"
    folder.mkdir(parents=True, exist_ok=True)
    plain = yaml.safe_dump(config.model_dump(), sort_keys=False)
    (folder / "config.yaml").write_text(plain, encoding="utf-8")
    words = yaml.safe_dump(list(composed.overrides), allow_unicode=True)
    (folder / "overrides.yaml").write_text(words, encoding="utf-8")
    OmegaConf.save(composed.hydra, folder / "hydra.yaml")


def as_yaml(config: Config) -> str:
    """The resolved config as YAML."""
    text: str = yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)
    return text


@dataclass
class _Sorted:
    good: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _sort(words: Sequence[str]) -> _Sorted:
    """Words that Hydra may see, and a line for each that it may not."""
    known = {key.name: key for key in keys(Config)}
    options = groups()
    result = _Sorted()
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            result.problems.append(f"{word!r} must have the form key=value")
        elif name in options:
            if value in options[name]:
                result.good.append(word)
                result.names.append(name)
            else:
                hint = nearest(value, options[name])
                allowed = ", ".join(options[name])
                result.problems.append(f"{name} must be one of {allowed}; got {value}{hint}")
        elif name in known:
            result.good.append(f"{name}={_quoted(value)}" if _is_text(known[name]) else word)
            result.names.append(name)
        elif name.startswith("hydra."):
            result.good.append(word)
        else:
            hint = nearest(name, [*known, *options])
            result.problems.append(f"{name} is not a key of the config{hint}")
    return result


def _is_text(key: Key) -> bool:
    return key.allowed.startswith("text")


def _quoted(value: str) -> str:
    """Text goes to Hydra in quotes, so that a prompt may hold commas, colons and brackets."""
    if value == "null" or _QUOTED.match(value):
        return value
    escaped = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", value)
    escaped = re.sub(r"(\\+)$", lambda m: m[1] * 2, escaped)
    return f"'{escaped}'"
