"""One interface for every tokenizer of the project, around Hugging Face's `tokenizers`."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gpt_pipeline.durable import replacing
from gpt_pipeline.errors import TokenizerError
from gpt_pipeline.tokenizer.byte_alphabet import token_bytes
from gpt_pipeline.tokenizer.words import WordEncoder, splits_before_words

END_OF_TEXT = "<|endoftext|>"
LARGEST_VOCABULARY = 1 << 24
PIECE_CHARS = 1 << 20
"""Longer texts are encoded in pieces of about this size, so that memory stays bounded."""

# Before a space between two word characters every byte-level pre-tokenizer splits, and
# neither side looks across: encoding the two sides apart gives the ids of the whole.
# So they do between a letter and a full stop or comma, also in scripts that write no spaces.
_SAFE_CUT = re.compile(
    r"\w(?= \w)"
    r"|[a-zA-Z\u0430-\u044f\u3041-\u3096\u4e00-\u9fa5\uac00-\ud7a3](?=[.,\u3001\u3002\uff0c])"
)


class Tokenizer:
    """A byte-level tokenizer: any string becomes ids, and the ids become that string again.

    The characters `<|endoftext|>` inside a text are text; only the caller writes `eot_id`.

    Raises:
        TokenizerError: when `inner` is not byte-level, or has no entry `<|endoftext|>`.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner
        inner.encode_special_tokens = True  # not part of the JSON: set for every instance
        inner.no_truncation()
        inner.no_padding()
        eot_id = inner.token_to_id(END_OF_TEXT)
        if eot_id is None:
            raise TokenizerError(f"tokenizer must have an entry {END_OF_TEXT}; got none")
        if type(inner.decoder).__name__ != "ByteLevel":
            raise TokenizerError(
                "tokenizer must be byte-level, as GPT-2's is; "
                f"got the decoder {type(inner.decoder).__name__}"
            )
        self.eot_id: int = eot_id

    @property
    def vocab_size(self) -> int:
        """Ids are below this."""
        return len(self._bytes)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON: equal for tokenizers that give equal ids."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()

    @cached_property
    def token_lengths(self) -> list[int]:
        """UTF-8 bytes per id, and 1 for end-of-text, as bits per byte counts them."""
        lengths = [len(token) for token in self._bytes]
        lengths[self.eot_id] = 1
        return lengths

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without any special token.

        Raises:
            TokenizerError: for a lone surrogate, which UTF-8 cannot hold.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; equal to `encode` on each, and faster."""
        pieces: list[str] = []
        ends: list[int] = []
        for text in texts:
            pieces += [text] if len(text) <= PIECE_CHARS else _pieces(text)
            ends.append(len(pieces))
        found = self._encode_pieces(pieces)
        if len(pieces) == len(texts):
            return found
        starts = [0, *ends[:-1]]
        return [
            [token for piece in found[start:end] for token in piece]
            for start, end in zip(starts, ends, strict=True)
        ]

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.uint32]:
        """Ids of all texts in one array, `eot_id` after each: the fast way for a corpus.

        Raises:
            TokenizerError: for a lone surrogate, which UTF-8 cannot hold.
        """
        if self._words is not None:
            return self._words.encode(texts)
        ids: list[int] = []
        for found in self.encode_batch(texts):
            ids += found
            ids.append(self.eot_id)
        return np.array(ids, dtype=np.uint32)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; bytes that are not whole UTF-8 become U+FFFD."""
        return b"".join(self.token_bytes(token) for token in ids).decode("utf-8", "replace")

    def stream(self) -> "StreamDecoder":
        """A decoder that takes ids one by one."""
        return StreamDecoder(self)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one id."""
        if not 0 <= token_id < len(self._bytes):
            raise TokenizerError(
                f"token id must be in 0..{len(self._bytes) - 1} for this tokenizer; got {token_id}"
            )
        return self._bytes[token_id]

    def to_json(self) -> str:
        """Canonical JSON in Hugging Face's tokenizer.json format."""
        return json.dumps(json.loads(self._inner.to_str()), sort_keys=True, separators=(",", ":"))

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json; `path` is replaced once the new file is complete."""
        target = Path(path)
        try:
            with replacing(target) as file:
                file.write(self.to_json().encode("ascii"))
        except OSError as error:
            raise TokenizerError(f"cannot write {target}: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """The tokenizer in a tokenizer.json.

        Raises:
            TokenizerError: for a file that is missing, damaged, or not of a byte-level tokenizer.
        """
        return cls(read_inner(Path(path)))

    def __getstate__(self) -> dict[str, Any]:
        return {"json": self.to_json()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(tokenizers.Tokenizer.from_str(state["json"]))  # type: ignore[misc]

    @cached_property
    def _words(self) -> WordEncoder | None:
        if splits_before_words(self._inner.to_str()):
            return WordEncoder(self.encode_batch, self.eot_id)
        return None

    @cached_property
    def _bytes(self) -> list[bytes]:
        vocabulary = self._inner.get_vocab(with_added_tokens=True)
        added = {token.content for token in self._inner.get_added_tokens_decoder().values()}
        largest = max(vocabulary.values())
        if largest >= LARGEST_VOCABULARY:  # a stranger's file must not take all memory
            raise TokenizerError(
                f"tokenizer ids must be below {LARGEST_VOCABULARY:,}; got {largest}; "
                "take a tokenizer.json whose ids are counted from 0"
            )
        table = [b""] * (largest + 1)
        for token, token_id in vocabulary.items():
            raw = None if token in added else token_bytes(token)
            table[token_id] = token.encode("utf-8") if raw is None else raw
        return table

    def _encode_pieces(self, pieces: list[str]) -> list[list[int]]:
        try:
            encodings = self._inner.encode_batch_fast(pieces, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError) as error:
            for piece in pieces:
                refuse_surrogates(piece)
            raise TokenizerError(f"cannot encode the text: {error}") from error
        return [encoding.ids for encoding in encodings]


class StreamDecoder:
    """Decodes ids one by one; a character is given out when its last byte has come.

    The pieces, `finish` included, join to `Tokenizer.decode` of all the ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Text that `token_id` completes; empty inside a character."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """What was held back: a U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)


def read_inner(path: Path) -> tokenizers.Tokenizer:
    """The library's own object from a tokenizer.json, or one line that says what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TokenizerError(f"tokenizer file {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"cannot read the tokenizer file {path}: {error}") from error
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises the bare class
        raise TokenizerError(
            f"{path} is not a whole tokenizer.json: {str(error).splitlines()[0]}"
        ) from error


def refuse_surrogates(text: str) -> None:
    """Raise a TokenizerError that names the first lone surrogate, if there is one."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            "text must be valid Unicode; got the lone surrogate "
            f"U+{ord(text[error.start]):04X} at character {error.start}"
        ) from error


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE_CHARS:
        cut = _SAFE_CUT.search(text, start + PIECE_CHARS)
        if cut is None:
            break
        yield text[start : cut.end()]
        start = cut.end()
    yield text[start:]
