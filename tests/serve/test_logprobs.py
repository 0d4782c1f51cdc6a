"""The lists of log-probabilities that belong to a piece of text."""

import pytest

from gpt_pipeline.inference import PlacedToken, SampledToken, TextPiece
from gpt_pipeline.tokenizer import byte_tokenizer

pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'gpt-pipeline[serve]'")
from gpt_pipeline.serve import logprobs

TOKENIZER = byte_tokenizer()


def test_a_piece_has_the_lists_of_its_tokens():
    best = ((ord("a"), -0.5), (0xE2, -1.5), (TOKENIZER.eot_id, float("-inf")))
    tokens = [
        PlacedToken(10, SampledToken(ord("a"), None, -0.5, best)),
        PlacedToken(11, SampledToken(0xE2, None, -2.0, best[:1])),
        PlacedToken(11, SampledToken(TOKENIZER.eot_id, "stop", float("-inf"), best)),
    ]
    piece = logprobs.piece_of(TextPiece("a", tuple(tokens), "stop"), TOKENIZER, 3)
    assert (piece.text, piece.finish_reason) == ("a", "stop")
    assert piece.logprobs["tokens"] == ["a", "bytes:\\xe2", "<|endoftext|>"]
    assert piece.logprobs["token_logprobs"] == [-0.5, -2.0, -9999.0]
    assert piece.logprobs["text_offset"] == [10, 11, 11]
    assert piece.logprobs["token_ids"] == [97, 0xE2, TOKENIZER.eot_id]
    assert piece.logprobs["top_token_logprobs"][0] == [-0.5, -1.5, -9999.0]
    assert piece.logprobs["top_logprobs"][1] == {"a": -0.5, "bytes:\\xe2": -2.0}
    two = logprobs.piece_of(TextPiece("a", tuple(tokens)), TOKENIZER, 2)
    assert two.logprobs["top_token_ids"][0] == [97, 0xE2]


def test_a_piece_is_visible_if_it_has_text_tokens_or_an_end():
    token = PlacedToken(0, SampledToken(97, None, -1.0))
    assert not logprobs.piece_of(TextPiece(""), TOKENIZER, 0).is_visible
    assert not logprobs.piece_of(TextPiece("", (token,)), TOKENIZER, None).is_visible
    assert logprobs.piece_of(TextPiece("", (token,)), TOKENIZER, 0).is_visible
    assert logprobs.piece_of(TextPiece("", (), "stop"), TOKENIZER, None).is_visible


def test_pieces_are_joined_in_order():
    pieces = [
        logprobs.piece_of(
            TextPiece(text, (PlacedToken(at, SampledToken(ord(text), None, -1.0)),), reason),
            TOKENIZER, 0,
        )
        for at, (text, reason) in enumerate([("a", None), ("b", "length")])
    ]  # fmt: skip
    whole = logprobs.join_pieces(pieces)
    assert (whole.text, whole.finish_reason) == ("ab", "length")
    assert whole.logprobs["tokens"] == ["a", "b"]
    assert whole.logprobs["text_offset"] == [0, 1]


def test_nothing_is_joined_to_nothing():
    assert logprobs.join_lists([None, None]) is None
    assert logprobs.join_lists([]) is None
