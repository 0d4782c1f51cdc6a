"""From tokens to a choice's text: stop texts, characters in several tokens, log-probabilities."""

import pytest

from gpt_pipeline.inference import SampledToken
from gpt_pipeline.tokenizer import byte_tokenizer

pytest.importorskip("fastapi", reason="needs FastAPI: make install-dev")
from gpt_pipeline.serve import texts

TOKENIZER = byte_tokenizer()


def pieces(text, *, stops=(), logprobs=None, offset=0):
    """Of a choice that draws the bytes of a text and then end-of-text."""
    choice = texts.ChoiceText(TOKENIZER, stops=stops, logprobs=logprobs, offset=offset)
    told, raw = [], text.encode()
    drawn = [SampledToken(byte, None, -1.0) for byte in raw] + [SampledToken(None, "stop", -2.0)]
    for one in drawn:
        told.append(choice.push(one))
        if choice.ended:
            break
    return told


def test_a_stop_text_that_does_not_come_is_let_through():
    told = pieces("abab!", stops=["abc"])
    assert [piece.text for piece in told] == ["", "", "ab", "", "ab!", ""]
    assert [piece.finish_reason for piece in told] == [None] * 5 + ["stop"]


def test_the_beginning_of_a_stop_text_at_the_end_is_let_through():
    assert [piece.text for piece in pieces("xab", stops=["abc"])] == ["x", "", "", "ab"]


def test_tokens_of_a_stop_text_stand_where_the_text_ends():
    told = pieces("xyabc", stops=["abc"], logprobs=0, offset=5)
    assert "".join(piece.text for piece in told) == "xy"
    whole = texts.joined([piece.logprobs for piece in told])
    assert whole["tokens"] == ["x", "y", "a", "b", "c"]
    assert whole["text_offset"] == [5, 6, 7, 7, 7]


def test_the_end_of_text_comes_behind_a_character_that_never_is_whole():
    choice = texts.ChoiceText(TOKENIZER, stops=["\ufffd"], logprobs=0)
    choice.push(SampledToken(0xE2, None, -1.0))
    last = choice.push(SampledToken(None, "stop", -2.0))
    assert (last.text, last.finish_reason, choice.num_tokens) == ("", "stop", 2)
    assert last.logprobs["token_ids"] == [0xE2, TOKENIZER.eot_id]


def test_logprobs_wait_for_their_text():
    told = pieces("xab!", stops=["abc"], logprobs=0)
    assert [piece.logprobs["tokens"] for piece in told] == [
        ["x"], [], [], ["a", "b", "!"], ["<|endoftext|>"]
    ]  # fmt: skip


def test_tokens_of_one_character_stand_where_it_begins():
    told = pieces("a\u20acb", logprobs=0, offset=10)
    whole = texts.joined([piece.logprobs for piece in told])
    *tokens, end = whole["tokens"]
    assert tokens == ["a", "bytes:\\xe2", "bytes:\\x82", "bytes:\\xac", "b"]
    assert end == "<|endoftext|>"
    assert whole["text_offset"] == [10, 11, 11, 11, 12, 13]
    assert "".join(piece.text for piece in told) == "a\u20acb"


def test_a_character_that_never_is_whole_has_its_logprobs_at_the_end():
    choice = texts.ChoiceText(TOKENIZER, stops=(), logprobs=0)
    assert not choice.push(SampledToken(0xE2, None, -1.0)).says_something
    last = choice.push(SampledToken(0x82, "length", -1.0))
    assert last.text == "\ufffd"
    assert last.logprobs["token_ids"] == [0xE2, 0x82]


def test_nothing_is_joined_to_nothing():
    assert texts.joined([None, None]) is None
    assert texts.joined([]) is None
