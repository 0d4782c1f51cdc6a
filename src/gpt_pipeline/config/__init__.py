"""The config of every command: its schema, its checks, and the slices that the code receives.

Hydra composes conf/ in `config.compose`, which is imported explicitly; `Config.parse` checks the
result and gives frozen objects. `TrainedConfig` and `GenerationConfig` are the parts of it that a
checkpoint stores.
"""

from gpt_pipeline.config.generation import MOST_LOGPROBS, SamplingConfig, ServeConfig, is_loopback
from gpt_pipeline.config.paths import expand_paths, expanded_path, portable_paths
from gpt_pipeline.config.problems import Key, float16_problem, keys, missing_keys, nearest
from gpt_pipeline.config.schema import (
    BlockConfig,
    CheckpointConfig,
    Config,
    GenerationConfig,
    LoggingConfig,
    ModelConfig,
    RuntimeConfig,
    ScheduleConfig,
    TrainedConfig,
)
from gpt_pipeline.config.slices import BatchSplit, GPTConfig, Sampling
from gpt_pipeline.config.text import (
    DatasetConfig,
    HubConfig,
    StoriesConfig,
    TextConfig,
    TokenizerConfig,
)

__all__ = [
    "MOST_LOGPROBS",
    "GPTConfig",
    "GenerationConfig",
    "BatchSplit",
    "BlockConfig",
    "CheckpointConfig",
    "Config",
    "DatasetConfig",
    "HubConfig",
    "Key",
    "LoggingConfig",
    "ModelConfig",
    "RuntimeConfig",
    "Sampling",
    "SamplingConfig",
    "ScheduleConfig",
    "ServeConfig",
    "StoriesConfig",
    "TextConfig",
    "TokenizerConfig",
    "TrainedConfig",
    "expand_paths",
    "expanded_path",
    "float16_problem",
    "is_loopback",
    "keys",
    "missing_keys",
    "nearest",
    "portable_paths",
]
