"""The only training loop. It knows windows of token ids, and nothing of text."""

import logging
import math
import time

import torch
from torch import Tensor

from gpt_pipeline.checkpoint import Checkpoint, CheckpointStore, TrainingPart, load_weights
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.metrics import Evaluation, evaluate, scored
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tracking.metrics_file import MetricsFile, without_nan
from gpt_pipeline.training.checkpointing import Checkpointer
from gpt_pipeline.training.diagnosis import first_not_finite
from gpt_pipeline.training.entries import base_entry, evaluation_entry, step_entry
from gpt_pipeline.training.hooks import (
    Hooks,
    Outcome,
    StepReport,
    TrainingWindows,
    ValidationWindows,
)
from gpt_pipeline.training.initial import new_model
from gpt_pipeline.training.interrupt import OutOfMemory, interruptible
from gpt_pipeline.training.length import RunLength
from gpt_pipeline.training.rollback import MAX_ROLLBACKS, Rollbacks, StepRecord
from gpt_pipeline.training.schedule import learning_rate
from gpt_pipeline.training.state import (
    TrainState,
    as_text,
    random_states,
    restore,
    set_random_states,
)
from gpt_pipeline.training.step import OptimizerStep, StepInterrupted, dropout_seeds
from gpt_pipeline.training.throughput_meter import Speed, ThroughputMeter

