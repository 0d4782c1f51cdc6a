"""What computes the logits: PyTorch, CUDA graphs or C, behind one protocol (`Backend`).

`prepare` chooses the fastest backend that supports a model; `plain_backend` leaves the model as
it is, for sampling between training steps.
"""

from gpt_pipeline.inference.backends.backend import Backend, DecodingCache
from gpt_pipeline.inference.backends.choose import plain_backend, prepare, prepare_as_configured

__all__ = ["Backend", "DecodingCache", "plain_backend", "prepare", "prepare_as_configured"]
