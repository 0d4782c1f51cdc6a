"""A bundle made to be given away: weights in half precision, and no training state."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gpt_pipeline.checkpoint.bundle import CONFIG, RELEASED, TOKENIZER, WEIGHTS, Bundle
from gpt_pipeline.checkpoint.manifest import record
from gpt_pipeline.checkpoint.store import UNFINISHED, put, save_tensors
from gpt_pipeline.checkpoint.versions import FORMAT_VERSION
from gpt_pipeline.errors import CheckpointError


def released_weights(bundle: Bundle) -> dict[str, Tensor]:
    """The weights of a bundle as a released one has them: rounded to float16, a quarter of a
    thousandth apart at 1.
    """
    return {name: tensor.to(torch.float16) for name, tensor in bundle.weights().items()}


def release(bundle: Bundle, folder: Path, validation: Mapping[str, float] | None = None) -> Bundle:
    """Write a bundle for inference alone, an eighth of the size of one that a run goes on from.

    Args:
        bundle: the one to give away; of the present format version.
        folder: where; what is there is replaced.
        validation: figures of `released_weights` over every validation token.

    Raises:
        CheckpointError: a weight is too large for float16, or the folder cannot be written.
    """
    if bundle.manifest.format_version != FORMAT_VERSION:
        raise CheckpointError(
            f"{bundle.path} must be of format version {FORMAT_VERSION} to be released; got "
            f"{bundle.manifest.format_version}; resume its run and save it anew"
        )
    temporary = folder.with_name(UNFINISHED + folder.name)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_tensors(released_weights(bundle), temporary / WEIGHTS)
        for name in (CONFIG, TOKENIZER):
            shutil.copyfile(bundle.path / name, temporary / name)
        manifest = replace(
            bundle.manifest,
            validation=validation,
            files={name: record(temporary / name) for name in RELEASED},
        )
        manifest.write(temporary)
        put(temporary, folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Bundle(folder, manifest)
