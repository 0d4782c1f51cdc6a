"""`gpt-pipeline verify PATH...`: checks checkpoints, token files and run folders for damage."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gpt_pipeline.cli.commands import EXIT_USER_ERROR
from gpt_pipeline.cli.console import log_to_stderr, print_json
from gpt_pipeline.config import expanded_path
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.display import visible
from gpt_pipeline.errors import UserError
from gpt_pipeline.verification.inventory import Item, items
from gpt_pipeline.verification.verdict import EXPECTED, Status, Verdict, verify


def command(arguments: Sequence[str]) -> int:
    """Verify the given paths, or all folders that the config names; returns the exit code."""
    log_to_stderr()
    is_key = ["=" in word and not os.path.lexists(word) for word in arguments]
    composed = compose([word for word, key in zip(arguments, is_key, strict=True) if key])
    given = [word for word, key in zip(arguments, is_key, strict=True) if not key]
    paths = [Path(expanded_path(word, "the path")) for word in given]
    missing = [path for path in paths if not os.path.lexists(path)]
    there = [path for path in paths or _folders_of(composed) if path not in missing]
    totals: Counter[Status] = Counter()
    for item in items(there):
        verdict = verify(item)
        totals[verdict.status] += 1
        _show(item, verdict, as_json=composed.config.format == "json")
    if totals and composed.config.format == "text":
        print(_total(totals), flush=True)
    if missing:
        names = ", ".join(map(str, missing))
        raise UserError(f"{names} {'does' if len(missing) == 1 else 'do'} not exist; {EXPECTED}")
    if not totals:
        where = ", ".join(map(str, paths)) or "the folders of the config"
        raise UserError(f"no checkpoint, token file or run folder in {where}; {EXPECTED}")
    return EXIT_USER_ERROR if totals["damaged"] else 0


def _folders_of(composed: Composed) -> list[Path]:
    """The existing folders of checkpoints, data and runs that the config names."""
    config = composed.config
    ours = (Path(config.model.checkpoint_path), Path(config.dataset.data_dir))
    return [path for path in (*ours, composed.run_dir.parent) if path.exists()]


def _show(item: Item, verdict: Verdict, *, as_json: bool) -> None:
    """Print one line on standard output, and the reason on standard error."""
    error = verdict.error and " ".join(verdict.error.splitlines())
    if as_json:
        line = {"status": verdict.status, "path": str(item.path), "kind": item.kind}
        print_json(line | {"what": verdict.what, "error": error})
    elif error:
        print(f"damaged  {visible(str(item.path))}", flush=True)
    else:
        print(f"{verdict.status:8} {visible(str(item.path))} ({visible(verdict.what)})", flush=True)
    if error:
        print(f"error: {visible(error)}", file=sys.stderr)


def _total(totals: Counter[Status]) -> str:
    """The counts that are not zero, in one line."""
    labels = {"ok": "ok", "damaged": "not whole", "aside": "set aside", "leftover": "left over"}
    counts = [f"{number} {labels[status]}" for status, number in sorted(totals.items(), key=_order)]
    return f"total: {', '.join(counts)}"


def _order(entry: tuple[Status, int]) -> int:
    return ("ok", "damaged", "aside", "leftover").index(entry[0])
