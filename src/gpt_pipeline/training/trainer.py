"""The only training loop. It knows windows of token ids, and nothing of text."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gpt_pipeline.checkpoint import Bundle, BundleStore, TrainingPart, load_weights
from gpt_pipeline.errors import CheckpointError, TrainingError
from gpt_pipeline.metrics import Evaluation, MetricsFile, Throughput, evaluate, peak_memory_bytes
from gpt_pipeline.model import GPTModel
from gpt_pipeline.training.length import RunLength
from gpt_pipeline.training.optimizer import load_optimizer_tensors, optimizer_tensors
from gpt_pipeline.training.precision import Arrays, Precision
from gpt_pipeline.training.schedule import learning_rate
from gpt_pipeline.training.state import TrainState, random_states, set_random_states
from gpt_pipeline.training.step import OptimizerStep, StepResult

log = logging.getLogger(__name__)


class TrainingWindows(Protocol):
    """Where training windows come from."""

    @property
    def num_windows(self) -> int:
        """Windows of one epoch."""

    def batch(self, position: int, count: int) -> Arrays:
        """The windows at positions [position, position + count) of the run's order."""


class ValidationWindows(Protocol):
    """Where validation windows come from."""

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text behind a token, on average."""

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Arrays]:
        """Every window once, or `limit` batches of them spread evenly."""


@dataclass(frozen=True)
class StepReport:
    """What a progress display shows of a step; `progress` is the share of the run done."""

    step: int
    num_steps: int
    loss: float
    lr: float
    tokens_per_s: float
    progress: float
    val_loss: float | None


@dataclass(frozen=True)
class Hooks:
    """What the caller does beside the loop: after a step, after an evaluation, and when to stop."""

    stepped: Callable[[StepReport], None]
    evaluated: Callable[[int, GPTModel], None]
    stop: Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: complete, or stopped on request with the bundle to go on from."""

    finished: bool
    bundle: Bundle | None


