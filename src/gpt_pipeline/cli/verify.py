"""`gpt-pipeline verify PATH...`: checkpoints, token files and run folders, hash by hash."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.checkpoint.store import REPLACED
from gpt_pipeline.cli.commands import EXIT_USER_ERROR
from gpt_pipeline.cli.console import log_to_stderr, print_json
from gpt_pipeline.config import expanded_path
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.dataset import verify_token_file, verify_tokenizer_file
from gpt_pipeline.display import visible
from gpt_pipeline.errors import UserError
from gpt_pipeline.verification.inventory import Item, items
from gpt_pipeline.verification.run_check import check_run

Status = Literal["ok", "damaged", "aside", "leftover"]

_ALLOWED = "give checkpoints, token files, run folders, or folders of them"


@dataclass(frozen=True)
class Verdict:
    """What became of one item; `error` is the reason where it is damaged."""

    status: Status
    what: str
    error: str | None = None


def command(words: Sequence[str]) -> int:
    """Verify the paths among the words, or all that the config points to; the exit code."""
    log_to_stderr()
    is_key = ["=" in word and not os.path.lexists(word) for word in words]
    composed = compose([word for word, key in zip(words, is_key, strict=True) if key])
    given = [word for word, key in zip(words, is_key, strict=True) if not key]
    paths = [Path(expanded_path(word, "the path")) for word in given]
    missing = [path for path in paths if not os.path.lexists(path)]
    there = [path for path in paths or _folders_of(composed) if path not in missing]
    totals: Counter[Status] = Counter()
    for item in items(there):
        verdict = _verdict(item)
        totals[verdict.status] += 1
        _show(item, verdict, as_json=composed.config.format == "json")
    if totals and composed.config.format == "text":
        print(_total(totals), flush=True)
    if missing:
        names = ", ".join(map(str, missing))
        raise UserError(f"{names} {'does' if len(missing) == 1 else 'do'} not exist; {_ALLOWED}")
    if not totals:
        where = ", ".join(map(str, paths)) or "the folders of the config"
        raise UserError(f"no checkpoint and no token file or run folder in {where}; {_ALLOWED}")
    return EXIT_USER_ERROR if totals["damaged"] else 0


def _folders_of(composed: Composed) -> list[Path]:
    """Where the config puts checkpoints, data and runs; those that are there."""
    config = composed.config
    ours = (Path(config.model.checkpoint_path), Path(config.dataset.data_dir))
    return [path for path in (*ours, composed.run_dir.parent) if path.exists()]


def _verdict(item: Item) -> Verdict:
    """Verify one item; whatever is wrong with it is its verdict, so that the rest is looked at."""
    if item.kind == "aside":
        return Verdict("aside", "damaged checkpoint, set aside by a resumed run")
    if item.kind == "leftover":
        return Verdict("leftover", _leftover(item.path))
    try:
        what = _check(item)
    except UserError as error:
        return Verdict("damaged", item.kind, str(error))
    except OSError as error:
        return Verdict(
            "damaged", item.kind, f"{item.path} cannot be read: {error.strerror or error}"
        )
    inside = f"; holds {item.holds.name}" if item.holds and item.holds.is_file() else ""
    return Verdict("aside" if item.kind == "earlier" else "ok", what + inside)


def _leftover(path: Path) -> str:
    place = path.with_name(path.name.removeprefix(REPLACED))
    if path.name.startswith(REPLACED) and not place.exists():
        return f"a run was killed as it replaced {place.name}; its next `train` puts this back"
    return "of a command that was killed, or still writes; the next one clears it away"


def _check(item: Item) -> str:
    """What a whole item is, in words.

    Raises:
        UserError: it is not whole.
    """
    path = item.path
    if item.kind == "checkpoint":
        return _checkpoint(path)
    if item.kind == "tokens":
        return f"{verify_token_file(path).tokens:,} tokens"
    if item.kind == "tokenizer":
        return f"tokenizer, {verify_tokenizer_file(path).vocab_size:,} entries"
    if item.kind == "run":
        return check_run(path)
    if item.kind == "earlier":
        return "kept from an earlier run of this name"
    if path.is_dir():
        next(path.iterdir(), None)  # raises what kept it from being listed
    raise UserError(f"{path} is no checkpoint, token file or run folder; {_ALLOWED}")


def _checkpoint(path: Path) -> str:
    checkpoint = open_checkpoint(path, training=False)
    if checkpoint.is_released:
        return f"checkpoint, step {checkpoint.manifest.step}, without a training state"
    return f"checkpoint, step {open_checkpoint(path).manifest.step}"


def _show(item: Item, verdict: Verdict, *, as_json: bool) -> None:
    """One line on standard output, and the reason on standard error."""
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
    """The counts in one line, those of nothing left out."""
    words = {"ok": "ok", "damaged": "not whole", "aside": "set aside", "leftover": "left over"}
    counts = [f"{number} {words[status]}" for status, number in sorted(totals.items(), key=_order)]
    return f"total: {', '.join(counts)}"


def _order(entry: tuple[Status, int]) -> int:
    return ("ok", "damaged", "aside", "leftover").index(entry[0])
