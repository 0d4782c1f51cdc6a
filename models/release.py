"""Makes the model that ships: a run's newest checkpoint in half precision, with figures measured
again.

    .venv/bin/python models/release.py FOLDER [KEY=VALUE ...]

The arguments select the checkpoint and its validation text (dataset.val_path=FILE; a released
checkpoint does not say in which folder it lies). Prints the figures that the card
(models/README.md) quotes; a test compares the two.
"""

import sys
from pathlib import Path

from gpt_pipeline.checkpoint import open_checkpoint, release
from gpt_pipeline.cli.checkpoint import choose_checkpoint
from gpt_pipeline.cli.console import log_to_stderr
from gpt_pipeline.cli.evaluate import describe, validation_figures
from gpt_pipeline.config.compose import compose
from gpt_pipeline.runtime.device import set_up_torch


def main(folder: Path, words: list[str]) -> None:
    """Release, evaluate what was released, and write its figures into it."""
    log_to_stderr()
    composed = compose(words)
    device = set_up_torch(composed.config.runtime)
    checkpoint = choose_checkpoint(composed)
    release(checkpoint, folder)
    figures = validation_figures(open_checkpoint(folder, training=False), composed, device)
    found = release(checkpoint, folder, figures)
    print(describe(figures))
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    manifest = found.manifest
    print(f"{folder}: step {manifest.step}, {manifest.tokens_seen:,} tokens, {size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
