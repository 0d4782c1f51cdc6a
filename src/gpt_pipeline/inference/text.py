"""A sample as text: its pieces as the tokens come, up to a stop text."""

from collections.abc import Sequence
from typing import Protocol

from gpt_pipeline.inference.request import FinishReason, SampledToken
from gpt_pipeline.inference.stop_texts import StopTexts


class TextStream(Protocol):
    """Turns token ids into text one by one; a piece never ends within a character."""

    def push(self, token_id: int) -> str:
        """The text that is whole now."""

    def finish(self) -> str:
        """What is left."""


class TextSample:
    """Takes in what is drawn for a sample, and gives its text.

    Attributes:
        drawn: everything so far, a stop text's tokens included.
        text: what of it may be shown; it ends before a stop text.
        finish_reason: None while the sample goes on; a stop text ends it too.
    """

    def __init__(self, stream: TextStream, stops: Sequence[str] = ()) -> None:
        self._stream, self._stops = stream, StopTexts(stops)
        self.drawn: list[SampledToken] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None

    @property
    def tokens(self) -> list[int]:
        """The ids that were drawn, end-of-text left out."""
        return [one.token for one in self.drawn if one.token is not None]

    def take(self, drawn: SampledToken) -> str:
        """Take in the next token; the text that it brings."""
        self.drawn.append(drawn)
        piece = "" if drawn.token is None else self._stops.push(self._stream.push(drawn.token))
        self.finish_reason = "stop" if self._stops.stopped else drawn.finish_reason
        if self.finish_reason is not None:
            piece += self._stops.push(self._stream.finish()) + self._stops.finish()
        self.text += piece
        return piece
