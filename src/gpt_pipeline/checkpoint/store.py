"""The checkpoints of one run: atomic saves, the newest good one, pruning.

A save writes a temporary folder on the same file system, syncs files and folder, and renames it
once. So a folder with a checkpoint's name is complete unless it was damaged later.
"""

import json
import logging
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gpt_pipeline import __version__
from gpt_pipeline.checkpoint.checkpoint import (
    CONFIG,
    FILES,
    GENERATION,
    OPTIMIZER,
    STATE,
    TOKENIZER,
    WEIGHTS,
    Checkpoint,
    open_checkpoint,
    stray_names,
)
from gpt_pipeline.checkpoint.find import checkpoint_folders, with_losses
from gpt_pipeline.checkpoint.lock import run_lock
from gpt_pipeline.checkpoint.manifest import Manifest, record, with_eot
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION
from gpt_pipeline.config import Config, GenerationConfig, TrainedConfig
from gpt_pipeline.durable import free_name, sync
from gpt_pipeline.errors import CheckpointError, DamagedError, UserError
from gpt_pipeline.tokenizer import Tokenizer

log = logging.getLogger(__name__)

UNFINISHED = ".unfinished-"
"""Prefix of a checkpoint that is being written or removed."""
REPLACED = ".replaced-"
"""Prefix of a checkpoint that is being replaced, between two renames."""
ASIDE = ".damaged"
"""Suffix of a damaged checkpoint."""
_LEFT_BY_PROGRAMS = re.compile(r"\.|(desktop\.ini|Thumbs\.db|__pycache__)$", re.IGNORECASE)
EARLIER = "-before-"
"""Separates name and date in the name of a folder with checkpoints of an earlier run."""


