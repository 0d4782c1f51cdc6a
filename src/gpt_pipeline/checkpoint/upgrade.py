"""The format of checkpoints over time: which versions are read, and how an old one becomes the
present.

A change of what a checkpoint holds raises FORMAT_VERSION and adds one function to each table that
is concerned; tests/checkpoint/written_by has one of each older version.
"""

from collections.abc import Callable
from typing import Any

from gpt_pipeline.config import GenerationConfig, TrainedConfig, missing_keys

FORMAT_VERSION = 4
OLDEST_READABLE = 1
GENERATION_SINCE = 4
"""The first version with generation.json."""

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


_NOT_OF_A_MODEL = ("checkpoint", "logging", "sampling", "serve", "format", "num_samples", "prompts",
                   "output")  # fmt: skip
_OF_GENERATION = ("prompt", "temperature", "top_k", "top_p", "max_new_tokens")
_OF_OTHER_SOURCES = {
    "stories": ("path", "hub_id"),
    "text": ("hub_id", "num_stories", "num_val_stories"),
    "tinystories": ("path", "num_stories", "num_val_stories"),
}


def _config_3_to_4(values: dict[str, Any]) -> dict[str, Any]:
    """Version 3 stored the command's whole config, with the keys of every optimizer and source.

    It called Muon's learning rate scale after the matrices that it moves, and its train_ratio
    counted only if the source had no validation text.
    """
    values = {name: group for name, group in values.items() if name not in _NOT_OF_A_MODEL}
    model, runtime, optimizer, dataset = (
        dict(values[name]) for name in ("model", "runtime", "optimizer", "dataset")
    )
    for name in (*_OF_GENERATION, "checkpoint_name", "checkpoint_path"):
        del model[name]
    for name in ("weights", "profile"):
        del runtime[name]
    optimizer["muon_lr_scale"] = optimizer.pop("matrix_lr_scale")
    if optimizer["name"] == "adamw":
        for name in ("momentum", "ns_steps", "muon_lr_scale"):
            del optimizer[name]
    for name in _OF_OTHER_SOURCES[dataset["source"]]:
        del dataset[name]
    generated = dataset["source"] == "stories" and dataset["adopt"] is None
    if generated or dataset["val_path"] is not None or dataset["train_ratio"] == 0.9:
        dataset["train_ratio"] = None
    return values | {
        "model": model, "runtime": runtime, "optimizer": optimizer, "dataset": dataset,
    }  # fmt: skip


def _generation_of_3(values: dict[str, Any]) -> dict[str, Any]:
    """Version 3 had no generation.json, and its keys in config.yaml."""
    model = {name: values["model"][name] for name in _OF_GENERATION}
    return {"model": model, "sampling": values["sampling"]}


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


_NEW_KEYS: dict[str, Any] = {
    "sampling.add_bos_token": True,
    "sampling.frequency_penalty": 0.0,
    "sampling.presence_penalty": 0.0,
}
"""Keys that are newer than the checkpoints that lack them, with the values that mean what the
program did that wrote these. A new key of a checkpoint's config gets a line here, and needs no new
format version.
"""

_CONFIG: dict[int, _Upgrade] = {1: _config_1_to_2, 2: _config_2_to_3, 3: _config_3_to_4}
_STATE: dict[int, _Upgrade] = {1: _state_1_to_2, 3: _state_3_to_4}


def upgraded_config(values: dict[str, Any], version: int) -> dict[str, Any]:
    """config.yaml of a checkpoint of any version, as the present version has it.

    Raises:
        KeyError: the values are not of that version.
    """
    return _completed(TrainedConfig, _upgraded(values, version, _CONFIG))


def upgraded_generation(values: dict[str, Any], version: int) -> dict[str, Any]:
    """generation.json of a checkpoint of any version, as the present version has it.

    Args:
        values: of generation.json; before `GENERATION_SINCE`, of config.yaml.
        version: of the checkpoint.

    Raises:
        KeyError: the values are not of that version.
    """
    if version < GENERATION_SINCE:
        values = _generation_of_3(_upgraded(values, version, _CONFIG, GENERATION_SINCE - 1))
    return _completed(GenerationConfig, values)


def upgraded_state(values: dict[str, Any], version: int) -> dict[str, Any]:
    """training/state.json of a checkpoint of any version, as the present version has it."""
    return _upgraded(values, version, _STATE)


def _completed(
    section: type[GenerationConfig] | type[TrainedConfig], values: dict[str, Any]
) -> dict[str, Any]:
    """The values, and of the new keys those that they lack."""
    complete = dict(values)
    for name in missing_keys(section, values):
        if name in _NEW_KEYS:
            group, _, leaf = name.partition(".")
            complete[group] = {**complete.get(group, {}), leaf: _NEW_KEYS[name]}
    return complete


def _upgraded(
    values: dict[str, Any], version: int, steps: dict[int, _Upgrade], to: int = FORMAT_VERSION
) -> dict[str, Any]:
    for number in range(version, to):
        values = steps[number](values) if number in steps else values
    return values
