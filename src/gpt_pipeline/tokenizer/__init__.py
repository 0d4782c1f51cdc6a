"""Text to token ids and back: GPT-2's vocabulary, one trained here, or plain bytes."""

from gpt_pipeline.tokenizer.gpt2_files import gpt2
from gpt_pipeline.tokenizer.hub import without_retries
from gpt_pipeline.tokenizer.tokenizer import END_OF_TEXT, StreamDecoder, Tokenizer
from gpt_pipeline.tokenizer.train import (
    SMALLEST_VOCABULARY,
    byte_tokenizer,
    train_bpe,
    train_bpe_on_words,
)

__all__ = [
    "END_OF_TEXT",
    "SMALLEST_VOCABULARY",
    "StreamDecoder",
    "Tokenizer",
    "byte_tokenizer",
    "gpt2",
    "train_bpe",
    "train_bpe_on_words",
    "without_retries",
]
