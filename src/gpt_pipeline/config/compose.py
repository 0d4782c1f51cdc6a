"""Composes conf/ and command-line overrides into a checked Config; the only import of Hydra."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gpt_pipeline.config import Config, Key, expand_paths, expanded_path, keys, nearest
from gpt_pipeline.config.problems import one_line, shown, tagged
from gpt_pipeline.durable import replacing
from gpt_pipeline.errors import ConfigError

HYDRA = ".hydra"
"""Folder of the config in a run folder."""
RUN_DIR = "hydra.run.dir"
"""The key of the run folder, the only key of Hydra that is documented."""
_INTERPOLATION = re.compile(r"\$\{[^{}$]*\}")
CONF = Path(str(resources.files("gpt_pipeline"))) / "conf"
_QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""", re.DOTALL)
# What Hydra's parser and OmegaConf raise for overrides that they cannot read; the last two for
# numbers of thousands of digits and brackets of thousands of levels.
_REFUSALS = (HydraException, OmegaConfBaseException, ValueError, RecursionError)
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Composed:
    """A config and the overrides that it was composed with.

    Attributes:
        config: the checked config.
        chosen: the option of each group.
        overridden: dotted keys and groups that were overridden, hydra.run.dir included.
        overrides: the overrides as given.
        run_dir: hydra.run.dir, resolved.
        hydra: Hydra's part of the config, for the run folder.
    """

    config: Config
    chosen: dict[str, str]
    overridden: frozenset[str]
    overrides: tuple[str, ...]
    run_dir: Path
    hydra: DictConfig

    def overrides_group(self, group: str) -> bool:
        """Whether the group or one of its keys was overridden."""
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


def compose(overrides: Sequence[str]) -> Composed:
    """Compose conf/ with overrides such as `model.embed_dim=64`, and check the result.

    Raises:
        ConfigError: with a line for each problem.
    """
    if isinstance(overrides, str):
        raise ConfigError([f"overrides must be a list of texts; got {shown(overrides)} alone"])
    sorted_out = _sort(overrides)
    try:
        whole = _hydra(sorted_out.good)
        hydra = OmegaConf.masked_copy(whole, "hydra")
        run_dir = whole.hydra.run.dir
        chosen = {k: v for k, v in whole.hydra.runtime.choices.items() if "/" not in str(k)}
        values = _without_unchosen(_plain(whole), sorted_out.names)
    except _REFUSALS as error:
        blamed = [line for override in sorted_out.good for line in _refusal(override)]
        raise ConfigError([*sorted_out.problems, *(blamed or [_reason(error)])]) from None
    problems = sorted_out.problems
    if {"dataset.train_ratio", "dataset.num_val_stories"} <= {*sorted_out.names}:
        problems.append(
            "dataset.train_ratio and dataset.num_val_stories both choose the validation stories; "
            "leave one out"
        )
    try:
        run_dir = expanded_path("" if run_dir is None else str(run_dir), RUN_DIR)
    except ConfigError as error:
        problems += error.problems
    try:
        config = expand_paths(Config.parse(values))
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Composed(
        config=config,
        chosen=chosen,
        overridden=frozenset(sorted_out.names),
        overrides=tuple(overrides),
        run_dir=Path(run_dir),
        hydra=hydra,
    )


def _hydra(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base=None):
        return hydra_compose("config", overrides=list(overrides), return_hydra_config=True)


def option_values(option: str) -> dict[str, Any]:
    """The values that an option's own file sets, of `GROUP=OPTION`: those of its keys alone."""
    group, _, name = option.partition("=")
    values: dict[str, Any] = yaml.safe_load((CONF / group / f"{name}.yaml").read_bytes())
    return {group: values}


def _plain(whole: DictConfig) -> Any:
    """The composed config without Hydra's part, interpolations resolved."""
    ours = [str(key) for key in whole if key not in ("hydra", "experiment")]
    return OmegaConf.to_container(OmegaConf.masked_copy(whole, ours), resolve=True)


