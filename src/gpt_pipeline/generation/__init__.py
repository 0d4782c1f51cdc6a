"""Text from a model: `generate` runs it token by token, sampling.py draws each token."""

from gpt_pipeline.generation.generate import FinishReason, Sample, Step, collect, generate

__all__ = ["FinishReason", "Sample", "Step", "collect", "generate"]
