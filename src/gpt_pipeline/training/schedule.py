"""The length of a run in windows and steps, and its learning rate at each step."""

import math
from dataclasses import dataclass

from gpt_pipeline.config import ModelConfig, ScheduleConfig
from gpt_pipeline.training.state import TrainState


@dataclass(frozen=True)
class RunLength:
    """Windows, steps and tokens of a run; `windows_per_epoch` is the size of the data."""

    model: ModelConfig
    schedule: ScheduleConfig
    windows_per_epoch: int

    @property
    def micro_batch_size(self) -> int:
        """Windows per micro-batch."""
        return self.model.batch_split().micro_batch_size

    @property
    def windows_per_step(self) -> int:
        """Windows per optimizer step."""
        return self.model.batch_split().windows_per_step

    @property
    def tokens_per_step(self) -> int:
        """Tokens per optimizer step: micro_batch_size x max_length x grad_accumulation."""
        return self.windows_per_step * self.model.max_length

    @property
    def num_windows(self) -> int:
        """Windows of the whole run, at the present number per step."""
        if self.schedule.max_steps is not None:
            return self.schedule.max_steps * self.windows_per_step
        return self.model.num_epochs * self.windows_per_epoch

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run, unless schedule.max_minutes ends it earlier."""
        return -(-self.num_windows // self.windows_per_step)

    def windows_left(self, state: TrainState) -> int:
        """Windows from a state to the end of the run.

        A resumed run may have another number of windows per step than before: schedule.max_steps
        counts steps, and epochs count windows.
        """
        if self.schedule.max_steps is not None:
            return max(0, self.schedule.max_steps - state.step) * self.windows_per_step
        return max(0, self.num_windows - state.position)

    def next_windows(self, state: TrainState) -> int:
        """Windows of the next step; the last step of a run by epochs may have fewer."""
        return min(self.windows_per_step, self.windows_left(state))

    def last_step(self, state: TrainState) -> int:
        """The number of the step that ends the run."""
        return state.step + -(-self.windows_left(state) // self.windows_per_step)

    def progress(self, state: TrainState) -> float:
        """Share of the run that is done, 0 to 1, by steps, windows or time."""
        if self.schedule.max_steps is not None:
            done = state.step / self.schedule.max_steps
        else:
            done = state.position / self.num_windows
        if self.schedule.max_minutes is not None:
            done = max(done, state.elapsed_s / (60 * self.schedule.max_minutes))
        return min(done, 1.0)

    def progress_after_warmup(self, state: TrainState) -> float:
        """Share of the run after warm-up that is done, which the learning rate follows."""
        warmup = self.model.warmup_steps / self.num_steps
        return (self.progress(state) - warmup) / (1 - warmup) if warmup < 1 else 0.0

    def is_complete(self, state: TrainState) -> bool:
        """Whether nothing is left to train."""
        return self.progress(state) >= 1.0


def learning_rate(
    model: ModelConfig, schedule: ScheduleConfig, step: int, progress: float
) -> float:
    """The learning rate of one optimizer step.

    During the first `warmup_steps` steps it increases linearly to `learning_rate`. After that:

    - `cosine`: half a cosine to `min_lr` (Loshchilov & Hutter, arXiv 1608.03983);
    - `wsd`: constant, then linear to `min_lr` in the last `decay_share` of the run (Hu et al.
      2024, "MiniCPM", section 4.2; linear: Haegele et al. 2024, arXiv 2405.18392);
    - `constant`: no decay, `min_lr` is not used.

    Args:
        model: the peak, the minimum and the warm-up.
        schedule: the kind of decay.
        step: number of steps before this one.
        progress: share of the run after warm-up that is done, 0 to 1.
    """
    if step < model.warmup_steps:
        return model.learning_rate * (step + 1) / (model.warmup_steps + 1)
    if schedule.name == "constant":
        return model.learning_rate
    left = 1.0 - min(progress, 1.0)
    if schedule.name == "cosine":
        share = 0.5 * (1.0 - math.cos(math.pi * left))
    else:
        share = min(1.0, left / schedule.decay_share)
    return model.min_lr + share * (model.learning_rate - model.min_lr)
