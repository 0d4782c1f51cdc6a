"""Optimizers, one file each: its keys, and how it is built.

A new optimizer is a file here, an option in conf/optimizer/, its import below, and its place in
`OptimizerConfig`. This part is imported by config/ and by `--help`, so no file here imports torch
before it builds an optimizer.
"""

from typing import Annotated

from pydantic import Field

from gpt_pipeline.optimizers.adamw import AdamWConfig
from gpt_pipeline.optimizers.base import OptimizerSection
from gpt_pipeline.optimizers.muon import MuonConfig
from gpt_pipeline.optimizers.schedulefree import ScheduleFreeConfig

OptimizerConfig = Annotated[
    AdamWConfig | MuonConfig | ScheduleFreeConfig, Field(discriminator="name")
]
"""The keys of the group `optimizer`: `name` decides which of the classes checks them."""

__all__ = ["AdamWConfig", "MuonConfig", "OptimizerConfig", "OptimizerSection"]
