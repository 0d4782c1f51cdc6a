"""From drawn tokens to the text and the log-probabilities of a choice, piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from gpt_pipeline.inference import FinishReason, SampledToken, StopTexts
from gpt_pipeline.serve.schemas import Logprobs
from gpt_pipeline.tokenizer import Tokenizer

_LEAST_LOGPROB = -9999.0
"""Stands for -inf, which JSON does not have, as in OpenAI's API."""

Entry = tuple[int, SampledToken]
"""A token, and where its text begins."""


@dataclass(frozen=True)
class Piece:
    """What a step adds to a choice."""

    text: str
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None

    @property
    def says_something(self) -> bool:
        """Whether a client must see it."""
        has_tokens = self.logprobs is not None and len(self.logprobs["tokens"]) > 0
        return self.text != "" or has_tokens or self.finish_reason is not None


class ChoiceText:
    """One choice. Its text ends before the first stop text, however that is cut into tokens.

    A token's log-probability goes out with the first part of its text. All tokens that were drawn
    are reported and counted, also those of a stop text and end-of-text, which have no text here.

    Args:
        tokenizer: of the model.
        stops: texts that end the choice.
        logprobs: how many of the most probable tokens to tell; None: no log-probabilities.
        offset: where its text begins; behind an echoed prompt.

    Attributes:
        num_tokens: that were drawn.
        total_logprob: of all of them, where the engine was asked for log-probabilities.
        ended: whether nothing more comes.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, stops: Sequence[str], logprobs: int | None, offset: int = 0
    ) -> None:
        self.num_tokens = 0
        self.total_logprob = 0.0
        self.ended = False
        self._tokenizer, self._logprobs = tokenizer, logprobs
        self._decoder, self._stops = tokenizer.stream(), StopTexts(stops)
        self._decoded = self._sent = offset
        self._held: list[Entry] = []

    def push(self, drawn: SampledToken) -> Piece:
        """Take a token in; the first one may be the last."""
        text, reason, begins = "", drawn.finish_reason, self._decoded
        if drawn.token is not None:
            text = self._decoder.push(drawn.token)
        if reason is not None:
            text += self._decoder.finish()
        self._decoded += len(text)
        if drawn.token is None:
            begins, drawn = self._decoded, replace(drawn, token=self._tokenizer.eot_id)
        self.num_tokens += 1
        self.total_logprob += drawn.logprob or 0.0
        self._held.append((begins, drawn))
        text = self._stops.push(text)
        if self._stops.stopped:
            reason = "stop"
        elif reason is not None:
            text += self._stops.finish()
        self._sent += len(text)
        self.ended = reason is not None
        return Piece(text, self._told(), reason)

    @property
    def mean_logprob(self) -> float:
        """Log-probability per token that was drawn; there must be one."""
        return self.total_logprob / self.num_tokens

    def _told(self) -> Logprobs | None:
        """Of the tokens whose text has begun to go out; at the end of all that are left."""
        if self._logprobs is None:
            self._held.clear()
            return None
        told = [entry for entry in self._held if self.ended or entry[0] < self._sent]
        self._held = self._held[len(told) :]
        if self.ended:  # a stop text is not sent: its tokens stand where the text ends
            told = [(min(begins, self._sent), drawn) for begins, drawn in told]
        return logprobs_of(told, self._tokenizer, self._logprobs)


def echoed(tokenizer: Tokenizer, scored: Sequence[SampledToken], logprobs: int) -> Logprobs:
    """Log-probabilities of a prompt's tokens."""
    decoder, offset, entries = tokenizer.stream(), 0, []
    for drawn in scored:
        entries.append((offset, drawn))
        if drawn.token is not None:
            offset += len(decoder.push(drawn.token))
    return logprobs_of(entries, tokenizer, logprobs)


def logprobs_of(entries: Sequence[Entry], tokenizer: Tokenizer, most: int) -> Logprobs:
    """The API's lists for some tokens, with at most `most` alternatives each."""
    found = Logprobs(
        tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[], token_ids=[],
        top_token_ids=[], top_token_logprobs=[], top_token_texts=[],
    )  # fmt: skip
    for offset, drawn in entries:
        if drawn.token is None:
            continue
        text, own = token_text(tokenizer, drawn.token), _finite(drawn.logprob)
        best = drawn.alternatives[:most]
        texts, values = [token_text(tokenizer, token) for token, _ in best], []
        by_text: dict[str, float] = {}
        for each, (_, logprob) in zip(texts, best, strict=True):
            values.append(max(logprob, _LEAST_LOGPROB))
            by_text.setdefault(each, values[-1])
        if own is not None:
            by_text.setdefault(text, own)
        found["tokens"].append(text)
        found["token_logprobs"].append(own)
        found["top_logprobs"].append(by_text)
        found["text_offset"].append(offset)
        found["token_ids"].append(drawn.token)
        found["top_token_ids"].append([token for token, _ in best])
        found["top_token_logprobs"].append(values)
        found["top_token_texts"].append(texts)
    return found


def whole_of(parts: Sequence[Piece]) -> Piece:
    """All pieces of a choice as one."""
    return Piece(
        "".join(part.text for part in parts),
        joined([part.logprobs for part in parts]),
        parts[-1].finish_reason,
    )


def joined(parts: Sequence[Logprobs | None]) -> Logprobs | None:
    """The lists of several pieces one after the other; None where there are none."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    whole = {key: [entry for part in there for entry in part[key]] for key in there[0]}  # type: ignore[literal-required]
    return cast(Logprobs, whole)


def token_text(tokenizer: Tokenizer, token: int) -> str:
    r"""A token for a reader; one that is not whole UTF-8 as OpenAI writes it: `bytes:\xe2\x80`."""
    raw = tokenizer.token_bytes(token)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, _LEAST_LOGPROB)
