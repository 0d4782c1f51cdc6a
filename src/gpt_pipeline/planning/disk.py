"""The disk space that a run takes (token files, checkpoints, run folder), and what is free."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt_pipeline.config import Config
from gpt_pipeline.planning.memory_model import MemoryBaseline

_BESIDE_TENSORS_BYTES = 4_000_000
"""Other files of a checkpoint; the largest is GPT-2's tokenizer.json."""
_LINE_BYTES, _PLOT_BYTES, _TOKEN_BYTES = 300, 300_000, 6
"""A line of metrics.jsonl, plots and log together, and a token of a sample."""


@dataclass(frozen=True)
class DiskUse:
    """Files that a run writes; `bytes` is None if the size cannot be known yet."""

    name: str
    path: Path
    bytes: int | None
    free_bytes: int
    detail: str

    @property
    def device(self) -> int:
        """The device number of its file system."""
        return _existing(self.path).stat().st_dev


def disk_uses(
    config: Config, baseline: MemoryBaseline, *, run_dir: Path, token_folder: Path,
    token_files: int | None, num_steps: int | None,
) -> list[DiskUse]:  # fmt: skip
    """The files that a run writes.

    Args:
        config: the run's.
        baseline: the sizes of weights and optimizer.
        run_dir: the run folder.
        token_folder: folder of the token files.
        token_files: bytes of the prepared token files, which need no more space; None if they are
            not prepared.
        num_steps: steps of the run; None if unknown.
    """
    m = config.model
    checkpoint_bytes = baseline.weights_bytes + baseline.optimizer_bytes + _BESIDE_TENSORS_BYTES
    kept = config.checkpoint.keep_last + 2  # the best one and the one being written
    detail = f"{kept} of {checkpoint_bytes / 1e6:,.1f} MB"
    run = None
    if num_steps is not None:
        samples = num_steps // m.eval_freq * config.logging.sample_tokens * _TOKEN_BYTES
        run = num_steps // config.logging.log_every * _LINE_BYTES + samples + _PLOT_BYTES
    ready = "not prepared yet"
    if token_files is not None:
        ready = f"prepared: {token_files / 1e6:,.1f} MB"
    return [
        _use("token files", token_folder, None if token_files is None else 0, ready),
        _use("checkpoints", Path(m.checkpoint_path), kept * checkpoint_bytes, detail),
        _use("run folder", run_dir, run, ""),
    ]


def too_large(uses: Sequence[DiskUse]) -> list[DiskUse]:
    """Those on file systems with too little free space for everything that goes there."""
    wanted: dict[int, int] = {}
    for use in uses:
        wanted[use.device] = wanted.get(use.device, 0) + (use.bytes or 0)
    return [use for use in uses if use.bytes and wanted[use.device] > use.free_bytes]


def _use(name: str, path: Path, size: int | None, detail: str) -> DiskUse:
    return DiskUse(name, path, size, shutil.disk_usage(_existing(path)).free, detail)


def _existing(path: Path) -> Path:
    """The path, or the nearest existing folder above it."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())