log = logging.getLogger(__name__)


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
        self.model, self.train, self.val, self.store = model, train, val, store
        self.precision, self.config = precision, store.config
        self.length = RunLength(self.config.model, self.config.schedule, train.num_windows)
        self.step = OptimizerStep(model, self.config, precision)
        self.state = TrainState()
        self.saver = Checkpointer(store)
        self._rollbacks = Rollbacks()
        self.readout = ThroughputMeter(model, precision)
        self.step.waiting = self.readout.clock.waiting
        self._look: Evaluation | None = None
        self._latest_loss = math.nan
        self._latest_val_loss: float | None = None
        self._started = 0.0

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint of the run that is known to be whole."""
        return self.saver.checkpoint

    def compile(self, *, required: bool) -> None:
        """Compile the step; weights keep their names. A failure ends the run if `required`."""
        self.step.compile(required=required)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take weights, optimizer and state from a checkpoint: the run goes on as if never stopped.

        Raises:
            CheckpointError: the checkpoint is of another model, or a part of it cannot be used.
        """
        tensors, values = checkpoint.training()
        state = TrainState.from_dict(values)
        load_weights(self.model, checkpoint.weights(), checkpoint.path)
        self.step.optimizer.load_state_tensors(self.model, tensors)
        restore(state, self.step.scaler, self.precision.device)
        if state.step != checkpoint.manifest.step:
            raise CheckpointError(f"{checkpoint.path} has the state of step {state.step} in it")
        state.finished = state.finished and self.length.is_complete(state)
        if checkpoint.manifest.is_of_other_validation_text(self.store.val_data_fingerprint):
            state.best_val_loss = state.validation = None  # of a text that is no longer there
        self.state.become(state)
        self.saver.resume_from(checkpoint)

    def run(self, metrics: MetricsFile, hooks: Hooks) -> Outcome:
        """Train until the run is complete or `hooks.stop` says so; save at either end.

        Where memory runs out, the last whole step is saved too, and the outcome says why.

        Raises:
            TrainingError: steps were not finite, again and again.
            CheckpointError: the last checkpoint cannot be saved.
        """
        state, length, out_of_memory = self.state, self.length, None
        self._started = time.perf_counter() - state.elapsed_s
        if self.precision.device.type == "cpu" and not self.step.compiled:
            self.step.check_within()
        self.model.train()
        try:
            while not state.finished:
                if hooks.stop():
                    break
                if state.pending is None and not length.is_complete(state):
                    self._advance(metrics, hooks)
                best = False
                if due := state.pending is not None or length.is_complete(state):
                    best = self._evaluate(metrics, hooks)
                scheduled = state.step % self.config.checkpoint.save_every == 0
                if best or scheduled or state.finished or self.saver.owed:
                    self._save(metrics, hooks)
                if due:  # after the save: what a hook does may take long, or be the end
                    hooks.evaluated(state.step, self.model)
                self.saver.poll()
        except StepInterrupted as error:  # at the end of this block, what its frames hold is freed
            out_of_memory = str(error) if isinstance(error, OutOfMemory) else None
        finally:
            self.saver.close()
        if not self.step.moving:
            self._look_at_steps(metrics)
            self._save(metrics, hooks, stopping=True)
        return Outcome(state.finished, self.checkpoint, out_of_memory)

    def _advance(self, metrics: MetricsFile, hooks: Hooks) -> None:
        """One optimizer step, counted and written down; one that is not finite is skipped."""
        state, length, model_config = self.state, self.length, self.config.model
        count = length.next_windows(state)
        progress = length.progress_after_warmup(state)
        lr = learning_rate(model_config, self.config.schedule, state.step, progress)
        lr *= state.lr_scale
        before = random_states(self.precision.device)
        self.readout.clock.start()
        with self.readout.clock.waiting():
            batch = self.train.batch(state.position, count)
        try:
            with interruptible(self.step, hooks.interrupt):
                tokens = self.train.num_targets(state.position, count)
                result = self.step(
                    batch, micro_batch_size=length.micro_batch_size, lr=lr, tokens=tokens,
                    seeds=self._seeds(state.position, count),
                )  # fmt: skip
        except StepInterrupted:
            set_random_states(before, self.precision.device)
            raise
        state.step += 1
        seen = StepRecord(state.step, state.position, count, lr, result)
        state.position += count
        state.tokens += result.tokens
        if look := self._is_look_due():
            self._latest_loss = result.loss
        self.readout.clock.stop(result.tokens)
        state.elapsed_s = time.perf_counter() - self._started
        state.validation = self._look = None
        self.saver.changed = True
        self._rollbacks.add(seen)
        speed = self.readout.speed(may_wait=look)
        self._write_down(metrics, seen, speed)
        hooks.stepped(self._report(seen, speed))
        if look:
            self._look_at_steps(metrics)

    def _is_look_due(self) -> bool:
        """Whether the host waits for the step: it needs its figures, or must know what it saves."""
        step, config = self.state.step, self.config
        often = (config.logging.log_every, config.model.eval_freq, config.checkpoint.save_every)
        due = step == 1 or self.length.is_complete(self.state) or self.state.bad_steps > 0
        return self.step.waits or due or any(step % every == 0 for every in often)

    def _look_at_steps(self, metrics: MetricsFile) -> None:
        if self._rollbacks.look(self.state, self.config.runtime.max_bad_steps):
            self._roll_back(metrics)

    def _roll_back(self, metrics: MetricsFile) -> None:
        """Return to the newest good checkpoint, or to the start; the third time, give up."""
        kept = self._rollbacks.next_try(self.state)
        self.saver.poll(wait=True)
        if kept.rollbacks == MAX_ROLLBACKS:
            newest = self.checkpoint.path if self.checkpoint else None
            raise self._rollbacks.report(self.state, newest, self._diagnose)
        checkpoint = self.store.newest_good()
        if checkpoint is not None:
            self.resume(checkpoint)
        else:
            self.model.load_state_dict(new_model(self.config, torch.device("cpu")).state_dict())
            self.step.reset()
            self.state.become(TrainState(run_dir=kept.run_dir))
            self.saver.resume_from(None)
        self._rollbacks.clear()
        state = self.state
        state.rollbacks, state.last_bad_step = kept.rollbacks, kept.last_bad_step
        state.lr_scale, state.skipped_steps = kept.lr_scale, kept.skipped_steps
        metrics.rewind(step=state.step, lines=state.metrics_lines)
        log.warning(
            "%d steps in a row were not finite: back to %s, learning rate times %g from there",
            kept.bad_steps, checkpoint.path if checkpoint else "the start", state.lr_scale,
        )  # fmt: skip

    def _diagnose(self, seen: StepRecord) -> str:
        batch = self.train.batch(seen.position, seen.windows)
        seeds = self._seeds(seen.position, seen.windows)
        return first_not_finite(self.step, batch, self.length.micro_batch_size, seeds)

    def _seeds(self, position: int, count: int) -> Tensor:
        return dropout_seeds(self.config.runtime.seed, position, count)

    def _evaluate(self, metrics: MetricsFile, hooks: Hooks) -> bool:
        """A partial evaluation at the validation data, and all of them at the end; whether it is
        the best.

        Until it is done, `state.pending` says that it is due.
        """
        state, best = self.state, False
        complete = self.length.is_complete(state)
        entry = state.pending or base_entry(state)
        if self.val is not None:
            with interruptible(self.step, hooks.interrupt):
                look = self.validate(self.val, self.config.model.eval_iter)
                shown = self.validate(self.val) if complete else look
            best = math.isfinite(look.loss) and (
                state.best_val_loss is None or look.loss < state.best_val_loss
            )
            if best:
                state.best_val_loss = look.loss
            if complete and math.isfinite(shown.loss):
                state.validation = shown.as_dict()
            self._look, self._latest_val_loss = look, shown.loss
            entry = entry | evaluation_entry(shown)
        if len(entry) > len(base_entry(state)):
            metrics.log(entry)
        state.pending, state.finished = None, complete
        self.saver.changed = True
        return best

    def validate(self, val: ValidationWindows, limit: int | None = None) -> Evaluation:
        """The figures over every validation token, or a partial evaluation at `limit` batches."""
        self.model.eval()
        try:
            batches = val.batches(self.length.micro_batch_size, limit)
            parts = self.step.checked(scored(self.model, self.precision, batches))
            return evaluate(parts, bytes_per_token=val.bytes_per_token)
        finally:
            self.model.train()

    def _save(self, metrics: MetricsFile, hooks: Hooks, *, stopping: bool = False) -> None:
        """Save the state, if it is not saved; in mid-run not before the next good step."""
        state = self.state
        if state.step == 0 or not self.saver.changed:
            return
        if state.bad_steps and not (stopping or state.finished):
            self.saver.put_off()
            return
        if state.step > state.last_bad_step:
            state.rollbacks = 0
        state.metrics_lines = metrics.lines
        state.scaler = self.step.scaler.state_dict()
        state.random = as_text(random_states(self.precision.device))
        metrics.sync()
        look = self._look
        part = TrainingPart(
            step=state.step,
            tokens_seen=state.tokens,
            val_loss=look.loss if look and math.isfinite(look.loss) else None,
            validation=state.validation,
            tensors=self.step.optimizer.state_tensors(self.model),
            state=state.as_dict(),
        )
        weights = self.model.state_dict()
        if stopping or state.finished:
            self.saver.save_last(weights, part, give_up=hooks.stop)
        else:
            self.saver.start(weights, part)

    def _write_down(self, metrics: MetricsFile, seen: StepRecord, speed: Speed) -> None:
        """The step's line of metrics.jsonl: at once, or with the figures of its evaluation."""
        state, entry = self.state, base_entry(self.state)
        complete = self.length.is_complete(state)
        if seen.step == 1 or seen.step % self.config.logging.log_every == 0 or complete:
            entry |= step_entry(seen, speed)
        if seen.step % self.config.model.eval_freq == 0 or complete:
            state.pending = without_nan(entry)
        elif len(entry) > len(base_entry(state)):
            metrics.log(entry)

    def _report(self, seen: StepRecord, speed: Speed) -> StepReport:
        return StepReport(
            step=seen.step,
            num_steps=self.length.last_step(self.state),
            loss=self._latest_loss,
            lr=seen.lr,
            speed=speed,
            progress=self.length.progress(self.state),
            val_loss=self._latest_val_loss,
        )
