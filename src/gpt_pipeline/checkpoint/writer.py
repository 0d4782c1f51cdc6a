"""Checkpoints written during training: a snapshot in host memory, which a thread saves."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from gpt_pipeline.checkpoint.checkpoint import Checkpoint
from gpt_pipeline.checkpoint.store import CheckpointStore, TrainingPart
from gpt_pipeline.errors import CheckpointError


class AsyncCheckpointWriter:
    """Saves and prunes the checkpoints of a store, one at a time.

    The snapshot is taken on the host: a GPU never holds a second copy of weights or optimizer. Its
    memory (12 bytes per parameter with AdamW) is kept between saves: copying into memory that is
    allocated takes a tenth of the time.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self._weights: dict[str, Tensor] = {}
        self._tensors: dict[str, Tensor] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._pending: Future[Checkpoint] | None = None

    def save(self, weights: Mapping[str, Tensor], part: TrainingPart) -> Checkpoint:
        """Save in this thread. The result of an earlier `start` must have been taken with `result`.

        Raises:
            CheckpointError: it could not be saved; see `CheckpointStore.save`.
        """
        self._check_idle()
        return self._write(weights, part)

    def start(self, weights: Mapping[str, Tensor], part: TrainingPart) -> None:
        """Start to save; returns when weights and tensors may change again.

        The result of the save before must have been taken with `result`.

        Raises:
            CheckpointError: there is no memory for the snapshot.
        """
        self._check_idle()
        try:
            _copy(weights, self._weights)
            _copy(part.tensors, self._tensors)
            if any(tensor.is_cuda for tensor in weights.values()):
                torch.cuda.synchronize()  # the copies into pinned memory were only begun
        except (MemoryError, RuntimeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(
                f"cannot copy weights and optimizer into host memory: {reason}; "
                "checkpoint.background=false needs none"
            ) from error
        snapshot = replace(part, tensors=self._tensors)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        self._pending = self._pool.submit(self._write, self._weights, snapshot)

    def result(self, *, wait: bool) -> Checkpoint | None:
        """The checkpoint that was begun last, once: None while there is none to give.

        Raises:
            CheckpointError: it could not be saved.
        """
        if self._pending is None or not (wait or self._pending.done()):
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    def close(self) -> None:
        """Let a save that is going on end, and the thread with it."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def _check_idle(self) -> None:
        if self._pending is not None:
            raise RuntimeError("the save before has not been asked for its result")

    def _write(self, weights: Mapping[str, Tensor], part: TrainingPart) -> Checkpoint:
        checkpoint = self.store.save(weights, part)
        self.store.prune()
        return checkpoint


def _copy(tensors: Mapping[str, Tensor], held: dict[str, Tensor]) -> None:
    """Make `held` a copy of the tensors on the host, in the memory that it already has."""
    for name in held.keys() - tensors.keys():
        del held[name]
    for name, tensor in tensors.items():
        place = held.get(name)
        if place is None or place.shape != tensor.shape or place.dtype != tensor.dtype:
            place = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            held[name] = place
        place.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
