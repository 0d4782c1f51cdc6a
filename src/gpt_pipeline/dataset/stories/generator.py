"""The seeded stream of stories: what the rest of the package uses of this part."""

import functools
import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, get_args

from gpt_pipeline.dataset.stories import (
    plots_animals,
    plots_home,
    plots_outside,
    plots_people,
    plots_things,
    plots_wild,
)
from gpt_pipeline.dataset.stories.engine import CompiledPlot, Story, compile_plot, draw_story
from gpt_pipeline.dataset.stories.phrases import PHRASES, SENTENCES

VERSION = 2
"""Raised when the text of any story changes."""

Split = Literal["train", "val"]

PLOTS = (
    *plots_things.PLOTS,
    *plots_home.PLOTS,
    *plots_animals.PLOTS,
    *plots_wild.PLOTS,
    *plots_outside.PLOTS,
    *plots_people.PLOTS,
)


@functools.cache
def compiled_plots() -> Sequence[CompiledPlot]:
    """All plots, compiled on the first call (about 0.25 s)."""
    return tuple(compile_plot(plot, PHRASES, SENTENCES) for plot in PLOTS)


class StoryGenerator:
    """Stories number 0, 1, 2, ... of a seed and a split, each made on its own in constant time.

    Each story has a random stream of its own, seeded by a hash of seed, split and index. An option
    among n is drawn as int(random() * n), whose probability is 1/n up to 2**-53.
    """

    def __init__(self, seed: int, split: Split) -> None:
        if split not in get_args(Split):
            raise ValueError(f"split must be 'train' or 'val'; got {split!r}")
        self.seed = seed
        self.split = split

    def story(self, index: int) -> Story:
        """Story number `index`, the same one in every process and on every machine."""
        if index < 0:
            raise ValueError(f"index must be 0 or more; got {index}")
        key = f"{self.seed}:{self.split}:{index}".encode()
        rand = random.Random(int.from_bytes(blake2b(key, digest_size=16).digest(), "big")).random
        return draw_story(compiled_plots(), lambda n: int(rand() * n))
