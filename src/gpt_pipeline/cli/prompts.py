"""The prompts of an inference: where each stands, its text, its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import DataError, UserError
from gpt_pipeline.inference import document_ids
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """A text to go on from.

    Attributes:
        place: where the user wrote it, for messages.
        text: as it was written.
        ids: its tokens, at most as many as the model sees.
    """

    place: str
    text: str
    ids: tuple[int, ...]


def encoded(
    texts: Sequence[tuple[str, str]], tokenizer: Tokenizer, *, max_length: int
) -> list[Prompt]:
    """Prompts of places and texts, all of them looked at before any work begins.

    Raises:
        UserError: one is longer than the context, or no valid Unicode; names its place.
    """
    prompts = []
    for place, text in texts:
        try:
            ids = tuple(tokenizer.encode(text))
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        if len(ids) > max_length:
            raise UserError(
                f"{place} must be at most {max_length} tokens (model.max_length); got {len(ids)}; "
                "shorten it, or use a model with a longer context"
            )
        prompts.append(Prompt(place, text, ids))
    return prompts


def read_ids(
    ids: Sequence[int], model: GPTModel, tokenizer: Tokenizer, sampling: Sampling
) -> tuple[int, ...]:
    """What the model reads of a prompt, end-of-text before it if `sampling` says so."""
    return document_ids(
        ids,
        add_bos_token=sampling.add_bos_token,
        eot_id=tokenizer.eot_id,
        max_length=model.config.max_length,
    )


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Places and texts of a prompt file's lines that are not empty.

    Raises:
        DataError: it is missing, holds no prompt, or is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # no other end: it may be text
    except OSError as error:
        raise DataError(f"prompts={path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"prompts={path} must be UTF-8; byte {error.start} is not") from None
    found = [
        (f"prompts={path} line {at}", line) for at, line in enumerate(lines, 1) if line.strip()
    ]
    if not found:
        raise DataError(f"prompts={path} must hold a prompt a line; got no line with text")
    return found
