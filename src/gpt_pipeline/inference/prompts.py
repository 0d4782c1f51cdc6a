"""Prompts: as the user gives them, as token ids, and as the model reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt_pipeline.errors import DataError, UserError
from gpt_pipeline.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """A text to continue.

    Attributes:
        text: as it was written.
        ids: its tokens, at most as many as the context has room for.
    """

    text: str
    ids: tuple[int, ...]


def encode_prompts(
    texts: Sequence[tuple[str, str]], tokenizer: Tokenizer, *, max_length: int
) -> list[Prompt]:
    """Encode texts, each with a name for messages; all are checked before any is used.

    Raises:
        UserError: one is longer than the context, or not valid Unicode.
    """
    prompts = []
    for name, text in texts:
        try:
            ids = tuple(tokenizer.encode(text))
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        check_prompt_length(len(ids), max_length, name)
        prompts.append(Prompt(text, ids))
    return prompts


def check_prompt_length(num_tokens: int, max_length: int, name: str = "the prompt") -> None:
    """Refuse a prompt that is longer than the context.

    Raises:
        UserError: it has more than max_length tokens; the message begins with `name`.
    """
    if num_tokens > max_length:
        raise UserError(
            f"{name} must be at most {max_length} tokens (model.max_length); got {num_tokens}; "
            "shorten it, or use a model with a longer context"
        )


def document_ids(
    ids: Sequence[int], *, add_bos_token: bool, eot_id: int, max_length: int
) -> tuple[int, ...]:
    """The ids of a text at the beginning of a document, after end-of-text as in training.

    End-of-text is left out if `add_bos_token` is false, if the context of `max_length` tokens has
    no room for it, and for an empty text, which `Engine` begins with end-of-text itself.
    """
    if add_bos_token and 0 < len(ids) < max_length:
        return (eot_id, *ids)
    return tuple(ids)


def read_prompt_file(path: Path) -> list[tuple[str, str]]:
    """The lines of a file that are not blank, each after its name for messages.

    Raises:
        DataError: the file cannot be read, holds no prompt, or is not UTF-8.
    """
    try:
        # split at "\n" only: other line ends may be text
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"prompts={path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"prompts={path} must be UTF-8; byte {error.start} is not") from None
    found = [
        (f"prompts={path} line {number}", line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise DataError(f"prompts={path} must hold one prompt per line; got no line with text")
    return found
