"""Checkpoints to publish: weights in half precision, and no training state."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gpt_pipeline.checkpoint.checkpoint import RELEASED, TOKENIZER, WEIGHTS, Checkpoint
from gpt_pipeline.checkpoint.manifest import record
from gpt_pipeline.checkpoint.store import UNFINISHED, put, save_tensors, write_config
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION
from gpt_pipeline.config import portable_paths
from gpt_pipeline.errors import CheckpointError


def released_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights of a checkpoint rounded to float16, with a relative error of at most 2^-11."""
    return {name: tensor.to(torch.float16) for name, tensor in checkpoint.weights().items()}


def release(
    checkpoint: Checkpoint, folder: Path, validation: Mapping[str, float] | None = None
) -> Checkpoint:
    """Write a checkpoint for inference alone, an eighth of the size of one that a run resumes from.

    Its config names no path outside the working folder; see `portable_paths`. It has the present
    format version.

    Args:
        checkpoint: the checkpoint to publish.
        folder: the folder to write; an existing one is replaced.
        validation: metrics of `released_weights` over every validation token.

    Raises:
        CheckpointError: a weight is too large for float16, or the folder cannot be written.
    """
    temporary = folder.with_name(UNFINISHED + folder.name)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        if checkpoint.is_released:  # only its other files can change
            shutil.copyfile(checkpoint.path / WEIGHTS, temporary / WEIGHTS)
        else:
            save_tensors(released_weights(checkpoint), temporary / WEIGHTS)
        write_config(portable_paths(checkpoint.config()), checkpoint.generation(), temporary)
        shutil.copyfile(checkpoint.path / TOKENIZER, temporary / TOKENIZER)
        manifest = replace(
            checkpoint.manifest,
            format_version=FORMAT_VERSION,
            validation=validation,
            files={name: record(temporary / name) for name in RELEASED},
        )
        manifest.write(temporary)
        put(temporary, folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Checkpoint(folder, manifest)
