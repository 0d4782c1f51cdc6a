"""The memory of a run from its shape alone, in no time: whether it is worth measuring at all."""

from gpt_pipeline.config import Config
from gpt_pipeline.model import meta_model

_WITH_SNAPSHOT = 7 / 4
"""A checkpoint written beside the training needs weights and moments a second time, not
gradients.
"""
_WIDTHS, _HIDDEN_WIDTHS = 24, 8
"""Numbers of 4 bytes that a layer keeps of a token for the backward pass, in widths: more than
any model here was seen to keep (docs/benchmarks.md)."""
_LOGIT_BYTES = 10
"""A logit of an evaluation that computes all of a micro-batch at once."""


def at_least_bytes(config: Config) -> int:
    """Memory that no run of the model goes below: its weights, gradients and moments."""
    return config.optimizer.training_bytes(meta_model(config.gpt_config()))


def rough_bytes(config: Config) -> int:
    """Memory of a run, program left out, rather too much than too little."""
    m, split = config.gpt_config(), config.model.batch_split()
    held = round(at_least_bytes(config) * _WITH_SNAPSHOT)
    layer = 4 * (_WIDTHS * m.embed_dim + _HIDDEN_WIDTHS * m.ff_hidden_dim)
    token = m.num_layers * layer + _LOGIT_BYTES * m.vocab_size
    return held + split.micro_batch_size * m.max_length * token
