"""dataset=stories: the generator's stories, made in whichever process encodes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gpt_pipeline.dataset.corpus import Encoded, Work, encode_texts
from gpt_pipeline.dataset.stories import VERSION, Story, StoryGenerator
from gpt_pipeline.tokenizer import Tokenizer

BATCH_STORIES = 300


@dataclass(frozen=True)
class StoryRange:
    """Stories start .. stop-1 of a split."""

    seed: int
    split: Literal["train", "val"]
    start: int
    stop: int

    def texts(self) -> Sequence[str]:
        """Their texts."""
        return [story.text for story in self._stories()]

    def encode(self, tokenizer: Tokenizer) -> Encoded:
        """Their ids, with the bits that the generator spent on them."""
        stories = self._stories()
        bits = sum(story.bits for story in stories)
        return encode_texts([story.text for story in stories], tokenizer, floor_bits=bits)

    def _stories(self) -> list[Story]:
        generator = StoryGenerator(self.seed, self.split)
        return [generator.story(index) for index in range(self.start, self.stop)]


@dataclass(frozen=True)
class StoryCorpus:
    """The first `count` stories of a split."""

    seed: int
    split: Literal["train", "val"]
    count: int

    @property
    def source(self) -> str:
        """What was generated."""
        return f"{self.count} generated stories ({self.split}, seed {self.seed})"

    def fingerprint(self) -> str:
        """The generator's version and what it was asked for."""
        return f"stories:{VERSION}:{self.seed}:{self.split}:{self.count}"

    def total(self) -> int | None:
        """All that were asked for."""
        return self.count

    def work(self) -> Iterator[Work]:
        """The stories."""
        for start in range(0, self.count, BATCH_STORIES):
            stop = min(start + BATCH_STORIES, self.count)
            yield StoryRange(self.seed, self.split, start, stop)
