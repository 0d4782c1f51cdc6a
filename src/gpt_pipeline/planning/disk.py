"""The disk space that a run takes: token files, checkpoints, run folder; and what is free for
them.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt_pipeline.config import Config
from gpt_pipeline.planning.memory_model import MemoryBaseline

_BESIDE_TENSORS_BYTES = 4_000_000
"""What else is in a checkpoint: GPT-2's tokenizer.json is the largest part of it."""
_LINE_BYTES, _PLOT_BYTES, _TOKEN_BYTES = 300, 300_000, 6
"""A line of metrics.jsonl, the plots and the log, a token of a sample."""


@dataclass(frozen=True)
class Place:
    """Something that a run writes: `bytes` is None where that cannot be known yet."""

    name: str
    path: Path
    bytes: int | None
    free_bytes: int
    detail: str

    @property
    def device(self) -> int:
        """The file system that it is on."""
        return _existing(self.path).stat().st_dev


def disk_places(
    config: Config, baseline: MemoryBaseline, *, run_dir: Path, token_folder: Path,
    token_files: int | None, num_steps: int | None,
) -> list[Place]:  # fmt: skip
    """What a run writes, and where.

    Args:
        config: of the run.
        baseline: the sizes of weights and optimizer.
        run_dir: the run folder.
        token_folder: folder of the token files.
        token_files: bytes of those that are prepared, which take no more; None where none are.
        num_steps: of the run; None where that is not known.
    """
    m = config.model
    checkpoint_bytes = baseline.weights_bytes + baseline.optimizer_bytes + _BESIDE_TENSORS_BYTES
    kept = config.checkpoint.keep_last + 2  # the best, and the one that is being written
    detail = f"{kept} of {checkpoint_bytes / 1e6:,.1f} MB"
    run = None
    if num_steps is not None:
        samples = num_steps // m.eval_freq * config.logging.sample_tokens * _TOKEN_BYTES
        run = num_steps // config.logging.log_every * _LINE_BYTES + samples + _PLOT_BYTES
    ready = "not prepared yet"
    if token_files is not None:
        ready = f"prepared: {token_files / 1e6:,.1f} MB"
    return [
        _place("token files", token_folder, None if token_files is None else 0, ready),
        _place("checkpoints", Path(m.checkpoint_path), kept * checkpoint_bytes, detail),
        _place("run folder", run_dir, run, ""),
    ]


def lacking(places: Sequence[Place]) -> list[Place]:
    """The places on file systems that have too little room for all that goes there."""
    wanted: dict[int, int] = {}
    for place in places:
        wanted[place.device] = wanted.get(place.device, 0) + (place.bytes or 0)
    return [p for p in places if p.bytes and wanted[p.device] > p.free_bytes]


def _place(name: str, path: Path, size: int | None, detail: str) -> Place:
    return Place(name, path, size, shutil.disk_usage(_existing(path)).free, detail)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())
