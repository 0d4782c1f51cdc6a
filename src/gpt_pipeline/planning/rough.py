"""The memory of a run from its shape alone, in no time: whether it is worth measuring at all."""

import torch

from gpt_pipeline.config import Config
from gpt_pipeline.model import GPTModel

_STATE_BYTES = 16
"""A parameter in float32: weight, gradient and two moments."""
_SNAPSHOT_BYTES = 12
_WIDTHS, _HIDDEN_WIDTHS = 24, 8
"""Numbers of 4 bytes that a layer keeps of a token for the backward pass, in widths: more than
any model here was seen to keep (docs/benchmarks.md)."""
_LOGIT_BYTES = 10
"""A logit of an evaluation that computes all of a micro-batch at once."""


def at_least_bytes(config: Config) -> int:
    """Memory that no run of the model goes below: its weights, gradients and moments."""
    with torch.device("meta"):
        parameters = GPTModel(config.architecture()).num_parameters()
    return _STATE_BYTES * parameters


def rough_bytes(config: Config) -> int:
    """Memory of a run, program left out, rather too much than too little."""
    m, split = config.architecture(), config.model.batch_split()
    held = at_least_bytes(config) * (_STATE_BYTES + _SNAPSHOT_BYTES) // _STATE_BYTES
    layer = 4 * (_WIDTHS * m.embed_dim + _HIDDEN_WIDTHS * m.ff_hidden_dim)
    token = m.num_layers * layer + _LOGIT_BYTES * m.vocab_size
    return held + split.micro_batch_size * m.max_length * token
