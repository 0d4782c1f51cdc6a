"""Where a run starts."""

import torch

from gpt_pipeline.config import Config
from gpt_pipeline.model import GPTModel


def new_model(config: Config, device: torch.device) -> GPTModel:
    """The model with the initial weights that runtime.seed names; seeds torch with it."""
    torch.manual_seed(config.runtime.seed)
    return GPTModel(config.gpt_config()).to(device)
