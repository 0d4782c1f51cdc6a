"""AdamW: Loshchilov and Hutter, arXiv 1711.05101."""

from typing import Literal

from gpt_pipeline.optimizers.base import OptimizerSection
from gpt_pipeline.section import Positive, Rate


class AdamWConfig(OptimizerSection):
    """AdamW for all weights."""

    name: Literal["adamw"]
    """adamw: AdamW for all weights"""
    beta1: Rate
    """decay of AdamW's running mean of the gradient"""
    beta2: Rate
    """decay of AdamW's running mean of the squared gradient"""
    eps: Positive
    """added to AdamW's denominator for numerical stability"""
