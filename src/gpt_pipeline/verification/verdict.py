"""Verifies one item: a checkpoint, a token file, a tokenizer or a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.checkpoint.store import REPLACED
from gpt_pipeline.dataset import verify_token_file, verify_tokenizer_file
from gpt_pipeline.errors import UserError
from gpt_pipeline.verification.inventory import Item
from gpt_pipeline.verification.run_check import check_run

Status = Literal["ok", "damaged", "aside", "leftover"]
"""The result for an item; `aside` are checkpoints that are kept but not used."""

EXPECTED = "give checkpoints, token files, run folders, or folders of them"
"""What to give to `verify`, for messages."""


@dataclass(frozen=True)
class Verdict:
    """The result for one item; `error` is the reason if it is damaged."""

    status: Status
    what: str
    error: str | None = None


def verify(item: Item) -> Verdict:
    """Verify one item; an error is its verdict, so that the other items are verified too."""
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
        return f"a run was killed while it replaced {place.name}; the next `train` restores it"
    return "of a command that was killed or is still writing; the next one removes it"


def _check(item: Item) -> str:
    """Verify an item and return a description of it.

    Raises:
        UserError: it is damaged.
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
        next(path.iterdir(), None)  # raises if it cannot be listed
    raise UserError(f"{path} is no checkpoint, token file or run folder; {EXPECTED}")


def _checkpoint(path: Path) -> str:
    checkpoint = open_checkpoint(path, training=False)
    checkpoint.config()  # files that are complete may still not be readable
    checkpoint.generation()
    if checkpoint.is_released:
        return f"checkpoint, step {checkpoint.manifest.step}, without a training state"
    return f"checkpoint, step {open_checkpoint(path).manifest.step}"