class Trainer:
    """One run, from its current state to its end."""

    def __init__(
        self,
        model: GPTModel,
        train: TrainingWindows,
        val: ValidationWindows | None,
        *,
        store: BundleStore,
        precision: Precision,
    ) -> None:
        self.model, self.train, self.val, self.store = model, train, val, store
        self.precision, self.config = precision, store.config
        self.length = RunLength(self.config.model, self.config.schedule, train.num_windows)
        self.step = OptimizerStep(model, self.config, precision)
        self.state = TrainState()
        self._throughput = Throughput()
        self.bundle: Bundle | None = None
        self._latest: Evaluation | None = None

    def compile(self) -> None:
        """Compile the forward pass of the training step; weights keep their plain names."""
        self.step.forward = torch.compile(self.model)  # type: ignore[assignment]

    def resume(self, bundle: Bundle) -> None:
        """Take weights, optimizer and state from a bundle: the run goes on as if never stopped."""
        tensors, values = bundle.training()
        load_weights(self.model, bundle.weights(), bundle.path)
        load_optimizer_tensors(self.model, self.step.optimizer, tensors)
        self.state = TrainState.from_dict(values)
        if self.state.scaler:
            self.step.scaler.load_state_dict(self.state.scaler)
        set_random_states(self.state.random, self.precision.device)
        self.bundle = bundle

    def run(self, metrics: MetricsFile, hooks: Hooks) -> Outcome:
        """Train until the run is complete or `hooks.stop` says so; save at either end.

        Raises:
            TrainingError: `runtime.max_bad_steps` steps in a row were not finite.
            CheckpointError: the last bundle cannot be saved.
        """
        model_config, state, length = self.config.model, self.state, self.length
        started = time.perf_counter() - state.elapsed_s
        self.model.train()
        while not length.is_complete(state):
            if hooks.stop():
                self._save(None)
                return Outcome(False, self.bundle)

            lr = learning_rate(model_config, state.step, length.progress_after_warmup(state))
            result = self._train_step(lr)
            state.elapsed_s = time.perf_counter() - started
            state.finished = length.is_complete(state)

            pause = state.finished or state.step % model_config.eval_freq == 0
            look = whole = None
            if pause and self.val is not None:
                look = self.validate(self.val, model_config.eval_iter)
                whole = self.validate(self.val) if state.finished else None
            state.validation = whole.as_dict() if whole else None
            self._log(metrics, result, lr, evaluated=look is not None)
            hooks.stepped(self._report(result, lr))
            if pause:
                hooks.evaluated(state.step, self.model)

            best = look is not None and self._is_best(look.loss)
            if best or state.finished or state.step % self.config.checkpoint.save_every == 0:
                state.elapsed_s = time.perf_counter() - started
                self._save(look)
        return Outcome(True, self.bundle)

    def _train_step(self, lr: float) -> StepResult:
        """One optimizer step, counted; a step that is not finite is skipped and said."""
        state, length = self.state, self.length
        count = min(length.windows_per_step, length.num_windows - state.position)
        self._throughput.start()
        batch = self.train.batch(state.position, count)
        size = self.config.model.micro_batch_size
        result = self.step(batch, micro_batch_size=size, lr=lr)
        self._throughput.stop(result.tokens)
        state.step += 1
        state.position += count
        state.tokens += result.tokens
        if result.finite:
            state.bad_steps = 0
            return result
        state.bad_steps += 1
        state.skipped_steps += 1
        what = f"loss {result.loss}, gradient norm {result.grad_norm}"
        log.warning("step %d skipped: %s; %d in a row", state.step, what, state.bad_steps)
        if state.bad_steps >= self.config.runtime.max_bad_steps:
            kept = self.bundle.path if self.bundle else "none was written yet"
            raise TrainingError(
                f"{state.bad_steps} steps in a row were not finite, up to step {state.step} "
                f"({what}); the newest checkpoint is from before them ({kept}); lower "
                "model.learning_rate, or raise runtime.max_bad_steps"
            )
        return result

    def validate(self, val: ValidationWindows, limit: int | None = None) -> Evaluation:
        """The figures over every validation token, or a quick look at `limit` batches."""
        self.model.eval()
        batches = val.batches(self.config.model.micro_batch_size, limit)
        self._latest = evaluate(
            autocast_logits(self.model, self.precision),
            map(self.precision.to_device, batches),
            bytes_per_token=val.bytes_per_token,
        )
        self.model.train()
        return self._latest

    def _is_best(self, val_loss: float) -> bool:
        best = self.state.best_val_loss
        if best is not None and not val_loss < best:
            return False
        self.state.best_val_loss = val_loss
        return True

    def _log(self, metrics: MetricsFile, result: StepResult, lr: float, *, evaluated: bool) -> None:
        state = self.state
        entry: dict[str, Any] = {"step": state.step, "tokens": state.tokens}
        if state.step == 1 or state.step % self.config.logging.log_every == 0 or state.finished:
            entry |= {"train_loss": result.loss, "grad_norm": result.grad_norm, "lr": lr}
            entry["tokens_per_s"] = round(self._throughput.tokens_per_s, 1)
            entry["memory_bytes"] = peak_memory_bytes(self.precision.device)
        if evaluated and self._latest is not None:
            entry |= {
                "val_loss": self._latest.loss,
                "val_bits_per_byte": self._latest.bits_per_byte,
                "val_accuracy": self._latest.accuracy,
                "val_tokens": self._latest.tokens,
            }
        if len(entry) > 2:
            metrics.append(entry)

    def _report(self, result: StepResult, lr: float) -> StepReport:
        return StepReport(
            step=self.state.step,
            num_steps=self.length.num_steps,
            loss=result.loss,
            lr=lr,
            tokens_per_s=self._throughput.tokens_per_s,
            progress=self.length.progress(self.state),
            val_loss=self._latest.loss if self._latest else None,
        )

    def _save(self, look: Evaluation | None) -> None:
        """Write a bundle of the present step, once, and prune the older ones.

        Not while steps are being skipped: the bundles on disk are from before the trouble.
        """
        state = self.state
        saved = self.bundle is not None and self.bundle.manifest.step == state.step
        if state.step == 0 or saved or (state.bad_steps and not state.finished):
            return
        state.scaler = self.step.scaler.state_dict()
        state.random = random_states(self.precision.device)
        part = TrainingPart(
            step=state.step,
            tokens_seen=state.tokens,
            val_loss=look.loss if look and math.isfinite(look.loss) else None,
            validation=state.validation,
            tensors=optimizer_tensors(self.model, self.step.optimizer),
            state=state.as_dict(),
        )
        try:
            self.bundle = self.store.save(self.model.state_dict(), part)
        except CheckpointError as error:
            if state.finished:
                raise
            log.warning("%s; training goes on", error)
            return
        self.store.prune()


def autocast_logits(model: GPTModel, precision: Precision) -> Callable[[Tensor], Tensor]:
    """The model's logits [B, T, V] for tokens [B, T], computed in a precision."""

    def logits_of(tokens: Tensor) -> Tensor:
        with precision.autocast():
            logits: Tensor = model(tokens)
        return logits

    return logits_of
