"""Pieces of a choice, with the log-probabilities of their tokens as OpenAI's API lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from gpt_pipeline.inference import FinishReason, PlacedToken, TextPiece
from gpt_pipeline.serve.schemas import Logprobs
from gpt_pipeline.tokenizer import Tokenizer

_LEAST_LOGPROB = -9999.0
"""Replaces -inf, which JSON does not have, as in OpenAI's API."""


@dataclass(frozen=True)
class Piece:
    """What a step adds to a choice."""

    text: str
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None

    @property
    def is_visible(self) -> bool:
        """Whether there is anything to send to the client."""
        has_tokens = self.logprobs is not None and len(self.logprobs["tokens"]) > 0
        return self.text != "" or has_tokens or self.finish_reason is not None


def piece_of(piece: TextPiece, tokenizer: Tokenizer, logprobs: int | None) -> Piece:
    """A decoded piece with the log-probabilities of its tokens.

    Args:
        piece: as `TextDecoder` gives it.
        tokenizer: the model's.
        logprobs: how many of the most probable tokens to report; None: no log-probabilities.
    """
    lists = None if logprobs is None else logprob_lists(piece.tokens, tokenizer, logprobs)
    return Piece(piece.text, lists, piece.finish_reason)


def logprob_lists(tokens: Sequence[PlacedToken], tokenizer: Tokenizer, most: int) -> Logprobs:
    """The API's lists for some tokens, with at most `most` alternatives each."""
    lists = Logprobs(
        tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[], token_ids=[],
        top_token_ids=[], top_token_logprobs=[], top_token_texts=[],
    )  # fmt: skip
    for placed in tokens:
        sampled = placed.sampled
        if sampled.token is None:
            continue
        text, own = token_text(tokenizer, sampled.token), _finite(sampled.logprob)
        best = sampled.alternatives[:most]
        texts, values = [token_text(tokenizer, token) for token, _ in best], []
        by_text: dict[str, float] = {}
        for each, (_, logprob) in zip(texts, best, strict=True):
            values.append(max(logprob, _LEAST_LOGPROB))
            by_text.setdefault(each, values[-1])
        if own is not None:
            by_text.setdefault(text, own)
        lists["tokens"].append(text)
        lists["token_logprobs"].append(own)
        lists["top_logprobs"].append(by_text)
        lists["text_offset"].append(placed.offset)
        lists["token_ids"].append(sampled.token)
        lists["top_token_ids"].append([token for token, _ in best])
        lists["top_token_logprobs"].append(values)
        lists["top_token_texts"].append(texts)
    return lists


def join_pieces(pieces: Sequence[Piece]) -> Piece:
    """All pieces of a choice as one."""
    return Piece(
        "".join(piece.text for piece in pieces),
        join_lists([piece.logprobs for piece in pieces]),
        pieces[-1].finish_reason,
    )


def join_lists(parts: Sequence[Logprobs | None]) -> Logprobs | None:
    """The lists of several pieces, concatenated; None if no piece has any."""
    given = [part for part in parts if part is not None]
    if not given:
        return None
    whole = {key: [entry for part in given for entry in part[key]] for key in given[0]}  # type: ignore[literal-required]
    return cast(Logprobs, whole)


def token_text(tokenizer: Tokenizer, token: int) -> str:
    r"""A token as text; if it is not whole UTF-8, as OpenAI writes it: `bytes:\xe2\x80`."""
    raw = tokenizer.token_bytes(token)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, _LEAST_LOGPROB)
