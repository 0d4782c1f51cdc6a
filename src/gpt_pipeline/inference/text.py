"""From the sampled tokens of a sample to its text, piece by piece: for commands and the server."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt_pipeline.inference.request import FinishReason, SampledToken
from gpt_pipeline.inference.stop_texts import StopTexts
from gpt_pipeline.tokenizer import Tokenizer


@dataclass(frozen=True)
class PlacedToken:
    """A token and the offset in the text, in characters, at which its own text begins.

    `sampled.token` is never None: end-of-text has its id here.
    """

    offset: int
    sampled: SampledToken


@dataclass(frozen=True)
class TextPiece:
    """What one token adds to a text.

    Attributes:
        text: whole characters, which may be none.
        tokens: the tokens whose text begins in this piece, if `TextDecoder` places them.
        finish_reason: None while the sample continues.
    """

    text: str
    tokens: tuple[PlacedToken, ...] = ()
    finish_reason: FinishReason | None = None


class TextDecoder:
    """Decodes the tokens of one sample up to the first stop text.

    A piece never ends within a character, and a stop text may be split between tokens in any way.

    Args:
        tokenizer: the model's.
        stops: texts that end the sample; they are not part of it.
        place_tokens: whether pieces contain their tokens with offsets. All sampled tokens are
            reported, also those of a stop text and end-of-text, which have no text.
        offset: where the text begins, such as after an echoed prompt.

    Attributes:
        num_tokens: how many were sampled.
        total_logprob: the sum of their log-probabilities, if the engine reports these.
        finish_reason: None while the sample continues; a stop text ends it too.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Sequence[str] = (),
        *,
        place_tokens: bool = False,
        offset: int = 0,
    ) -> None:
        self.num_tokens = 0
        self.total_logprob = 0.0
        self.finish_reason: FinishReason | None = None
        self._eot_id, self._place_tokens = tokenizer.eot_id, place_tokens
        self._stream, self._stops = tokenizer.stream(), StopTexts(stops)
        self._decoded = self._sent = offset
        self._held: list[PlacedToken] = []

    @property
    def mean_logprob(self) -> float:
        """Log-probability per sampled token; there must be one."""
        return self.total_logprob / self.num_tokens

    def push(self, sampled: SampledToken) -> TextPiece:
        """Decode the next token."""
        text, reason, begin = "", sampled.finish_reason, self._decoded
        if sampled.token is not None:
            text = self._stream.push(sampled.token)
        if reason is not None:
            text += self._stream.finish()
        self._decoded += len(text)
        if sampled.token is None:
            begin, sampled = self._decoded, replace(sampled, token=self._eot_id)
        self.num_tokens += 1
        self.total_logprob += sampled.logprob or 0.0
        text = self._stops.push(text)
        if self._stops.stopped:
            reason = "stop"
        elif reason is not None:
            text += self._stops.finish()
        self._sent += len(text)
        self.finish_reason = reason
        tokens: tuple[PlacedToken, ...] = ()
        if self._place_tokens:
            self._held.append(PlacedToken(begin, sampled))
            tokens = self._begun()
        return TextPiece(text, tokens, reason)

    def _begun(self) -> tuple[PlacedToken, ...]:
        """The tokens whose text has begun to be sent; at the end all that are left."""
        ended = self.finish_reason is not None
        begun = [token for token in self._held if ended or token.offset < self._sent]
        self._held = self._held[len(begun) :]
        if ended:  # a stop text is not sent: its tokens are placed where the text ends
            begun = [replace(token, offset=min(token.offset, self._sent)) for token in begun]
        return tuple(begun)


def place_tokens(tokens: Sequence[SampledToken], tokenizer: Tokenizer) -> tuple[PlacedToken, ...]:
    """The tokens of a whole text with their offsets."""
    stream, offset, placed = tokenizer.stream(), 0, []
    for sampled in tokens:
        placed.append(PlacedToken(offset, sampled))
        if sampled.token is not None:
            offset += len(stream.push(sampled.token))
    return tuple(placed)
