"""Tokenizers that need no download: a byte-level BPE learnt from text, and plain bytes."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from gpt_pipeline.errors import ConfigError, TokenizerError
from gpt_pipeline.tokenizer.byte_alphabet import byte_to_char
from gpt_pipeline.tokenizer.merges import learn_merges
from gpt_pipeline.tokenizer.tokenizer import END_OF_TEXT, Tokenizer, refuse_surrogates
from gpt_pipeline.tokenizer.words import MOST_WORDS, only_splits, text_of, words_of

SMALLEST_VOCABULARY = 257
"""The 256 bytes and end-of-text."""

MOST_WORD_CHARS = 1 << 18
"""Characters of different words up to which they are merged here, in a second or two."""

_LONGEST_WORD = 1000
"""Characters; the library's training takes time that grows with the square of a word's length."""

# What the pre-tokenizer makes one word of holds no space but its first, or whitespace alone.
_LONG_WORD = re.compile(rf"[^ ]{{{_LONGEST_WORD}}}|\s{{{_LONGEST_WORD}}}")
_LONG_BLANK = re.compile(rf"\s{{{_LONGEST_WORD}}}")


def byte_level(vocab: dict[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """A byte-level BPE with GPT-2's pre-tokenizer, from its vocabulary and merges."""
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=list(merges)))
    return _finished(inner)


def byte_tokenizer() -> Tokenizer:
    """One token a byte: ids 0 to 255 are the byte values, 256 is end-of-text."""
    vocab = {char: byte for byte, char in byte_to_char().items()}
    return byte_level({**vocab, END_OF_TEXT: len(vocab)}, [])


def train_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Learn a byte-level BPE (Sennrich et al. 2016, over bytes as GPT-2) of up to `vocab_size`.

    The result depends on the texts alone, not on threads. A small corpus can give fewer entries.

    Raises:
        ConfigError: for a `vocab_size` below `SMALLEST_VOCABULARY`.
        TokenizerError: for a text that is not valid Unicode.
    """
    _check(vocab_size)
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(byte_to_char().values()),
        show_progress=False,
    )
    inner.train_from_iterator(_checked(texts), trainer=trainer)
    return _finished(inner)


def train_bpe_on_words(texts: Iterator[str], vocab_size: int) -> Tokenizer | None:
    """The tokenizer of `train_bpe`, several times as fast, for texts of few different words.

    None, soon, where the words have more than `MOST_WORD_CHARS` characters together.

    Raises:
        ConfigError: for a `vocab_size` below `SMALLEST_VOCABULARY`.
        TokenizerError: for a text that is not valid Unicode.
    """
    _check(vocab_size)
    counts = _counted(_checked(texts))
    if counts is None:
        return None
    vocab = {END_OF_TEXT: 0}
    for char in sorted(byte_to_char().values()):
        vocab[char] = len(vocab)
    return byte_level(*learn_merges(counts, vocab, vocab_size))


def _counted(texts: Iterator[str]) -> Counter[str] | None:
    """How often each word of the pre-tokenizer is in the texts; None if it would be too many."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    counts: Counter[str] = Counter()
    waiting: Counter[str] = Counter()

    def count() -> bool:
        for word, times in waiting.items():
            for part, _ in split(text_of(word)):
                counts[part] += times
        waiting.clear()
        return sum(map(len, counts)) <= MOST_WORD_CHARS

    for text in texts:
        if only_splits(text):
            waiting.update(words_of(text))
        else:
            counts.update(part for part, _ in split(text))
        crowded = len(waiting) > MOST_WORDS or len(counts) > MOST_WORD_CHARS
        if crowded and not count():
            return None
    return counts if count() else None


def _check(vocab_size: int) -> None:
    if vocab_size < SMALLEST_VOCABULARY:
        raise ConfigError(
            [
                f"tokenizer.vocab_size must be at least {SMALLEST_VOCABULARY} "
                f"(256 bytes and {END_OF_TEXT}); got {vocab_size}"
            ]
        )


def _finished(inner: tokenizers.Tokenizer) -> Tokenizer:
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([END_OF_TEXT])
    return Tokenizer(inner)


def _checked(texts: Iterator[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        try:
            refuse_surrogates(text)
        except TokenizerError as error:
            raise TokenizerError(f"document {number}: {error}") from error
        yield from _without_long_words(text)


def _without_long_words(text: str) -> Iterator[str]:
    """The text, cut inside words that no language has: a file in base64, a line of one letter."""
    start = 0
    if len(text) >= _LONGEST_WORD and (
        max(map(len, text.split(" "))) >= _LONGEST_WORD or _LONG_BLANK.search(text)
    ):
        for word in _LONG_WORD.finditer(text):
            yield text[start : word.end()]
            start = word.end()
    if start < len(text) or not text:
        yield text[start:]
