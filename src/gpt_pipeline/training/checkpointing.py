"""Saves a run to checkpoints, restores it from them, and retries saves that fail."""

import logging
import math
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gpt_pipeline.checkpoint import (
    AsyncCheckpointWriter,
    Checkpoint,
    CheckpointStore,
    TrainingPart,
    load_weights,
)
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tracking.metrics_file import MetricsFile
from gpt_pipeline.training.schedule import RunLength
from gpt_pipeline.training.state import TrainState, as_text, new_model, random_states, restore
from gpt_pipeline.training.step import OptimizerStep

log = logging.getLogger(__name__)

MAX_LAST_TRIES = 3
"""How often the last checkpoint of a session is tried, `checkpoint.retry_after_s` apart."""

_POLL_S = 0.1


class Checkpointer:
    """Saves and restores one run.

    Args:
        store: where its checkpoints are.
        model: the network.
        step: its optimizer and loss scaler.
        state: the rest of what is saved.
        length: whether a restored run is complete.

    Attributes:
        checkpoint: the newest complete checkpoint; None before the first.
    """

    def __init__(
        self,
        store: CheckpointStore,
        model: GPTModel,
        step: OptimizerStep,
        state: TrainState,
        length: RunLength,
    ) -> None:
        self.checkpoint: Checkpoint | None = None
        self._store, self._model, self._step = store, model, step
        self._state, self._length = state, length
        self._options = store.config.checkpoint
        self._writer = AsyncCheckpointWriter(store)
        self._saved: object = None
        """`_moment` of the last save."""
        self._deferred = False
        self._failed_at: float | None = None

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore weights, optimizer and state, so that the run continues as if never stopped.

        Raises:
            CheckpointError: the checkpoint is of another model, or a part of it cannot be used.
        """
        tensors, values = checkpoint.training()
        state = TrainState.from_dict(values)
        load_weights(self._model, checkpoint.weights(), checkpoint.path)
        self._step.optimizer.load_state_tensors(self._model, tensors)
        restore(state, self._step.scaler, self._step.precision.device)
        if state.step != checkpoint.manifest.step:
            raise CheckpointError(
                f"{checkpoint.path} must have the state of step {checkpoint.manifest.step}; got "
                f"that of step {state.step}"
            )
        state.finished = state.finished and self._length.is_complete(state)
        if checkpoint.manifest.is_of_other_validation_text(self._store.val_data_fingerprint):
            state.best_val_loss = state.validation = None  # of a text that is no longer there
        self._state.assign(state)
        self._restored(checkpoint)

    def restore_newest(self) -> Checkpoint | None:
        """Restore the newest good checkpoint, or the start of the run if there is none (None)."""
        checkpoint = self._store.newest_good()
        if checkpoint is not None:
            self.restore(checkpoint)
            return checkpoint
        initial = new_model(self._store.config, torch.device("cpu"))
        self._model.load_state_dict(initial.state_dict())
        self._step.reset()
        self._state.assign(TrainState(run_dir=self._state.run_dir))
        self._restored(None)
        return None

    def save_if_due(
        self, metrics: MetricsFile, *, best: bool, val_loss: float | None, stop: Callable[[], bool]
    ) -> None:
        """Save the best and the last step, and every `checkpoint.save_every` steps.

        A step that was skipped is not saved, the next good one is. With checkpoint.background the
        files are written by a thread. A failed save is a warning, and is retried after
        `checkpoint.retry_after_s`; the last one is retried at once.

        Args:
            metrics: whose lines belong to the checkpoint.
            best: whether the evaluation of this step is the best so far.
            val_loss: loss of a partial evaluation at this step; None if there was none.
            stop: whether there is no time for retries of the last checkpoint.

        Raises:
            CheckpointError: the last checkpoint of the run could not be saved.
        """
        self.poll()
        state = self._state
        scheduled = state.step % self._options.save_every == 0
        if not (best or scheduled or state.finished or self._retry_due):
            return
        if state.finished:
            self.save_last(metrics, val_loss=val_loss, stop=stop)
        elif state.bad_steps:
            self._deferred = True
        elif self._is_new:
            self._begin(metrics, val_loss)

    def save_last(
        self, metrics: MetricsFile, *, val_loss: float | None, stop: Callable[[], bool]
    ) -> None:
        """Save the last checkpoint of the run or of this session, with retries.

        Raises:
            CheckpointError: it could not be saved.
        """
        if not self._is_new:
            return
        self.poll(wait=True)
        with self._step.optimizer.evaluation_weights():
            weights, part = self._contents(metrics, val_loss)
            for tries_left in reversed(range(MAX_LAST_TRIES)):
                try:
                    self.checkpoint = self._writer.save(weights, part)
                except CheckpointError as error:
                    if not tries_left or stop():
                        raise CheckpointError(
                            f"{error}; the steps since {self._newest()} are lost; free some space "
                            "or set model.checkpoint_path, and start again"
                        ) from error
                    log.warning("%s; retrying in %g s", error, self._options.retry_after_s)
                    self._pause(stop)
                else:
                    self._saved = self._moment
                    return

    def poll(self, *, wait: bool = False) -> None:
        """Take the result of a save in the background."""
        try:
            checkpoint = self._writer.result(wait=wait)
        except CheckpointError as error:
            self._failed(error)
            return
        self.checkpoint = checkpoint or self.checkpoint

    def close(self) -> None:
        """Wait for a save in progress."""
        self.poll(wait=True)
        self._writer.close()

    @property
    def _moment(self) -> object:
        """Differs between two states of the run that are worth saving."""
        return self._state.step, self._state.pending is None, self._state.finished

    @property
    def _is_new(self) -> bool:
        return self._state.step > 0 and self._saved != self._moment

    @property
    def _retry_due(self) -> bool:
        """Whether a save was deferred, or failed long enough ago."""
        if self._deferred or self._failed_at is None:
            return self._deferred
        return time.monotonic() - self._failed_at >= self._options.retry_after_s

    def _begin(self, metrics: MetricsFile, val_loss: float | None) -> None:
        """Begin a save in the background, or save now without checkpoint.background."""
        self.poll(wait=True)
        self._deferred, self._failed_at = False, None
        with self._step.optimizer.evaluation_weights():
            weights, part = self._contents(metrics, val_loss)
            self._saved = self._moment
            try:
                if self._options.background:
                    self._writer.start(weights, part)
                else:
                    self.checkpoint = self._writer.save(weights, part)
            except CheckpointError as error:
                self._failed(error)

    def _contents(
        self, metrics: MetricsFile, val_loss: float | None
    ) -> tuple[Mapping[str, Tensor], TrainingPart]:
        """Weights and training state of a checkpoint of the present state."""
        state, step = self._state, self._step
        if state.step > state.last_bad_step:
            state.rollbacks = 0
        state.metrics_lines = metrics.lines
        state.scaler = step.scaler.state_dict()
        state.random = as_text(random_states(step.precision.device))
        metrics.sync()
        part = TrainingPart(
            step=state.step,
            tokens_seen=state.tokens,
            val_loss=val_loss if val_loss is not None and math.isfinite(val_loss) else None,
            validation=state.validation,
            tensors=step.optimizer.state_tensors(self._model),
            state=state.as_dict(),
        )
        return self._model.state_dict(), part

    def _restored(self, checkpoint: Checkpoint | None) -> None:
        self.checkpoint, self._saved = checkpoint, self._moment
        self._deferred, self._failed_at = False, None

    def _failed(self, error: CheckpointError) -> None:
        self._failed_at, self._saved = time.monotonic(), None
        log.warning(
            "%s; training continues, retrying after %g s", error, self._options.retry_after_s
        )

    def _newest(self) -> str:
        return str(self.checkpoint.path) if self.checkpoint else "the start"

    def _pause(self, stop: Callable[[], bool]) -> None:
        end = time.monotonic() + self._options.retry_after_s
        while time.monotonic() < end and not stop():
            time.sleep(_POLL_S)
