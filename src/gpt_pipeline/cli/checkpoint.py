"""Which checkpoint inference and evaluate work with, and which of their keys it decides."""

from dataclasses import fields
from pathlib import Path

import gpt_pipeline
from gpt_pipeline.checkpoint import Checkpoint, best_of, checkpoint_folders, newest, open_checkpoint
from gpt_pipeline.cli.console import log
from gpt_pipeline.config import GenerationConfig, GPTConfig
from gpt_pipeline.config.compose import Composed
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.inference import check_logit_bias

_ADD_BOS = "sampling.add_bos_token"


def _shipped(name: str) -> Path:
    """The folder of a model that ships: inside the installed package, else in the repository."""
    package = Path(gpt_pipeline.__file__).parent
    installed = package / "shipped" / name  # where pyproject.toml puts models/ in the wheel
    return installed if installed.is_dir() else package.parents[1] / "models" / name


SHIPPED = _shipped("laptop-tinystories")
"""The model that ships with the project."""


def run_name(composed: Composed) -> str:
    """The name of a run's checkpoints: model.checkpoint_name, or `<model>-<dataset>`."""
    config = composed.config
    return config.model.checkpoint_name or f"{composed.chosen['model']}-{config.dataset.name}"


def choose_checkpoint(composed: Composed) -> Checkpoint:
    """The checkpoint that checkpoint.load selects; logs which one.

    `last` and `best` select from the run that the overrides name. If they name none, or there is no
    checkpoint of that name, it is the run that was saved last. Without any checkpoint, `last` is
    the model that ships with the project.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    load, root = composed.config.checkpoint.load, Path(composed.config.model.checkpoint_path)
    if load not in ("last", "best"):
        checkpoint = open_checkpoint(Path(load), training=False)
    elif load == "last" and composed.config.model.checkpoint_name is None and _is_bare(root):
        checkpoint = open_checkpoint(SHIPPED, training=False)
        log.info("no checkpoint in %s yet: this is the model that ships with the project", root)
    else:
        checkpoint = newest(root, _wanted_name(composed, root))
        if load == "best":
            checkpoint = best_of(root, checkpoint.manifest.name)
    log.info("checkpoint: %s", checkpoint.path)
    for key in _decided_by_checkpoint(composed):
        log.warning("%s is ignored here: the checkpoint decides it", key)
    return checkpoint


def _is_bare(root: Path) -> bool:
    return not checkpoint_folders(root, None) and SHIPPED.is_dir()


def sampling_config(composed: Composed, checkpoint: Checkpoint) -> GenerationConfig:
    """How to generate with a checkpoint: as it recommends, but for the keys of the command line.

    sampling.add_bos_token is true only if the model was trained with end-of-text too.

    Raises:
        UserError: sampling.logit_bias names a token that the model does not have.
    """
    kept, given = (each.model_dump() for each in (checkpoint.generation(), composed.config))
    for group, values in kept.items():
        whole = {"experiment", group} & composed.overridden  # model=NAME sets every key of it
        for name in values:
            if whole or f"{group}.{name}" in composed.overridden:
                values[name] = given[group][name]
    sampling, size = kept["sampling"], checkpoint.config().model.vocab_size or 0
    check_logit_bias(sampling["logit_bias"] or (), size, "sampling.logit_bias")
    if sampling["add_bos_token"] and not checkpoint.trained_with_eot:
        sampling["add_bos_token"] = False
        if _ADD_BOS in composed.overridden:
            log.warning("%s is ignored: the model was trained on one document, without "
                        "end-of-text before it", _ADD_BOS)  # fmt: skip
    return GenerationConfig.parse(kept)


def _wanted_name(composed: Composed, root: Path) -> str | None:
    if composed.config.model.checkpoint_name is not None:
        return composed.config.model.checkpoint_name
    if not composed.overridden & {"model", "dataset", "experiment"}:
        return None
    name = run_name(composed)
    try:
        newest(root, name)
    except CheckpointError:
        log.info("no checkpoint of %s; using the one that was saved last", name)
        return None
    return name


def _decided_by_checkpoint(composed: Composed) -> list[str]:
    decided = {f"model.{field.name}" for field in fields(GPTConfig)}
    return sorted(
        name
        for name in composed.overridden
        if name in decided or name.split(".")[0] in ("block", "tokenizer")
    )
