"""The learning rate's course: linear warm-up, then down to the minimum."""

import math

from gpt_pipeline.config import ModelConfig, ScheduleConfig


def learning_rate(
    model: ModelConfig, schedule: ScheduleConfig, step: int, progress: float
) -> float:
    """The learning rate of one optimizer step.

    1. During the first `warmup_steps` steps it rises linearly to `learning_rate`.
    2. After them it falls: `cosine` along half a cosine (Loshchilov & Hutter, arXiv 1608.03983);
       `wsd` stays, and falls in a straight line in the last `decay_share` (Hu et al. 2024,
       "MiniCPM", section 4.2; the straight line: Haegele et al. 2024, arXiv 2405.18392).
    3. At the end of the run it is `min_lr`.

    Args:
        model: the peak, the minimum and the warm-up.
        schedule: the course.
        step: steps done before this one.
        progress: how far the part after the warm-up has come, from 0 to 1.
    """
    if step < model.warmup_steps:
        return model.learning_rate * (step + 1) / (model.warmup_steps + 1)
    left = 1.0 - min(progress, 1.0)
    if schedule.name == "cosine":
        share = 0.5 * (1.0 - math.cos(math.pi * left))
    else:
        share = min(1.0, left / schedule.decay_share)
    return model.min_lr + share * (model.learning_rate - model.min_lr)
