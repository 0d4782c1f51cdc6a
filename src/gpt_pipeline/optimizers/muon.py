"""Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"."""

from typing import ClassVar, Literal

from gpt_pipeline.optimizers.base import OptimizerSection
from gpt_pipeline.section import Count, Positive, Rate


class MuonConfig(OptimizerSection):
    """Muon for the matrices of the blocks, AdamW for the other weights."""

    supports_float16: ClassVar[bool] = False

    name: Literal["muon"]
    """muon: Muon for the matrices of the blocks, AdamW for the other weights"""
    beta1: Rate
    """decay of AdamW's running mean of the gradient"""
    beta2: Rate
    """decay of AdamW's running mean of the squared gradient"""
    eps: Positive
    """added to AdamW's denominator for numerical stability"""
    momentum: Rate
    """decay of Muon's running mean of the gradient"""
    ns_steps: Count
    """Newton-Schulz iterations that orthogonalize Muon's update"""
    muon_lr_scale: Positive
    """Muon's learning rate as a multiple of model.learning_rate"""
