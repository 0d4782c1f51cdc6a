"""Checkpoints on disk: a folder with all that inference and a resumed run need.

store.py writes and prunes the checkpoints of a run, writer.py does so in a thread, find.py finds
them, checkpoint.py opens and verifies one; manifest.py lists its files, upgrade.py reads older
formats, lock.py allows one writing process, release.py makes checkpoints to publish. The format is
documented in docs/formats.md.
"""

from gpt_pipeline.checkpoint.checkpoint import Checkpoint, load_weights, open_checkpoint
from gpt_pipeline.checkpoint.find import best_of, checkpoint_folders, newest
from gpt_pipeline.checkpoint.manifest import Manifest
from gpt_pipeline.checkpoint.release import release, released_weights
from gpt_pipeline.checkpoint.store import CheckpointStore, TrainingPart
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION
from gpt_pipeline.checkpoint.writer import AsyncCheckpointWriter

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "CheckpointStore",
    "AsyncCheckpointWriter",
    "Manifest",
    "TrainingPart",
    "best_of",
    "checkpoint_folders",
    "load_weights",
    "newest",
    "open_checkpoint",
    "release",
    "released_weights",
]
