"""What a run starts from, and what a resumed run needs besides weights and optimizer state."""

import base64
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from gpt_pipeline.config import Config
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.model import GPTModel


def new_model(config: Config, device: torch.device) -> GPTModel:
    """A model with the initial weights of `runtime.seed`; seeds torch's generators."""
    torch.manual_seed(config.runtime.seed)
    return GPTModel(config.gpt_config()).to(device)


@dataclass
class TrainState:
    """The state of a run between two optimizer steps.

    Attributes:
        step: optimizer steps done, skipped ones included.
        position: training windows seen, over all epochs; epoch and place follow from it.
        tokens: training tokens seen.
        elapsed_s: seconds of training, over all sessions of the run.
        pending: the entry of metrics.jsonl of this step, if its evaluation has not been done; None
            if no evaluation is due.
        metrics_lines: lines of metrics.jsonl so far; None in old checkpoints.
        bad_steps: consecutive steps up to now that were skipped because they were not finite.
        skipped_steps: all steps that were skipped.
        rollbacks: rollbacks since the run last passed `last_bad_step`.
        last_bad_step: the last of the steps that led to the latest rollback.
        lr_scale: factor on the learning rate, halved at the second rollback.
        best_val_loss: lowest loss of a partial evaluation so far.
        validation: figures over every validation token, set when the run has ended.
        finished: the run is complete.
        run_dir: the run folder, in which a resumed run continues.
        scaler: state of the loss scaler; empty unless the run is in float16.
        random: states of torch's generators, by device.
    """

    step: int = 0
    position: int = 0
    tokens: int = 0
    elapsed_s: float = 0.0
    pending: dict[str, Any] | None = None
    metrics_lines: int | None = 0
    bad_steps: int = 0
    skipped_steps: int = 0
    rollbacks: int = 0
    last_bad_step: int = 0
    lr_scale: float = 1.0
    best_val_loss: float | None = None
    validation: dict[str, float] | None = None
    finished: bool = False
    run_dir: str = ""
    scaler: dict[str, Any] = field(default_factory=dict)
    random: dict[str, str] = field(default_factory=dict)

    def assign(self, other: "TrainState") -> None:
        """Copy every field of another state."""
        vars(self).update(vars(other))

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for state.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainState":
        """The state from the values of `as_dict`.

        Raises:
            CheckpointError: a field is missing or unknown, or has an impossible value.
        """
        if odd := {f.name for f in fields(cls)} ^ values.keys():
            raise CheckpointError(
                f"the training state has missing or unknown fields: {sorted(odd)}"
            )
        for name, hint in get_type_hints(cls).items():
            if not _possible(values[name], hint):
                found = repr(values[name])[:40]
                raise CheckpointError(f"the training state has an impossible {name}: {found}")
        return cls(**values)


def _possible(value: object, hint: Any) -> bool:
    """Whether a value from a file has a field's type; numbers must be finite and not negative."""
    union = isinstance(hint, UnionType)
    kinds = {get_origin(kind) or kind for kind in (get_args(hint) if union else (hint,))}
    if type(value) not in kinds | ({int} if float in kinds else set()):
        return False
    if isinstance(value, dict):
        return all(_possible(inner, int | float | str | bool | None) for inner in value.values())
    return not isinstance(value, (int, float)) or 0 <= value < math.inf


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of the generators that a step uses."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore the states of `random_states`; those of a device that is not used now are ignored."""
    for kind, state in states.items():
        if kind == "cpu":
            torch.set_rng_state(state)
        elif kind == device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        elif kind == device.type == "mps":
            torch.mps.set_rng_state(state)


@contextmanager
def random_states_unless_done(device: torch.device) -> Iterator[None]:
    """If the block raises, restore the random states from before it."""
    before = random_states(device)
    try:
        yield
    except BaseException:
        set_random_states(before, device)
        raise


def as_text(states: Mapping[str, Tensor]) -> dict[str, str]:
    """Random states for state.json."""
    return {kind: base64.b64encode(s.numpy().tobytes()).decode() for kind, s in states.items()}


def restore(state: TrainState, scaler: torch.amp.GradScaler, device: torch.device) -> None:
    """Restore the states of loss scaler and random generators.

    Raises:
        CheckpointError: they cannot be restored.
    """
    try:
        if state.scaler:
            scaler.load_state_dict(state.scaler)
        set_random_states(_from_text(state.random), device)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"the training state cannot be restored: {error}") from None


def _from_text(states: Mapping[str, str]) -> dict[str, Tensor]:
    return {
        kind: torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
        for kind, text in states.items()
    }
