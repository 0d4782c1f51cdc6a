"""Makes the model that ships: a run's newest bundle in half precision, with figures measured anew.

    .venv/bin/python models/release.py FOLDER [KEY=VALUE ...]

The words are those of the run, so that its bundle and its validation text are found. Prints the
figures that the card (models/README.md) quotes; a test compares the two.
"""

import sys
from pathlib import Path

from gpt_pipeline.checkpoint import open_bundle, release
from gpt_pipeline.cli.bundle import choose_bundle
from gpt_pipeline.cli.compose import compose
from gpt_pipeline.cli.console import log_to_stderr
from gpt_pipeline.cli.evaluate import describe, validation_figures
from gpt_pipeline.cli.machine import set_up_torch


def main(folder: Path, words: list[str]) -> None:
    """Release, evaluate what was released, and write its figures into it."""
    log_to_stderr()
    composed = compose(words)
    device = set_up_torch(composed.config.runtime)
    bundle = choose_bundle(composed)
    release(bundle, folder)
    figures = validation_figures(open_bundle(folder, training=False), composed, device)
    found = release(bundle, folder, figures)
    print(describe(figures))
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    manifest = found.manifest
    print(f"{folder}: step {manifest.step}, {manifest.tokens_seen:,} tokens, {size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
