"""Everything that a resumed run needs beside the weights, as one type."""

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from gpt_pipeline.errors import CheckpointError


@dataclass
class TrainState:
    """Where a run stands between two optimizer steps. The optimizer's moments travel beside it.

    Attributes:
        step: optimizer steps done, skipped ones included.
        position: training windows seen, over all epochs; epoch and place follow from it.
        tokens: training tokens seen.
        elapsed_s: seconds spent in training, over all sessions of the run.
        pending: this step's line of metrics.jsonl, while its evaluation has not been done; None
            where nothing is due.
        metrics_lines: lines of metrics.jsonl up to here; None in checkpoints that did not count
        them. bad_steps: steps in a row, up to now, that were skipped as not finite.
        skipped_steps: all steps that were skipped.
        rollbacks: times that the run went back since it last got past `last_bad_step`.
        last_bad_step: the last step of the latest row of bad ones.
        lr_scale: factor on the learning rate; halved when going back once was not enough.
        best_val_loss: lowest loss of a partial evaluation so far.
        validation: the figures over every validation token; set when the run has ended.
        finished: nothing is left to do.
        run_dir: the run folder, so that a resumed run goes on in it.
        scaler: state of the loss scaler; empty unless the run is in float16.
        random: states of torch's generators by device.
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

    def become(self, other: "TrainState") -> None:
        """Take over every field of another state."""
        vars(self).update(vars(other))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for state.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainState":
        """The state that `as_dict` gave.

        Raises:
            CheckpointError: a field is missing, unknown, or of a value that it cannot have.
        """
        if odd := {f.name for f in fields(cls)} ^ values.keys():
            raise CheckpointError(f"the training state differs in its fields: {sorted(odd)}")
        for name, hint in get_type_hints(cls).items():
            if not _possible(values[name], hint):
                found = repr(values[name])[:40]
                raise CheckpointError(f"the training state has an impossible {name}: {found}")
        return cls(**values)


def _possible(value: object, hint: Any) -> bool:
    """Whether a value from a file is of a field's type, and a number finite and not below 0."""
    union = isinstance(hint, UnionType)
    kinds = {get_origin(kind) or kind for kind in (get_args(hint) if union else (hint,))}
    if type(value) not in kinds | ({int} if float in kinds else set()):
        return False
    if isinstance(value, dict):
        return all(_possible(inner, int | float | str | bool | None) for inner in value.values())
    return not isinstance(value, (int, float)) or 0 <= value < math.inf


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of the generators that a step draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `random_states` gave; a device that is no longer used is passed over."""
    for kind, state in states.items():
        if kind == "cpu":
            torch.set_rng_state(state)
        elif kind == device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        elif kind == device.type == "mps":
            torch.mps.set_rng_state(state)


def as_text(states: Mapping[str, Tensor]) -> dict[str, str]:
    """Random states for state.json."""
    return {kind: base64.b64encode(s.numpy().tobytes()).decode() for kind, s in states.items()}


def restore(state: TrainState, scaler: torch.amp.GradScaler, device: torch.device) -> None:
    """Put loss scaler and random generators back to where they were.

    Raises:
        CheckpointError: the state has something else in their place.
    """
    try:
        if state.scaler:
            scaler.load_state_dict(state.scaler)
        set_random_states(_from_text(state.random), device)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"the training state cannot be put back: {error}") from None


def _from_text(states: Mapping[str, str]) -> dict[str, Tensor]:
    return {
        kind: torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
        for kind, text in states.items()
    }
