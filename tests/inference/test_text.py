"""From tokens to text: stop texts, characters in several tokens, offsets of tokens."""

import pytest

from gpt_pipeline.inference import SampledToken, TextDecoder, place_tokens
from gpt_pipeline.tokenizer import byte_tokenizer

TOKENIZER = byte_tokenizer()


def pieces(text, *, stops=(), offset=0):
    """Of a sample with the bytes of a text and then end-of-text."""
    decoder = TextDecoder(TOKENIZER, stops, place_tokens=True, offset=offset)
    found, raw = [], text.encode()
    sampled = [SampledToken(byte, None, -1.0) for byte in raw] + [SampledToken(None, "stop", -2.0)]
    for one in sampled:
        found.append(decoder.push(one))
        assert decoder.finish_reason == found[-1].finish_reason
        if decoder.finish_reason:
            break
    return found


def ids(piece):
    return [token.sampled.token for token in piece.tokens]


def offsets(found):
    return [token.offset for piece in found for token in piece.tokens]


def test_a_stop_text_that_does_not_come_is_let_through():
    found = pieces("abab!", stops=["abc"])
    assert [piece.text for piece in found] == ["", "", "ab", "", "ab!", ""]
    assert [piece.finish_reason for piece in found] == [None] * 5 + ["stop"]


def test_the_beginning_of_a_stop_text_at_the_end_is_let_through():
    assert [piece.text for piece in pieces("xab", stops=["abc"])] == ["x", "", "", "ab"]


def test_tokens_of_a_stop_text_stand_where_the_text_ends():
    found = pieces("xyabc", stops=["abc"], offset=5)
    assert "".join(piece.text for piece in found) == "xy"
    assert [token for piece in found for token in ids(piece)] == [*b"xyabc"]
    assert offsets(found) == [5, 6, 7, 7, 7]


def test_the_end_of_text_comes_behind_a_character_that_never_is_whole():
    decoder = TextDecoder(TOKENIZER, ["\ufffd"], place_tokens=True)
    decoder.push(SampledToken(0xE2, None, -1.0))
    last = decoder.push(SampledToken(None, "stop", -2.0))
    assert (last.text, last.finish_reason, decoder.num_tokens) == ("", "stop", 2)
    assert ids(last) == [0xE2, TOKENIZER.eot_id]
    assert decoder.mean_logprob == -1.5


def test_tokens_wait_for_their_text():
    found = pieces("xab!", stops=["abc"])
    assert [ids(piece) for piece in found] == [[*b"x"], [], [], [*b"ab!"], [TOKENIZER.eot_id]]


def test_tokens_of_one_character_stand_where_it_begins():
    found = pieces("a\u20acb", offset=10)
    assert "".join(piece.text for piece in found) == "a\u20acb"
    assert offsets(found) == [10, 11, 11, 11, 12, 13]


def test_a_character_that_never_is_whole_has_its_tokens_at_the_end():
    decoder = TextDecoder(TOKENIZER, place_tokens=True)
    first = decoder.push(SampledToken(0xE2, None, -1.0))
    assert (first.text, first.tokens) == ("", ())
    last = decoder.push(SampledToken(0x82, "length", -1.0))
    assert last.text == "\ufffd"
    assert ids(last) == [0xE2, 0x82]


@pytest.mark.parametrize("stops", [(), ["b"]])
def test_tokens_are_placed_only_if_that_is_asked_for(stops):
    decoder = TextDecoder(TOKENIZER, stops)
    found = [decoder.push(SampledToken(byte, None, -1.0)) for byte in b"ab"]
    assert [piece.tokens for piece in found] == [(), ()]
    assert (decoder.num_tokens, decoder.total_logprob) == (2, -2.0)
    assert decoder.finish_reason == ("stop" if stops else None)


def test_tokens_of_a_whole_text_are_placed():
    tokens = [SampledToken(byte, None) for byte in "a\u20acb".encode()]
    placed = place_tokens(tokens, TOKENIZER)
    assert [token.offset for token in placed] == [0, 1, 1, 1, 2]
    assert [token.sampled for token in placed] == tokens
