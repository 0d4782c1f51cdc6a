"""`gpt-pipeline verify PATH...`: every bundle and token file under the paths, hash by hash."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt_pipeline.checkpoint import open_bundle
from gpt_pipeline.checkpoint.manifest import MANIFEST
from gpt_pipeline.cli.compose import compose
from gpt_pipeline.cli.console import log_to_stderr
from gpt_pipeline.cli.main import EXIT_USER_ERROR
from gpt_pipeline.dataset import verify_token_file
from gpt_pipeline.errors import UserError


def command(words: Sequence[str]) -> int:
    """Verify the paths among the words, or all that the config points to; the exit code."""
    log_to_stderr()
    composed = compose([word for word in words if "=" in word])
    paths = [Path(word) for word in words if "=" not in word]
    if not paths:
        config = composed.config
        ours = (Path(config.model.checkpoint_path), Path(config.dataset.data_dir))
        paths = [path for path in ours if path.exists()]
    found = [item for path in paths for item in _items(path)]
    if not found:
        where = ", ".join(map(str, paths)) or "the folders of the config"
        raise UserError(f"no bundle and no token file in {where}; give the path of one")
    return EXIT_USER_ERROR if [item for item in found if not _good(item)] else 0


def _items(path: Path) -> Iterator[Path]:
    """Bundles and token files at or below a path."""
    if not path.exists():
        raise UserError(f"{path} does not exist; give bundles, token files or folders of them")
    if path.is_file() or (path / MANIFEST).exists() or "-step-" in path.name:
        yield path
        return
    for below in sorted(path.iterdir()):
        if below.is_dir() and not below.name.startswith("."):
            yield from _items(below)
        elif below.suffix == ".bin":
            yield below


def _good(item: Path) -> bool:
    try:
        if item.is_dir():
            step = open_bundle(item).manifest.step
            print(f"ok       {item} (bundle, step {step})")
        else:
            tokens = verify_token_file(item).tokens
            print(f"ok       {item} ({tokens:,} tokens)")
    except UserError as error:
        print(f"damaged  {item}", flush=True)
        print(f"error: {error}", file=sys.stderr)
        return False
    return True
