import json
import pickle
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from gpt_pipeline.errors import ConfigError, TokenizerError
from gpt_pipeline.tokenizer import END_OF_TEXT, Tokenizer, byte_tokenizer, train, train_bpe
from gpt_pipeline.tokenizer import tokenizer as module

CORPUS = [
    "Once upon a time there was a little cat.\n",
    "The cat's name was Mo; it couldn't sleep.  <|endoftext|>",
    "Caf\u00e9 \u00fcber \u4f60\u597d \U0001f600\U0001f600 1234",
] * 5
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def bpe():
    return train_bpe(iter(CORPUS), 300)


@pytest.fixture(scope="module", params=["bytes", "bpe"])
def tokenizer(request, bpe):
    return byte_tokenizer() if request.param == "bytes" else bpe


@settings(deadline=None)
@given(text=TEXT)
def test_decoding_gives_any_string_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(text=TEXT, cut=st.integers(0, 40))
def test_streamed_pieces_join_to_the_whole_decoding(tokenizer, text, cut):
    ids = tokenizer.encode(text)[:cut]  # may end inside a character
    stream = tokenizer.stream()
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == tokenizer.decode(ids)


def test_stream_holds_back_half_characters():
    stream = byte_tokenizer().stream()
    assert [stream.push(byte) for byte in "\u20ac".encode()] == ["", "", "\u20ac"]
    assert stream.push(0xE2) == ""
    assert stream.finish() == "\ufffd"


def test_batch_equals_each_alone(tokenizer):
    assert tokenizer.encode_batch(CORPUS) == [tokenizer.encode(text) for text in CORPUS]


def test_byte_tokenizer_gives_the_byte_values():
    tokenizer = byte_tokenizer()
    text = "a\n\u00e9\U0001f600"
    assert tokenizer.encode(text) == list(text.encode())
    assert (tokenizer.vocab_size, tokenizer.eot_id) == (257, 256)
    assert [tokenizer.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]


def test_end_of_text_in_a_text_is_ordinary_text(tokenizer, tmp_path):
    text = f"a{END_OF_TEXT}b"
    tokenizer.save(tmp_path / "tokenizer.json")
    copies = [Tokenizer.load(tmp_path / "tokenizer.json"), pickle.loads(pickle.dumps(tokenizer))]
    for one in [tokenizer, *copies]:
        assert tokenizer.eot_id not in one.encode(text)
        assert one.decode(one.encode(text)) == text
        assert one.decode([one.eot_id]) == END_OF_TEXT


