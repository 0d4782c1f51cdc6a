"""When a checkpoint cannot be saved: training goes on, and tries again."""

import logging
import time
from collections.abc import Callable, Mapping

from torch import Tensor

from gpt_pipeline.checkpoint import AsyncCheckpointWriter, Checkpoint, CheckpointStore, TrainingPart
from gpt_pipeline.errors import CheckpointError

log = logging.getLogger(__name__)

LAST_TRIES = 3
"""How often the checkpoint that ends a run is tried, `checkpoint.retry_after_s` apart."""

_POLL_S = 0.1


class Checkpointer:
    """Saves the checkpoints of a run, and knows the newest that is whole.

    Attributes:
        checkpoint: that one; None before the first.
        changed: whether the run has moved on from what was saved last; its owner sets it.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self.checkpoint: Checkpoint | None = None
        self.changed = False
        checkpoint = store.config.checkpoint
        self._background, self._retry_after_s = checkpoint.background, checkpoint.retry_after_s
        self._writer = AsyncCheckpointWriter(store)
        self._failed_at: float | None = None
        self._put_off = False

    @property
    def owed(self) -> bool:
        """Whether a save was put off, or failed and it is time to try again."""
        if self._put_off or self._failed_at is None:
            return self._put_off
        return time.monotonic() - self._failed_at >= self._retry_after_s

    def resume_from(self, checkpoint: Checkpoint | None) -> None:
        """The run is now where a checkpoint is, or at its start: nothing is left to save."""
        self.checkpoint, self.changed = checkpoint, False
        self._put_off, self._failed_at = False, None

    def put_off(self) -> None:
        """Save at the next step that may be saved."""
        self._put_off = True

    def start(self, weights: Mapping[str, Tensor], part: TrainingPart) -> None:
        """Save beside the training, or at once where checkpoint.background is off.

        A save that fails is a warning, here or in a later `poll`.
        """
        self.poll(wait=True)
        self.changed, self._put_off, self._failed_at = False, False, None
        try:
            if self._background:
                self._writer.start(weights, part)
            else:
                self.checkpoint = self._writer.save(weights, part)
        except CheckpointError as error:
            self._note(error)

    def poll(self, *, wait: bool = False) -> None:
        """Take the outcome of a save that was begun."""
        try:
            checkpoint = self._writer.result(wait=wait)
        except CheckpointError as error:
            self._note(error)
            return
        self.checkpoint = checkpoint or self.checkpoint

    def save_last(
        self, weights: Mapping[str, Tensor], part: TrainingPart, *, give_up: Callable[[], bool]
    ) -> None:
        """Save the checkpoint that ends a run or a session, trying more than once.

        Args:
            weights: the model's state dict.
            part: the rest.
            give_up: says that there is no time for another try.

        Raises:
            CheckpointError: it could not be saved.
        """
        self.poll(wait=True)
        for tries_left in reversed(range(LAST_TRIES)):
            try:
                self.checkpoint, self.changed = self._writer.save(weights, part), False
            except CheckpointError as error:
                if not tries_left or give_up():
                    raise CheckpointError(
                        f"{error}; the steps since {self._newest()} are lost; free some space "
                        "or set model.checkpoint_path, and start again"
                    ) from error
                log.warning("%s; trying again in %g s", error, self._retry_after_s)
                self._pause(give_up)
            else:
                return

    def close(self) -> None:
        """Let a save that is going on end."""
        self.poll(wait=True)
        self._writer.close()

    def _note(self, error: CheckpointError) -> None:
        self._failed_at, self.changed = time.monotonic(), True
        log.warning(
            "%s; training goes on, and tries again after %g s",
            error,
            self._retry_after_s,
        )

    def _newest(self) -> str:
        return str(self.checkpoint.path) if self.checkpoint else "the start"

    def _pause(self, give_up: Callable[[], bool]) -> None:
        end = time.monotonic() + self._retry_after_s
        while time.monotonic() < end and not give_up():
            time.sleep(_POLL_S)
