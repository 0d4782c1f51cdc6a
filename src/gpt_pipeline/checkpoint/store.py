"""The folder of bundles: save whole or not at all, find the newest and the best, prune.

A save writes a temporary folder on the same file system, syncs files and folder, and renames it
once. So a folder with a bundle's name is whole, unless the disk or a person damaged it later.
"""

import json
import logging
import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gpt_pipeline import __version__
from gpt_pipeline.checkpoint.bundle import (
    CONFIG,
    FILES,
    OPTIMIZER,
    STATE,
    TOKENIZER,
    WEIGHTS,
    Bundle,
    open_bundle,
)
from gpt_pipeline.checkpoint.manifest import FORMAT_VERSION, Manifest, record
from gpt_pipeline.config import Config
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.tokenizer import Tokenizer

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<name>[A-Za-z0-9._-]+)-step-(?P<step>\d{8})")
_TEMPORARY = ".unfinished-"
_ASIDE = ".damaged"


@dataclass(frozen=True)
class TrainingPart:
    """What the trainer adds to a bundle at one step."""

    step: int
    tokens_seen: int
    val_loss: float | None
    validation: Mapping[str, float] | None
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class BundleStore:
    """The bundles of one run: where they go, and what is the same in each of them."""

    root: Path
    name: str
    config: Config
    tokenizer: Tokenizer
    data_fingerprint: str

    def save(self, weights: Mapping[str, Tensor], part: TrainingPart) -> Bundle:
        """Write one bundle; what was there before stays until the new one is whole.

        Raises:
            CheckpointError: the disk is full or the folder cannot be written; nothing was lost.
        """
        final = self.root / f"{self.name}-step-{part.step:08d}"
        temporary = self.root / f"{_TEMPORARY}{final.name}-{os.getpid()}"
        try:
            (temporary / "training").mkdir(parents=True)
            save_file(_plain(weights), temporary / WEIGHTS)
            save_file(_plain(part.tensors), temporary / OPTIMIZER)
            _write(temporary / STATE, json.dumps(part.state, indent=2))
            _write(temporary / CONFIG, yaml.safe_dump(self.config.model_dump(), sort_keys=False))
            self.tokenizer.save(temporary / TOKENIZER)
            manifest = self._manifest(part, temporary)
            manifest.write(temporary)
            for path in sorted(temporary.rglob("*")):
                _sync(path)
            _sync(temporary)
            _replace(temporary, final)
            _sync(self.root)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"cannot save {final}: {error}; earlier bundles are untouched; "
                "free some space or set model.checkpoint_path to another folder"
            ) from error
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Bundle(final, manifest)

    def prune(self) -> None:
        """Keep the newest `checkpoint.keep_last` bundles of this run and the best one."""
        bundles = [(path, _val_loss(path)) for path in _folders(self.root, self.name)]
        losses = [loss for _, loss in bundles if loss is not None]
        for path, loss in bundles[: -self.config.checkpoint.keep_last]:
            if not losses or loss != min(losses):
                shutil.rmtree(path)

    def newest_good(self) -> Bundle | None:
        """The newest whole bundle of this run; damaged newer ones are set aside and named."""
        for path in self.root.glob(f"{_TEMPORARY}{self.name}-step-*"):
            shutil.rmtree(path, ignore_errors=True)  # a killed process left it behind
        for path in reversed(_folders(self.root, self.name)):
            try:
                return open_bundle(path)
            except CheckpointError as error:
                aside = _free(path.with_name(path.name + _ASIDE))
                path.rename(aside)
                log.warning("%s; set aside as %s", error, aside)
        return None

    def set_aside(self) -> Path | None:
        """Move the bundles of an earlier run of this name away; None when there are none."""
        bundles = _folders(self.root, self.name)
        if not bundles:
            return None
        aside = _free(self.root / f"{self.name}-before-{datetime.now():%Y-%m-%d_%H-%M-%S}")
        aside.mkdir()
        for path in bundles:
            path.rename(aside / path.name)
        return aside

    def _manifest(self, part: TrainingPart, folder: Path) -> Manifest:
        return Manifest(
            format_version=FORMAT_VERSION,
            name=self.name,
            step=part.step,
            tokens_seen=part.tokens_seen,
            val_loss=part.val_loss,
            validation=part.validation,
            data_fingerprint=self.data_fingerprint,
            saved_at=datetime.now(timezone.utc).isoformat(),
            versions={
                "gpt_pipeline": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            files={name: record(folder / name) for name in FILES},
        )


def newest(root: Path, name: str | None) -> Bundle:
    """The bundle that was saved last, of one run or (name None) of any; damaged ones are skipped.

    Raises:
        CheckpointError: there is no whole bundle.
    """
    paths = sorted(_folders(root, name), key=lambda path: (_saved_at(path), path.name))
    for path in reversed(paths):
        try:
            return open_bundle(path, training=False)
        except CheckpointError as error:
            log.warning("%s; trying the one before", error)
    what = f"of {name} " if name else ""
    raise CheckpointError(
        f"no checkpoint {what}in {root}; train one with `make train`, or name its folder with "
        "checkpoint.load=FOLDER"
    )


def best_of(root: Path, name: str) -> Bundle:
    """The bundle of a run with the lowest validation loss.

    Raises:
        CheckpointError: no bundle of the run has a validation loss, or the best is damaged.
    """
    scored = [
        (loss, path) for path in _folders(root, name) if (loss := _val_loss(path)) is not None
    ]
    if not scored:
        raise CheckpointError(
            f"no checkpoint of {name} in {root} has a validation loss; use checkpoint.load=last"
        )
    return open_bundle(min(scored)[1], training=False)


def _folders(root: Path, name: str | None) -> list[Path]:
    """Bundle folders by rising step."""
    matches = [(_NAME.fullmatch(path.name), path) for path in root.glob("*-step-*")]
    found = [(int(m["step"]), path) for m, path in matches if m and name in (None, m["name"])]
    return [path for _, path in sorted(found)]


def _val_loss(path: Path) -> float | None:
    try:
        return Manifest.read(path).val_loss
    except CheckpointError:
        return None


def _saved_at(path: Path) -> str:
    try:
        return Manifest.read(path).saved_at
    except CheckpointError:  # damaged: sorts by the folder's own time, so that it is named
        return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).isoformat()


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _replace(source: Path, target: Path) -> None:
    """Rename a folder over another; folders need the old one out of the way first."""
    if target.exists():
        old = _free(target.with_name(f"{_TEMPORARY}{target.name}-old"))
        target.rename(old)
        source.rename(target)
        shutil.rmtree(old)
    else:
        source.rename(target)


def _free(path: Path) -> Path:
    """The path itself, or with a number behind it where it is taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
