"""Children's stories made from plots: seeded, without a network, and of exactly known entropy."""

from gpt_pipeline.dataset.stories.engine import Story
from gpt_pipeline.dataset.stories.generator import VERSION, StoryGenerator

__all__ = ["VERSION", "Story", "StoryGenerator"]
