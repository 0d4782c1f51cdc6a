import random
import sys

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from gpt_pipeline.errors import ConfigError, TokenizerError
from gpt_pipeline.tokenizer import (
    END_OF_TEXT,
    Tokenizer,
    byte_tokenizer,
    gpt2,
    train,
    train_bpe,
    train_bpe_on_words,
    words,
)

WHITESPACE = [chr(i) for i in range(sys.maxunicode + 1) if chr(i).isspace()]
PARTS = [
    *WHITESPACE, *[" "] * 20, "the", "The", "a", "1", "12", ".", ",", "'", "'s", "'LL", "\u0301",
    "\u4f60", "\u3002", "\u00e9", "\U0001f600", "\0", "\ufeff", END_OF_TEXT, "y" * 70,
]  # fmt: skip
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), max_size=6)
CORPUS = [
    "Once upon a time there was a cat. It's the cat's time.",
    "The  cat\n slept \n\nand slept. 12 cats  ",
    " caf\u00e9 \u4f60\u597d \U0001f600",
] * 5


@pytest.fixture(scope="module", params=["bytes", "bpe", "gpt2"])
def tokenizer(request):
    if request.param == "gpt2":
        return gpt2(str(request.getfixturevalue("shared_data") / "gpt2"))
    return byte_tokenizer() if request.param == "bytes" else train_bpe(iter(CORPUS), 320)


def one_by_one(tokenizer, texts):
    """What is wanted: the ids of each whole text, end-of-text after it."""
    found = []
    for ids in tokenizer.encode_batch(texts):
        found += [*ids, tokenizer.eot_id]
    return found


@settings(deadline=None, max_examples=300)
@given(texts=TEXTS)
def test_ids_by_words_are_those_of_the_whole_texts(tokenizer, texts):
    assert tokenizer.encode_documents(texts).tolist() == one_by_one(tokenizer, texts)


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_ids_of_any_text_are_those_of_the_whole_text(tokenizer, texts):
    assert tokenizer.encode_documents(texts).tolist() == one_by_one(tokenizer, texts)


def test_every_space_in_every_surrounding_gives_the_ids_of_the_whole(tokenizer):
    around = ["a", ".", "1", "'s", *WHITESPACE, ""]
    texts = [f"{left} {right}b" for left in around for right in around]
    texts += [f"{left} {right}" for left in around for right in around]
    assert tokenizer.encode_documents(texts).tolist() == one_by_one(tokenizer, texts)


def test_words_are_asked_for_once_and_forgotten_when_they_are_many(monkeypatch):
    asked = []

    def encode(texts):
        asked.append(sorted(texts))
        return [[len(text)] for text in texts]

    encoder = words.WordEncoder(encode, 9)
    assert encoder.encode(["a cat", "a a"]).tolist() == [1, 4, 9, 1, 2, 9]
    assert asked == [[" a", " cat", "a"]]
    encoder.encode(["a cat a"])
    assert asked[1:] == [[]]
    monkeypatch.setattr(words, "MOST_WORDS", 2)
    assert encoder.encode(["a cat"]).tolist() == [1, 4, 9]
    assert asked[2:] == [[" cat", "a"]]


def test_text_that_is_long_or_has_long_words_is_encoded_whole_and_not_kept(monkeypatch):
    asked = []

    def encode(texts):
        asked.append(sorted(texts))
        return [[len(text)] for text in texts]

    encoder = words.WordEncoder(encode, 9)
    long = "x" * 65
    assert encoder.encode([f"a {long}", "b"]).tolist() == [67, 9, 1, 9]
    assert asked == [["a", "b"], [f"a {long}"]]
    monkeypatch.setattr(words, "LARGEST_TEXT", 4)
    assert encoder.encode(["a c d"]).tolist() == [5, 9]


def foreign(change):
    inner = tokenizers.Tokenizer.from_str(train_bpe(iter(CORPUS), 320).to_json())
    change(inner)
    return Tokenizer(inner)


