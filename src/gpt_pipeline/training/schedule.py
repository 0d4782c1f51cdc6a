"""The learning rate's course: linear warm-up, then a cosine down to the minimum."""

import math

from gpt_pipeline.config import ModelConfig


def learning_rate(model: ModelConfig, step: int, progress: float) -> float:
    """The learning rate of one optimizer step.

    1. During the first `warmup_steps` steps it rises linearly to `learning_rate`.
    2. After them it falls along half a cosine (Loshchilov & Hutter, arXiv 1608.03983).
    3. At the end of the run it is `min_lr`.

    Args:
        model: the peak, the minimum and the warm-up.
        step: steps done before this one.
        progress: how far the part after the warm-up has come, from 0 to 1.
    """
    if step < model.warmup_steps:
        return model.learning_rate * (step + 1) / (model.warmup_steps + 1)
    share = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    return model.min_lr + share * (model.learning_rate - model.min_lr)