def _without_unchosen(values: Any, named: Sequence[str]) -> Any:
    """Drop keys that the chosen option lacks, unless they were overridden by name.

    The file of a model may set keys of the optimizer that it chooses; another optimizer lacks them.
    """
    for group, info in Config.model_fields.items():
        classes, given = tagged(info), values.get(group)
        if not classes or not isinstance(given, dict):
            continue
        chosen = classes.get(str(given.get(str(info.discriminator))))
        if chosen is None:
            continue
        every = {name for section in classes.values() for name in section.model_fields}
        for name in every - chosen.model_fields.keys():
            if f"{group}.{name}" not in named:
                given.pop(name, None)
    return values


def _refusal(override: str) -> list[str]:
    """The line for an override that cannot be composed even alone; empty for a valid one."""
    try:
        whole = _hydra([override])
        str(whole.hydra.run.dir)
        _plain(whole)
    except _REFUSALS as error:
        name, _, value = override.partition("=")
        name = name.removeprefix("++")
        return [f"{one_line(name)} cannot take {shown(value)}: {_reason(error)}"]
    return []


def _reason(error: BaseException) -> str:
    """The first line of an error of Hydra, which may quote its input."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return one_line(lines[0] if lines else type(error).__name__, _LONGEST_REASON)


def write_run_files(composed: Composed, config: Config, run_dir: Path) -> None:
    """Write `.hydra/` into a run folder as Hydra does: config, overrides and hydra.yaml."""
    folder = run_dir / HYDRA
    folder.mkdir(parents=True, exist_ok=True)
    plain = yaml.safe_dump(config.model_dump(), sort_keys=False)
    with replacing(folder / "config.yaml") as file:  # identifies the run, so it must be whole
        file.write(plain.encode("utf-8"))
    given = yaml.safe_dump(list(composed.overrides), allow_unicode=True)
    (folder / "overrides.yaml").write_text(given, encoding="utf-8")
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


def _sort(overrides: Sequence[str]) -> _Sorted:
    """The overrides to pass to Hydra, and a line for each of the others."""
    known = {key.name: key for key in keys(Config)}
    options = groups()
    result = _Sorted()
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            result.problems.append(f"'{one_line(override)}' must have the form key=value")
        elif name in options:
            if value in options[name]:
                result.good.append(override)
                result.names.append(name)
            else:
                hint = nearest(value, options[name])
                allowed = ", ".join(options[name])
                result.problems.append(f"{name} must be one of {allowed}; got {shown(value)}{hint}")
        elif name in known:
            taken = f"{name}={_quoted(value)}" if _is_text(known[name]) else override
            if problem := _unreadable(taken, known[name].allowed):
                result.problems.append(problem)
            else:  # ++ adds a key that the chosen option lacks, for the schema to refuse it
                result.good.append(f"++{taken}" if known[name].options else taken)
                result.names.append(name)
        elif name == RUN_DIR:
            result.good.append(f"{name}={_quoted(value, keep=_INTERPOLATION)}")
            result.names.append(name)
        elif name.startswith("hydra."):
            result.good.append(override)
        else:
            hint = nearest(name, [*known, *options])
            result.problems.append(f"{shown(name)} is not a key of the config{hint}")
    return result


def _unreadable(override: str, allowed: str) -> str | None:
    """The line for an override that Hydra cannot parse, or that means several runs."""
    name, _, value = override.partition("=")
    try:
        parsed = OverridesParser.create().parse_override(override)
    except _REFUSALS as error:
        return f"{name} must be {allowed}; got {shown(value)} ({_reason(error)})"
    if parsed.is_sweep_override():
        return f"{name} must have one value; got {shown(value)}; run the command once for each"
    return None


def _is_text(key: Key) -> bool:
    return key.allowed.startswith("text")


def _quoted(value: str, keep: re.Pattern[str] | None = None) -> str:
    """Quote text for Hydra, so that a prompt may contain commas, brackets and `${...}`.

    Quoted text is Hydra's syntax and stays as it is; so do interpolations that match `keep`.
    """
    if value == "null" or _QUOTED.fullmatch(value):
        return value
    kept = {match.start() for match in keep.finditer(value)} if keep else set()

    def escaped_dollar(match: re.Match[str]) -> str:
        return match[0] if match.end() - 2 in kept else match[1] * 2 + r"\${"

    escaped = re.sub(r"(\\*)\$\{", escaped_dollar, value)
    escaped = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", escaped)
    escaped = re.sub(r"(\\+)$", lambda m: m[1] * 2, escaped)
    return f"'{escaped}'"
