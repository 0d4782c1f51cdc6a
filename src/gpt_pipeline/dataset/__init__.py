"""Text to token files, and token files to the windows that a model is trained on."""

from gpt_pipeline.dataset.loader import TrainingSet, ValidationSet
from gpt_pipeline.dataset.prepare import Prepared, prepare, prepare_validation
from gpt_pipeline.dataset.token_file import Sidecar, open_tokens, read_sidecar, verify_token_file
from gpt_pipeline.dataset.windows import IGNORED, TrainingOrder, Windows

__all__ = [
    "IGNORED",
    "Prepared",
    "Sidecar",
    "TrainingOrder",
    "TrainingSet",
    "ValidationSet",
    "Windows",
    "open_tokens",
    "prepare",
    "prepare_validation",
    "read_sidecar",
    "verify_token_file",
]