@dataclass(frozen=True)
class TrainingPart:
    """The trainer's part of a checkpoint at one step."""

    step: int
    tokens_seen: int
    val_loss: float | None
    validation: Mapping[str, float] | None
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run: their folder, and what all of them have in common."""

    root: Path
    name: str
    config: Config
    tokenizer: Tokenizer
    data_fingerprint: str
    val_data_fingerprint: str | None = None
    train_documents: int | None = None

    @property
    def trained_with_eot(self) -> bool:
        """That of the checkpoints it writes; see `Checkpoint.trained_with_eot`."""
        return with_eot(self.train_documents)

    def lock(self) -> AbstractContextManager[None]:
        """Prevent other processes from writing checkpoints of this name; see `run_lock`."""
        return run_lock(self.root, self.name)

    def save(self, weights: Mapping[str, Tensor], part: TrainingPart) -> Checkpoint:
        """Write one checkpoint; an existing one stays until the new one is complete.

        Args:
            weights: the model's state dict.
            part: the training state.

        Raises:
            CheckpointError: the disk is full, the folder cannot be written, or a tensor has a
                non-finite value; earlier checkpoints are unchanged.
        """
        final = self.root / f"{self.name}-step-{part.step:08d}"
        temporary = self.root / f"{UNFINISHED}{final.name}-{os.getpid()}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)  # left by an earlier attempt
            (temporary / "training").mkdir(parents=True)
            save_tensors(weights, temporary / WEIGHTS)
            save_tensors(part.tensors, temporary / OPTIMIZER)
            _write(temporary / STATE, json.dumps(_with_version(part.state), indent=2))
            write_config(self.config.trained(), self.config.generation(), temporary)
            self.tokenizer.save(temporary / TOKENIZER)
            manifest = self._manifest(part, temporary)
            manifest.write(temporary)
            put(temporary, final)
        except (MemoryError, OSError, SafetensorError, UserError, ValueError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"cannot save {final}: {error}; earlier checkpoints are untouched"
            ) from error
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Checkpoint(final, manifest)

    def prune(self) -> None:
        """Keep the newest `checkpoint.keep_last` checkpoints of this run and the best one."""
        checkpoints = checkpoint_folders(self.root, self.name)
        scored = with_losses(checkpoints)
        best = [path for loss, path in scored if loss == min(scored)[0]]
        for path in checkpoints[: -self.config.checkpoint.keep_last]:
            if path in best:
                continue
            try:
                if why := _reason_to_keep(path):
                    _say_once("keeping the old checkpoint %s, as %s", path, why)
                else:
                    _remove(path)
            except OSError as error:
                log.warning("cannot remove the old checkpoint %s: %s", path, error)

    def newest_good(self) -> Checkpoint | None:
        """The newest good checkpoint of this run; damaged newer ones are set aside with a warning.

        Raises:
            CheckpointError: a checkpoint is of a newer version or cannot be read at the moment.
                That is no damage, so an older one must not replace it.
        """
        self._tidy()
        for path in reversed(checkpoint_folders(self.root, self.name)):
            try:
                return open_checkpoint(path)
            except DamagedError as error:
                aside = free_name(path.with_name(path.name + ASIDE))
                with self._told(f"move {path} aside"):
                    path.rename(aside)
                log.warning("%s; set aside as %s", error, aside)
        return None

    def set_aside(self) -> Path | None:
        """Move the checkpoints of an earlier run of this name aside; None if there are none."""
        self._tidy()
        checkpoints = checkpoint_folders(self.root, self.name)
        if not checkpoints:
            return None
        aside = free_name(self.root / f"{self.name}{EARLIER}{datetime.now():%Y-%m-%d_%H-%M-%S}")
        with self._told(f"move {self.name} aside"):
            aside.mkdir()
            for path in checkpoints:
                path.rename(aside / path.name)
        return aside

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(f"cannot {what}: {error.strerror or error}") from error

    def _tidy(self) -> None:
        """Finish or undo what a killed process left; the lock excludes a running one."""
        for path in self.root.glob(f"{REPLACED}{self.name}-step-*"):
            place = path.with_name(path.name.removeprefix(REPLACED))
            if not place.exists():  # killed between the two renames of `put`
                with self._told(f"put {place} back"):
                    path.rename(place)
        for mark in (REPLACED, UNFINISHED):
            for path in self.root.glob(f"{mark}{self.name}-step-*"):
                _discard(path)

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
            val_data_fingerprint=self.val_data_fingerprint,
            train_documents=self.train_documents,
        )


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file.

    Raises:
        CheckpointError: a value is not finite.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in plain.items():
        if not np.isfinite(
            tensor.float().numpy()
        ).all():  # numpy: torch would wake a second thread team
            raise CheckpointError(f"{name} has a value that is not finite")
    with path.open("xb") as file:  # has the mode that the umask gives; safetensors makes 0600
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    # one key only: safetensors writes several in random order, and equal runs give equal files
    save_file(plain, path, metadata={"format_version": str(FORMAT_VERSION)})
    with suppress(OSError):  # some file systems have no modes
        path.chmod(mode)


def write_config(config: TrainedConfig, generation: GenerationConfig, folder: Path) -> None:
    """Write config.yaml and generation.json of a checkpoint."""
    text = yaml.safe_dump(_with_version(config.model_dump()), sort_keys=False)
    _write(folder / CONFIG, text)
    _write(folder / GENERATION, json.dumps(_with_version(generation.model_dump()), indent=2))


def _with_version(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, **values}


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def put(source: Path, target: Path) -> None:
    """Sync a folder and rename it to its final name.

    `CheckpointStore._tidy` repairs a crash between the renames.
    """
    for path in (*sorted(source.rglob("*")), source):
        sync(path)
    old = target.with_name(REPLACED + target.name)
    if target.exists():  # folders cannot be renamed over each other
        _discard(old)
        target.rename(old)
    source.rename(target)
    sync(target.parent)
    _discard(old)


def _reason_to_keep(path: Path) -> str | None:
    """Why an old checkpoint is not pruned: a user added a file, or replaced it by a link."""
    if path.is_symlink():
        return "it is a link"
    try:
        names = stray_names(path, Manifest.read(path))
    except CheckpointError:
        return None
    # files that programs leave are hidden or known
    kept = [name for name in names if not _LEFT_BY_PROGRAMS.match(PurePosixPath(name).name)]
    return f"{kept[0]} is in it" if kept else None


@cache
def _say_once(message: str, *values: object) -> None:
    log.warning(message, *values)


def _discard(path: Path) -> None:
    """Remove a folder, or only a link to it."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a checkpoint; if killed half-way, the rest does not have a checkpoint's name."""
    gone = free_name(path.with_name(UNFINISHED + path.name))
    path.rename(gone)
    shutil.rmtree(gone)
