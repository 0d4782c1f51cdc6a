"""Text from a model: `Engine` makes many samples at once, sampling.py draws each token."""

from gpt_pipeline.inference.engine import Engine
from gpt_pipeline.inference.generate import Sample, Step, collect, finished, generate
from gpt_pipeline.inference.logprobs import score
from gpt_pipeline.inference.prompt import document_ids
from gpt_pipeline.inference.request import Alternatives, FinishReason, Request, SampledToken
from gpt_pipeline.inference.stop_texts import StopTexts
from gpt_pipeline.inference.text import TextSample, TextStream

__all__ = [
    "Alternatives",
    "SampledToken",
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
