"""Finds the checkpoints of a folder, the newest and the best."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from gpt_pipeline.checkpoint.checkpoint import NAME, Checkpoint, open_checkpoint
from gpt_pipeline.checkpoint.manifest import Manifest
from gpt_pipeline.errors import CheckpointError

log = logging.getLogger(__name__)


def newest(root: Path, name: str | None) -> Checkpoint:
    """The checkpoint with the highest step, of one run or (name None) of the run saved last.

    Damaged ones are skipped.

    Raises:
        CheckpointError: there is no whole checkpoint.
    """
    for path in _newest_first(root, name):
        try:
            return open_checkpoint(path, training=False)
        except CheckpointError as error:
            log.warning("%s; trying the one before", error)
    what = f"of {name} " if name else ""
    raise CheckpointError(
        f"no checkpoint {what}in {root}; train one with `make train`, or name its folder with "
        "checkpoint.load=FOLDER"
    )


def _newest_first(root: Path, name: str | None) -> list[Path]:
    """Runs by time; the checkpoints of one run by step, since a clock can be set back."""
    runs: dict[str, list[Path]] = defaultdict(list)
    for path in checkpoint_folders(root, name):
        runs[path.name.rpartition("-step-")[0]].append(path)
    saved_last = sorted(runs, key=lambda run: (max(map(_saved_at, runs[run])), run))
    return [path for run in saved_last for path in runs[run]][::-1]


def best_of(root: Path, name: str) -> Checkpoint:
    """The checkpoint of a run with the lowest loss on its current validation text.

    Raises:
        CheckpointError: no checkpoint of the run has a validation loss, or the best is damaged.
    """
    scored = with_losses(checkpoint_folders(root, name))
    if not scored:
        raise CheckpointError(
            f"no checkpoint of {name} in {root} has a validation loss; use checkpoint.load=last"
        )
    return open_checkpoint(min(scored)[1], training=False)


def with_losses(paths: Sequence[Path]) -> list[tuple[float, Path]]:
    """The checkpoints with a validation loss on the same validation text as the newest of them.

    Args:
        paths: of checkpoints, by rising step.
    """
    manifests = [(path, manifest) for path in paths if (manifest := _manifest(path)) is not None]
    scored = [(m.val_loss, path, m) for path, m in manifests if m.val_loss is not None]
    text = scored[-1][2].val_data_fingerprint if scored else None
    return [(loss, p) for loss, p, m in scored if not m.is_of_other_validation_text(text)]


def checkpoint_folders(root: Path, name: str | None) -> list[Path]:
    """Checkpoint folders of one run, or of all, by rising step."""
    matches = [(NAME.fullmatch(path.name), path) for path in root.glob("*-step-*")]
    found = [(int(m["step"]), path) for m, path in matches if m and name in (None, m["name"])]
    return [path for _, path in sorted(found) if path.is_dir()]


def _manifest(path: Path) -> Manifest | None:
    """The manifest of a checkpoint; None if it is damaged."""
    try:
        return Manifest.read(path)
    except CheckpointError:
        return None


def _saved_at(path: Path) -> str:
    if (manifest := _manifest(path)) is not None:
        return manifest.saved_at
    try:  # damaged: sorted by the folder's time, so that it is reported
        return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).isoformat()
    except OSError:  # a training run has just pruned it
        return ""
