"""Text from a model: backends compute logits, `Engine` decodes samples side by side.

backends/ has what computes the logits, sampling.py chooses each token, text.py decodes tokens to
text, and `TextGenerator` puts them together.
"""

from gpt_pipeline.inference.backends import (
    Backend,
    plain_backend,
    prepare,
    prepare_as_configured,
)
from gpt_pipeline.inference.engine import Engine
from gpt_pipeline.inference.generator import Sample, TextGenerator, one_sample
from gpt_pipeline.inference.logprobs import score
from gpt_pipeline.inference.penalties import check_logit_bias
from gpt_pipeline.inference.prompts import check_prompt_length, document_ids
from gpt_pipeline.inference.request import Alternatives, FinishReason, Request, SampledToken
from gpt_pipeline.inference.text import PlacedToken, TextDecoder, TextPiece, place_tokens

__all__ = [
    "Alternatives",
    "Backend",
    "Engine",
    "FinishReason",
    "PlacedToken",
    "Request",
    "Sample",
    "SampledToken",
    "TextDecoder",
    "TextGenerator",
    "TextPiece",
    "check_logit_bias",
    "check_prompt_length",
    "document_ids",
    "one_sample",
    "place_tokens",
    "plain_backend",
    "prepare",
    "prepare_as_configured",
    "score",
]
