"""Everything that a resumed run needs beside the weights, as one type."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch

from gpt_pipeline.errors import CheckpointError


@dataclass
class TrainState:
    """Where a run stands between two optimizer steps. The optimizer's moments travel beside it.

    Attributes:
        step: optimizer steps done, skipped ones included.
        position: training windows seen, over all epochs; epoch and place follow from it.
        tokens: training tokens seen.
        elapsed_s: seconds spent in training, over all sessions of the run.
        bad_steps: steps in a row, up to now, that were skipped as not finite.
        skipped_steps: all steps that were skipped.
        best_val_loss: lowest loss of a quick look so far.
        validation: the figures over every validation token; set when the run has ended.
        run_dir: the run folder, so that a resumed run goes on in it.
        scaler: state of the loss scaler; empty unless the run is in float16.
        random: states of torch's generators by device.
    """

    step: int = 0
    position: int = 0
    tokens: int = 0
    elapsed_s: float = 0.0
    bad_steps: int = 0
    skipped_steps: int = 0
    best_val_loss: float | None = None
    validation: dict[str, float] | None = None
    finished: bool = False
    run_dir: str = ""
    scaler: dict[str, Any] = field(default_factory=dict)
    random: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for state.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainState":
        """The state that `as_dict` gave.

        Raises:
            CheckpointError: a field is missing or unknown.
        """
        if odd := {f.name for f in fields(cls)} ^ values.keys():
            raise CheckpointError(f"the training state differs in its fields: {sorted(odd)}")
        return cls(**values)


def random_states(device: torch.device) -> dict[str, str]:
    """States of the generators that a step draws from, as text."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return {kind: base64.b64encode(s.numpy().tobytes()).decode() for kind, s in states.items()}


def set_random_states(states: Mapping[str, str], device: torch.device) -> None:
    """Put back what `random_states` gave; a device that is no longer used is passed over."""
    for kind, text in states.items():
        state = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
        if kind == "cpu":
            torch.set_rng_state(state)
        elif kind == device.type == "cuda":
            torch.cuda.set_rng_state(state, device)
        elif kind == device.type == "mps":
            torch.mps.set_rng_state(state)
