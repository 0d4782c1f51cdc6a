r"""Ids of whole corpora by words: most words of a text have been encoded before.

GPT-2's pre-tokenizer always splits before a space that a visible character follows, in any script,
and neither side looks across: the space belongs to what follows it (` ?\p{L}+` and its like), and
a run of whitespace before it ends there (`\s+(?!\S)`). So the text between two such spaces has
ids of its own, which are kept. A text with other spaces too (two in a row, one before a line's end)
is encoded as a whole.
"""

import json
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

LARGEST_TEXT = 1 << 20
"""Characters; longer texts are encoded as a whole, so that their words are never all in memory."""

MOST_WORDS = 1 << 17
"""Cached words, about 25 MB; the cache is cleared when it is full."""

# Begins with a visible character, or is the first of its text; valid Unicode; of a usual length.
_WORD = re.compile(r"(?=[ \S])[^\ud800-\udfff]{1,64}")

_OTHER_SPACE = re.compile(r" (?!\S)")

Encode = Callable[[Sequence[str]], list[list[int]]]


def splits_before_words(tokenizer_json: str) -> bool:
    """Whether a tokenizer.json says that ids of words are the ids of the whole text."""
    values = json.loads(tokenizer_json)
    before, model = values["pre_tokenizer"] or {}, values["model"]
    return (
        values["normalizer"] is None
        and before.get("type") == "ByteLevel"
        and before["use_regex"] is True
        and before["add_prefix_space"] is False
        and model["type"] == "BPE"
        and not model["dropout"]
        and all(token["special"] for token in values["added_tokens"])
    )


class WordEncoder:
    """Gives the ids of `encode` for texts of a tokenizer that `splits_before_words`."""

    def __init__(self, encode: Encode, eot_id: int) -> None:
        self._encode = encode
        self._eot = _packed([eot_id])
        self._known: dict[str, bytes] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.uint32]:
        """The ids of all texts in one array, end-of-text after each."""
        split = [words_of(text) if len(text) <= LARGEST_TEXT else [""] for text in texts]
        odd = self._learn(set().union(*split))
        find = self._known.__getitem__
        parts = [
            None if odd and not odd.isdisjoint(words) else b"".join(map(find, words))
            for words in split
        ]
        whole = [text for text, part in zip(texts, parts, strict=True) if part is None]
        found = map(_packed, self._encode(whole) if whole else ())
        filled = [next(found) if part is None else part for part in parts]
        return np.frombuffer(self._eot.join([*filled, b""]), dtype=np.uint32)

    def _learn(self, words: set[str]) -> set[str]:
        """Have the ids of all `words` but those returned, which need their whole text."""
        if len(self._known) > MOST_WORDS:
            self._known.clear()
        missing = words.difference(self._known)
        odd = {word for word in missing if _WORD.fullmatch(word) is None}
        fresh = list(missing - odd)
        ids = self._encode(list(map(text_of, fresh)))
        self._known.update(zip(fresh, map(_packed, ids), strict=True))
        return odd


def words_of(text: str) -> list[str]:
    """The text between single spaces; the first word has a space before it, to distinguish it."""
    words = text.split(" ")
    words[0] = f" {words[0]}"
    return words


def text_of(word: str) -> str:
    """The characters of the text that one of `words_of` covers."""
    return word[1:] if word[0] == " " else f" {word}"


def only_splits(text: str) -> bool:
    """Whether a visible character follows every space, so that each of them is a split."""
    return _OTHER_SPACE.search(text) is None


def _packed(ids: Sequence[int]) -> bytes:
    return np.array(ids, dtype=np.uint32).tobytes()