def llama_like(inner):
    pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+")
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def prefixed(inner):
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def lower(inner):
    inner.normalizer = tokenizers.normalizers.Lowercase()


def with_added(inner):
    inner.add_tokens(["a time"])


def bare(inner):
    inner.pre_tokenizer = None


@pytest.mark.parametrize("change", [llama_like, prefixed, lower, with_added])
def test_other_tokenizers_have_the_ids_of_whole_texts_too(change):
    tokenizer = foreign(change)
    assert not words.splits_before_words(tokenizer.to_json())
    texts = [*CORPUS[:3], "the time  a time.\n a"]
    assert tokenizer.encode_documents(texts).tolist() == one_by_one(tokenizer, texts)


def test_only_the_pre_tokenizer_of_gpt2_is_taken_to_split_before_words():
    assert words.splits_before_words(byte_tokenizer().to_json())
    assert not words.splits_before_words(foreign(bare).to_json())


def test_lone_surrogate_among_documents_is_named_with_its_place(tokenizer):
    with pytest.raises(TokenizerError, match=r"U\+DC80 at character 6"):
        tokenizer.encode_documents(["fine", "a cat \udc80"])


def random_texts(seed):
    pick = random.Random(seed)
    alphabet = pick.choice(["ab", "ab' ", "abc\n ", "aA1. \u00e9"])
    return [
        " ".join(
            "".join(pick.choice(alphabet) for _ in range(pick.randint(1, 12)))
            for _ in range(pick.randint(1, 8))
        )
        for _ in range(3)
    ]


@pytest.mark.parametrize("seed", range(60))
def test_training_on_counted_words_gives_the_library_s_tokenizer(seed):
    texts, entries = random_texts(seed), 257 + seed
    wanted = train_bpe(iter(texts), entries)
    assert train_bpe_on_words(iter(texts), entries).to_json() == wanted.to_json()


@pytest.mark.parametrize("texts", [CORPUS, [], [""], ["x" * 3000, " " * 2500 + "y"], ["aaaa " * 9]])
def test_training_on_odd_texts_gives_the_library_s_tokenizer(texts):
    wanted = train_bpe(iter(texts), 400)
    assert train_bpe_on_words(iter(texts), 400).to_json() == wanted.to_json()


def test_training_on_real_text_gives_the_library_s_tokenizer(shared_data):
    path = shared_data / "tinystories" / "tinystories-valid.txt"
    texts = path.read_text(encoding="utf-8").split(f"\n{END_OF_TEXT}\n")
    wanted = train_bpe(iter(texts), 4096)
    assert wanted.vocab_size == 4096
    assert train_bpe_on_words(iter(texts), 4096).sha256 == wanted.sha256


def test_counting_in_many_parts_changes_nothing(monkeypatch):
    wanted = train_bpe(iter(CORPUS), 320).sha256
    monkeypatch.setattr(train, "MOST_WORDS", 3)
    assert train_bpe_on_words(iter(CORPUS), 320).sha256 == wanted


def test_too_many_different_words_are_left_to_the_library_soon(monkeypatch):
    monkeypatch.setattr(train, "MOST_WORD_CHARS", 100)
    monkeypatch.setattr(train, "MOST_WORDS", 10)
    read = []

    def texts():
        for number in range(1000):
            read.append(number)
            yield f"number{number:x} is here"

    assert train_bpe_on_words(texts(), 300) is None
    assert len(read) < 100


def test_training_on_words_refuses_what_the_library_s_refuses():
    with pytest.raises(ConfigError, match=r"vocab_size must be at least 257.*got 100"):
        train_bpe_on_words(iter(CORPUS), 100)
    with pytest.raises(TokenizerError, match=r"document 1: .*U\+DFFF"):
        train_bpe_on_words(iter(["good", "\udfff"]), 300)
