"""The training loop: batch, step, log, evaluate, save, stop. It knows nothing of text."""

import math
import time
from contextlib import AbstractContextManager

from torch import Tensor

from gpt_pipeline.checkpoint import Checkpoint, CheckpointStore
from gpt_pipeline.metrics.evaluator import Evaluator, ValidationWindows
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tracking.metrics_file import MetricsFile
from gpt_pipeline.training.checkpointing import Checkpointer
from gpt_pipeline.training.diagnosis import first_not_finite
from gpt_pipeline.training.hooks import Hooks, Outcome, TrainingWindows
from gpt_pipeline.training.interrupt import Interruption, OutOfMemory
from gpt_pipeline.training.log import TrainingLog
from gpt_pipeline.training.rollback import Rollbacks, StepRecord
from gpt_pipeline.training.schedule import RunLength, learning_rate
from gpt_pipeline.training.state import TrainState, random_states_unless_done
from gpt_pipeline.training.step import OptimizerStep, StepInterrupted, dropout_seeds
from gpt_pipeline.training.throughput_meter import ThroughputMeter


class Trainer:
    """One run, from its current state to its end."""

    def __init__(
        self,
        model: GPTModel,
        train: TrainingWindows,
        val: ValidationWindows | None,
        *,
        store: CheckpointStore,
        precision: Precision,
    ) -> None:
        config = store.config
        self.model, self.train, self.val = model, train, val
        self.store, self.precision, self.config = store, precision, config
        self.length = RunLength(config.model, config.schedule, train.num_windows)
        self.state = TrainState()
        self.meter = ThroughputMeter(model, precision)
        self.interruption = Interruption()
        self.step = OptimizerStep(
            model,
            config,
            precision,
            check=self.interruption.check,
            waiting=self.meter.clock.waiting,
        )
        self.evaluator = Evaluator(
            model,
            precision,
            micro_batch_size=self.length.micro_batch_size,
            check=self.interruption.check,
        )
        self.checkpointer = Checkpointer(store, model, self.step, self.state, self.length)
        self.rollbacks = Rollbacks(
            self.state,
            self.checkpointer,
            max_bad_steps=config.runtime.max_bad_steps,
            diagnose=self._diagnose,
        )
        self.log = TrainingLog(config, self.length, self.state)
        self._started = time.perf_counter()
        self._val_loss: float | None = None
        """Of a partial evaluation at this step; None if there was none."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest complete checkpoint of the run."""
        return self.checkpointer.checkpoint

    def compile(self, *, required: bool) -> None:
        """Compile the step. A failure is an error if `required`, else a warning."""
        self.step.compile(required=required)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Restore the run from a checkpoint; see `Checkpointer.restore`."""
        self.checkpointer.restore(checkpoint)

    def evaluation_weights(self) -> AbstractContextManager[None]:
        """A context in which the model has the weights to evaluate and to sample from.

        They differ from those that are trained if the optimizer averages them.
        """
        return self.step.optimizer.evaluation_weights()

    def run(self, metrics: MetricsFile, hooks: Hooks) -> Outcome:
        """Train until the run is complete or `hooks.stop` returns true, and save.

        If memory runs out, the last complete step is saved too, and the outcome has the reason.

        Raises:
            TrainingError: too many steps were not finite, despite two rollbacks.
            CheckpointError: the last checkpoint cannot be saved.
        """
        state, out_of_memory = self.state, None
        self._started = time.perf_counter() - state.elapsed_s
        self.step.make_interruptible()
        self.model.train()
        try:
            while not state.finished and not hooks.stop():
                if not self._evaluation_is_due:
                    self._train_step(metrics, hooks)
                evaluated, best = self._evaluation_is_due, False
                if evaluated:
                    best = self._evaluate(metrics, hooks)
                self.checkpointer.save_if_due(
                    metrics, best=best, val_loss=self._val_loss, stop=hooks.stop
                )
                if evaluated:  # after the save: the hook may take long, or end the process
                    with self.evaluation_weights():
                        hooks.evaluated(state.step, self.model)
        except StepInterrupted as error:  # after this block, the tensors of its frames are freed
            out_of_memory = str(error) if isinstance(error, OutOfMemory) else None
        finally:
            self.checkpointer.close()
        if not self.step.moving:  # else the weights are incomplete, and the last save counts
            self.rollbacks.check(metrics)
            self.checkpointer.save_last(metrics, val_loss=self._val_loss, stop=hooks.stop)
        return Outcome(state.finished, self.checkpoint, out_of_memory)

    def _train_step(self, metrics: MetricsFile, hooks: Hooks) -> None:
        """Do one optimizer step and log it; a step that is not finite is skipped."""
        state, clock = self.state, self.meter.clock
        count = self.length.next_windows(state)
        clock.start()
        with clock.waiting():
            batch = self.train.batch(state.position, count)
        lr = self._learning_rate()
        with (
            random_states_unless_done(self.precision.device),
            self.interruption.allowed(hooks.interrupt),
        ):
            result = self.step(
                batch,
                micro_batch_size=self.length.micro_batch_size,
                lr=lr,
                tokens=self.train.num_targets(state.position, count),
                seeds=self._seeds(state.position, count),
            )
        record = StepRecord(state.step + 1, state.position, count, lr, result)
        state.step += 1
        state.position += count
        state.tokens += result.tokens
        if known := self._needs_figures():
            self.log.wait_for(result)
        clock.stop(result.tokens)
        state.elapsed_s = time.perf_counter() - self._started
        state.validation = self._val_loss = None
        self.rollbacks.add(record)
        speed = self.meter.speed(may_wait=known)
        hooks.stepped(self.log.step(metrics, record, speed))
        if known:
            self.rollbacks.check(metrics)

    def _evaluate(self, metrics: MetricsFile, hooks: Hooks) -> bool:
        """Evaluate on a part of the validation data, at the end of the run also on all of it.

        Returns whether the partial evaluation is the best so far. Until this is done,
        `state.pending` says that it is due.
        """
        state, best, figures = self.state, False, None
        complete = self.length.is_complete(state)
        if self.val is not None:
            with (
                self.evaluation_weights(),
                self.interruption.allowed(hooks.interrupt),
            ):
                partial = self.evaluator(self.val, self.config.model.eval_iter)
                figures = self.evaluator(self.val) if complete else partial
            best = math.isfinite(partial.loss) and (
                state.best_val_loss is None or partial.loss < state.best_val_loss
            )
            if best:
                state.best_val_loss = partial.loss
            if complete and math.isfinite(figures.loss):
                state.validation = figures.as_dict()
            self._val_loss = partial.loss
        self.log.evaluation(metrics, figures)
        state.finished = complete
        return best

    @property
    def _evaluation_is_due(self) -> bool:
        return self.state.pending is not None or self.length.is_complete(self.state)

    def _learning_rate(self) -> float:
        state, config = self.state, self.config
        progress = self.length.progress_after_warmup(state)
        return state.lr_scale * learning_rate(config.model, config.schedule, state.step, progress)

    def _needs_figures(self) -> bool:
        """Whether the host waits for a step: to log it, or because its state may be saved."""
        step, config = self.state.step, self.config
        often = (config.logging.log_every, config.model.eval_freq, config.checkpoint.save_every)
        due = step == 1 or self.length.is_complete(self.state) or self.state.bad_steps > 0
        return self.step.waits or due or any(step % every == 0 for every in often)

    def _diagnose(self, record: StepRecord) -> str:
        batch = self.train.batch(record.position, record.windows)
        seeds = self._seeds(record.position, record.windows)
        return first_not_finite(self.step, batch, self.length.micro_batch_size, seeds)

    def _seeds(self, position: int, count: int) -> Tensor:
        return dropout_seeds(self.config.runtime.seed, position, count)
