"""Text to token files, and token files to the windows that a model is trained on."""

from gpt_pipeline.dataset.bare_tokens import GPT2_VOCABULARY
from gpt_pipeline.dataset.known import KnownData, known_data
from gpt_pipeline.dataset.loader import TrainingSet, ValidationSet
from gpt_pipeline.dataset.make_tokenizer import verify_tokenizer_file
from gpt_pipeline.dataset.overlap import Overlap, find_overlap
from gpt_pipeline.dataset.prepare import Prepared, prepare, prepare_validation, validation_of_run
from gpt_pipeline.dataset.sidecar import Sidecar, read_sidecar
from gpt_pipeline.dataset.token_file import open_tokens, verify_token_file
from gpt_pipeline.dataset.windows import IGNORED, TrainingOrder, Windows

__all__ = [
    "GPT2_VOCABULARY",
    "IGNORED",
    "KnownData",
    "Overlap",
    "Prepared",
    "Sidecar",
    "TrainingOrder",
    "TrainingSet",
    "ValidationSet",
    "Windows",
    "find_overlap",
    "known_data",
    "open_tokens",
    "prepare",
    "prepare_validation",
    "read_sidecar",
    "validation_of_run",
    "verify_token_file",
    "verify_tokenizer_file",
]
