"""A checkpoint made to be given away: weights in half precision, and no training state."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gpt_pipeline.checkpoint.checkpoint import CONFIG, RELEASED, TOKENIZER, WEIGHTS, Checkpoint
from gpt_pipeline.checkpoint.manifest import record
from gpt_pipeline.checkpoint.store import UNFINISHED, put, save_tensors
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION
from gpt_pipeline.errors import CheckpointError


def released_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights of a checkpoint as a released one has them: rounded to float16, a quarter of a
    thousandth apart at 1.
    """
    return {name: tensor.to(torch.float16) for name, tensor in checkpoint.weights().items()}


def release(
    checkpoint: Checkpoint, folder: Path, validation: Mapping[str, float] | None = None
) -> Checkpoint:
    """Write a checkpoint for inference alone, an eighth of the size of one that a run goes on from.

    Args:
        checkpoint: the one to give away; of the present format version.
        folder: where; what is there is replaced.
        validation: figures of `released_weights` over every validation token.

    Raises:
        CheckpointError: a weight is too large for float16, or the folder cannot be written.
    """
    if checkpoint.manifest.format_version != FORMAT_VERSION:
        raise CheckpointError(
            f"{checkpoint.path} must be of format version {FORMAT_VERSION} to be released; got "
            f"{checkpoint.manifest.format_version}; resume its run and save it anew"
        )
    temporary = folder.with_name(UNFINISHED + folder.name)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_tensors(released_weights(checkpoint), temporary / WEIGHTS)
        for name in (CONFIG, TOKENIZER):
            shutil.copyfile(checkpoint.path / name, temporary / name)
        manifest = replace(
            checkpoint.manifest,
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
