"""The story generator: speed on one core, and what its stories are like.

make bench ARGS=stories
"""

import re
import statistics
import time

from gpt_pipeline.dataset.stories import StoryGenerator

NUM_STORIES = 30_000
ROUNDS = 5


def main() -> None:
    """Print a table."""
    generator = StoryGenerator(0, "train")
    stories = [generator.story(index) for index in range(NUM_STORIES)]
    rates = []
    for round_number in range(ROUNDS):
        start = time.perf_counter()
        size = sum(len(generator.story(round_number * 2000 + i).text) for i in range(2000))
        rates.append(size / (time.perf_counter() - start) / 1e6)
    num_bytes = sum(len(story.text) for story in stories)
    lengths = [len(story.text.split()) for story in stories]
    words = {word for story in stories for word in re.findall(r"[a-z']+", story.text.lower())}
    rows = [
        ("MB/s on one core (median of 5)", f"{statistics.median(rates):.1f}"),
        ("bits per byte of its choices", f"{sum(s.bits for s in stories) / num_bytes:.4f}"),
        ("bits a story", f"{sum(s.bits for s in stories) / NUM_STORIES:.0f}"),
        ("bytes a story", f"{num_bytes / NUM_STORIES:.0f}"),
        ("words a story", f"{min(lengths)} to {max(lengths)}, mean {statistics.mean(lengths):.0f}"),
        ("different words", f"{len(words):,}"),
        ("stories", f"{NUM_STORIES:,}, different: {len({s.text for s in stories}):,}"),
    ]
    print("| story generator | |\n| --- | --- |")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
