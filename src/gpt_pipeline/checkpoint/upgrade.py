"""The format of checkpoints over time: which versions are read, and how an old one becomes the
present.

A change of what a checkpoint holds raises FORMAT_VERSION and adds one function to each table that
is concerned; tests/checkpoint/written_by has one of each older version.
"""

from collections.abc import Callable
from typing import Any

FORMAT_VERSION = 4
OLDEST_READABLE = 1

_Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def _config_1_to_2(values: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew GPT-2's blocks, AdamW and the cosine alone."""
    added: dict[str, Any] = {
        "block": {
            "position": "learned", "rope_theta": 10000.0, "norm": "layer_norm",
            "feed_forward": "gelu", "qk_norm": False, "num_kv_heads": None, "bias": True,
        },
        "checkpoint": {"background": True, "retry_after_s": 60.0},
        "optimizer": {"momentum": 0.95, "matrix_lr_scale": 1.0},
        "runtime": {"profile": False},
        "schedule": {"decay_share": 0.5},
    }  # fmt: skip
    return _with(values, added)


def _config_2_to_3(values: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew attention over the whole window alone, five iterations of Muon, no server."""
    added: dict[str, dict[str, Any]] = {
        "block": {"attention": "causal", "eot_id": None},
        "optimizer": {"ns_steps": 5},
        "runtime": {"weights": "float32"},
        "sampling": {
            "min_p": 0.0, "repetition_penalty": 1.0, "logit_bias": None, "stop": [],
            "logprobs": None,
        },
        "serve": {
            "host": "127.0.0.1", "port": 8000, "api_key": None, "slots": 32, "queue": 64,
            "max_tokens": 2048, "max_body_bytes": 1 << 20, "timeout_s": 300.0, "grace_s": 20.0,
        },
    }  # fmt: skip
    kept = {key: value for key, value in values.items() if key != "prompt_file"}
    return _with({"prompts": None, "output": None, **kept}, added)


def _config_3_to_4(values: dict[str, Any]) -> dict[str, Any]:
    """Version 3 called Muon's learning rate scale after the matrices that it moves."""
    optimizer = dict(values["optimizer"])
    optimizer["muon_lr_scale"] = optimizer.pop("matrix_lr_scale")
    return values | {"optimizer": optimizer}


def _state_3_to_4(values: dict[str, Any]) -> dict[str, Any]:
    """Version 3 called rollbacks setbacks."""
    state = dict(values)
    state["rollbacks"], state["last_bad_step"] = state.pop("setbacks"), state.pop("trouble_step")
    return state


def _with(values: dict[str, Any], added: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The values, and of the added ones those that are not there."""
    return values | {group: keys | values.get(group, {}) for group, keys in added.items()}


def _state_1_to_2(values: dict[str, Any]) -> dict[str, Any]:
    added: dict[str, Any] = {"pending": None, "metrics_lines": None}
    return {**added, **values, "setbacks": 0, "trouble_step": 0, "lr_scale": 1.0}


_ADDED: dict[str, dict[str, Any]] = {
    "sampling": {"presence_penalty": 0.0, "frequency_penalty": 0.0, "add_bos_token": True},
    "serve": {"cors_origins": [], "log": "errors"},
}
"""Defaults of keys that are newer than the present version, for configs that lack them. How a model
is sampled or served is not part of a checkpoint, so a new key there needs no new version."""

_CONFIG: dict[int, _Upgrade] = {1: _config_1_to_2, 2: _config_2_to_3, 3: _config_3_to_4}
_STATE: dict[int, _Upgrade] = {1: _state_1_to_2, 3: _state_3_to_4}


def upgraded_config(values: dict[str, Any], version: int) -> dict[str, Any]:
    """config.yaml of a checkpoint that an older program wrote, as the present one has it.

    Raises:
        KeyError: the values are not of that version.
    """
    return _with(_upgraded(values, version, _CONFIG), _ADDED)


def upgraded_state(values: dict[str, Any], version: int) -> dict[str, Any]:
    """training/state.json of a checkpoint of an older version, as the present one has it."""
    return _upgraded(values, version, _STATE)


def _upgraded(values: dict[str, Any], version: int, steps: dict[int, _Upgrade]) -> dict[str, Any]:
    for number in range(version, FORMAT_VERSION):
        values = steps[number](values) if number in steps else values
    return values
