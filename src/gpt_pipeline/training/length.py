"""How long a run is: the batch arithmetic, and how far a state has come."""

from dataclasses import dataclass

from gpt_pipeline.config import ModelConfig, ScheduleConfig
from gpt_pipeline.training.state import TrainState


@dataclass(frozen=True)
class RunLength:
    """Windows, steps and tokens of a run. `windows_per_epoch` is what the data has."""

    model: ModelConfig
    schedule: ScheduleConfig
    windows_per_epoch: int

    @property
    def micro_batch_size(self) -> int:
        """Windows that go through the model at once."""
        return self.model.batch_split().micro_batch_size

    @property
    def windows_per_step(self) -> int:
        """Windows that one optimizer step goes through."""
        return self.model.batch_split().windows_per_step

    @property
    def tokens_per_step(self) -> int:
        """micro_batch_size x max_length x grad_accumulation."""
        return self.windows_per_step * self.model.max_length

    @property
    def num_windows(self) -> int:
        """Windows of the whole run, at this number per step."""
        if self.schedule.max_steps is not None:
            return self.schedule.max_steps * self.windows_per_step
        return self.model.num_epochs * self.windows_per_epoch

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run, unless schedule.max_minutes ends it before."""
        return -(-self.num_windows // self.windows_per_step)

    def windows_left(self, state: TrainState) -> int:
        """Windows from a state to the end, whatever number per step the run had before.

        Where schedule.max_steps gives the length, steps are counted; where epochs do, windows.
        """
        if self.schedule.max_steps is not None:
            return max(0, self.schedule.max_steps - state.step) * self.windows_per_step
        return max(0, self.num_windows - state.position)

    def next_windows(self, state: TrainState) -> int:
        """Windows of the next step; the last one of an epoch run may have fewer."""
        return min(self.windows_per_step, self.windows_left(state))

    def last_step(self, state: TrainState) -> int:
        """The number of the step that ends the run."""
        return state.step + -(-self.windows_left(state) // self.windows_per_step)

    def progress(self, state: TrainState) -> float:
        """Share of the run that is done, by steps or windows, or by time where that ends it."""
        if self.schedule.max_steps is not None:
            done = state.step / self.schedule.max_steps
        else:
            done = state.position / self.num_windows
        if self.schedule.max_minutes is not None:
            done = max(done, state.elapsed_s / (60 * self.schedule.max_minutes))
        return min(done, 1.0)

    def progress_after_warmup(self, state: TrainState) -> float:
        """The same, counted from the end of the warm-up; what the learning rate follows."""
        warmup = self.model.warmup_steps / self.num_steps
        return (self.progress(state) - warmup) / (1 - warmup) if warmup < 1 else 0.0

    def is_complete(self, state: TrainState) -> bool:
        """Whether nothing is left to train."""
        return self.progress(state) >= 1.0
