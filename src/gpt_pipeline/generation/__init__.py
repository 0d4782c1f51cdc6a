"""Text from a model: `Engine` makes many samples at once, sampling.py draws each token."""

from gpt_pipeline.generation.engine import Engine
from gpt_pipeline.generation.generate import Sample, Step, collect, finished, generate
from gpt_pipeline.generation.logprobs import score
from gpt_pipeline.generation.prompt import document_ids
from gpt_pipeline.generation.request import Alternatives, Drawn, FinishReason, Request
from gpt_pipeline.generation.stop_texts import StopTexts
from gpt_pipeline.generation.text import TextSample, TextStream

__all__ = [
    "Alternatives",
    "Drawn",
    "Engine",
    "FinishReason",
    "Request",
    "Sample",
    "Step",
    "StopTexts",
    "TextSample",
    "TextStream",
    "collect",
    "document_ids",
    "finished",
    "generate",
    "score",
]
