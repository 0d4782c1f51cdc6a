"""The config of every command: its schema, its checks, and the slices that the code works with.

Hydra composes conf/ (cli/compose.py); `Config.parse` checks the result and gives frozen objects.
"""

from gpt_pipeline.config.generation import MOST_LOGPROBS, SamplingConfig, ServeConfig, is_loopback
from gpt_pipeline.config.paths import expand_paths, expanded_path, portable_paths
from gpt_pipeline.config.problems import MUON_IN_FLOAT16, Key, keys, nearest
from gpt_pipeline.config.schema import (
    BlockConfig,
    CheckpointConfig,
    Config,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    RuntimeConfig,
    ScheduleConfig,
)
from gpt_pipeline.config.slices import BatchSplit, GPTConfig, Sampling
from gpt_pipeline.config.text import DatasetConfig, TokenizerConfig

__all__ = [
    "MOST_LOGPROBS",
    "MUON_IN_FLOAT16",
    "GPTConfig",
    "BatchSplit",
    "BlockConfig",
    "CheckpointConfig",
    "Config",
    "DatasetConfig",
    "Key",
    "LoggingConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RuntimeConfig",
    "Sampling",
    "SamplingConfig",
    "ScheduleConfig",
    "ServeConfig",
    "TokenizerConfig",
    "expand_paths",
    "expanded_path",
    "is_loopback",
    "keys",
    "nearest",
    "portable_paths",
]