def test_saved_and_pickled_tokenizers_are_the_same_one(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded, pickled = (
        Tokenizer.load(tmp_path / "tokenizer.json"),
        pickle.loads(pickle.dumps(tokenizer)),
    )
    assert loaded.sha256 == pickled.sha256 == tokenizer.sha256
    assert loaded.encode(CORPUS[1]) == pickled.encode(CORPUS[1]) == tokenizer.encode(CORPUS[1])
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_saved_file_opens_in_the_library(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = library.encode("Once upon").ids
    assert ids == tokenizer.encode("Once upon")
    assert library.decode(ids) == "Once upon"


def test_long_text_in_pieces_gives_the_same_ids(bpe, monkeypatch):
    text = "It was late.  The  cat \n\n slept, well 12 times a day " * 50
    whole = bpe.encode(text)
    monkeypatch.setattr(module, "PIECE_CHARS", 7)
    assert len(list(module._pieces(text))) > 50
    assert bpe.encode_batch(["a", text, "", "b"]) == [
        bpe.encode("a"),
        whole,
        [],
        bpe.encode("b"),
    ]


PARTS = st.sampled_from(
    [*"ab1_ \n\t.,'", "'ll", "'s", "caf\u00e9", "\u4f60\u597d", "\u3002", "\uff0c", "\u3042\u3001",
     "\ud55c", "\u0434", "\u0301", "\u00d7", "\u0660", "\0", "\U0001f600", END_OF_TEXT]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(parts=st.lists(PARTS, max_size=60), size=st.integers(1, 9))
def test_text_in_pieces_of_any_size_gives_the_same_ids(tokenizer, parts, size):
    text = "".join(parts)
    whole = tokenizer.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_CHARS", size)
        assert tokenizer.encode(text) == whole


def test_scripts_without_spaces_are_encoded_in_pieces_too(monkeypatch):
    monkeypatch.setattr(module, "PIECE_CHARS", 10)
    assert len(list(module._pieces("\u4f60\u597d\u4e16\u754c\uff0c\u5f88\u597d\u3002" * 50))) > 20


@pytest.mark.parametrize("text", ["", "a b", "a" * 999, "the cat sat. " * 500, "\n" * 999])
def test_ordinary_text_is_trained_on_as_it_is(text):
    assert list(train._without_long_words(text)) == [text]


@settings(deadline=None)
@given(parts=st.lists(st.sampled_from(["a" * 700, " ", "\n", "\n " * 400, "b.", "\x1c" * 600])))
def test_long_words_are_cut_for_training_and_nothing_is_lost(parts):
    text = "".join(parts)
    pieces = list(train._without_long_words(text))
    assert "".join(pieces) == text
    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    assert max((end - start for piece in pieces for _, (start, end) in split(piece)), default=0) < (
        2 * train._LONGEST_WORD
    )


def test_token_lengths_count_the_bytes_of_the_text(bpe):
    for text in CORPUS:
        assert sum(bpe.token_lengths[i] for i in bpe.encode(text)) == len(text.encode())
    assert bpe.token_lengths[bpe.eot_id] == 1


def test_lone_surrogate_is_refused_with_its_place(tokenizer):
    with pytest.raises(TokenizerError, match=r"lone surrogate U\+D800 at character 2"):
        tokenizer.encode("ab\ud800c")
    with pytest.raises(TokenizerError, match=r"document 1.*U\+DFFF at character 0"):
        train_bpe(iter(["good", "\udfff"]), 300)


@pytest.mark.parametrize("token", [-1, 257])
def test_id_outside_the_vocabulary_is_refused(token):
    with pytest.raises(TokenizerError, match=rf"0\.\.256.*got {token}"):
        byte_tokenizer().decode([token])


def test_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(ConfigError, match=r"at least 257.*got 256"):
        train_bpe(iter(CORPUS), 256)
    assert train_bpe(iter(CORPUS), 257).vocab_size == 257


def test_small_corpus_gives_fewer_entries():
    assert 257 < train_bpe(iter(["the cat sat"] * 3), 4096).vocab_size < 300


def test_training_is_the_same_for_any_number_of_threads(bpe):
    code = (
        "from gpt_pipeline.tokenizer import train_bpe;"
        f"print(train_bpe(iter({CORPUS!r}), 300).sha256)"
    )
    for threads in ("1", "4"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == bpe.sha256


def test_missing_file_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"none\.json does not exist"):
        Tokenizer.load(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}', "[]"])
def test_damaged_file_is_one_line(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is not a whole") as caught:
        Tokenizer.load(path)
    assert "\n" not in str(caught.value)


def test_file_without_end_of_text_is_refused(tmp_path):
    content = json.loads(byte_tokenizer().to_json())
    content["added_tokens"] = []
    del content["model"]["vocab"][END_OF_TEXT]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match=r"must have an entry <\|endoftext\|>"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_tokenizer_that_is_not_byte_level_is_refused():
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({END_OF_TEXT: 0}, END_OF_TEXT))
    with pytest.raises(TokenizerError, match=r"must be byte-level.*NoneType"):
        Tokenizer(inner)


def test_id_that_would_take_all_memory_is_refused(tmp_path):
    content = json.loads(byte_tokenizer().to_json())
    content["model"]["vocab"]["!"] = 4_000_000_000
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    with pytest.raises(TokenizerError, match="ids must be below 16,777,216; got 4000000000"):
        _ = loaded.vocab_size


def test_unwritable_place_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"cannot write .*nowhere"):
        byte_tokenizer().save(tmp_path / "nowhere" / "tokenizer.json")


def test_importing_the_package_loads_no_torch():
    code = (
        "import sys, gpt_pipeline.tokenizer, gpt_pipeline.dataset; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
