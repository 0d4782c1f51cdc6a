"""`gpt-pipeline evaluate`: the figures of a checkpoint over every validation token."""

from collections.abc import Mapping, Sequence

from torch import device

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.cli.checkpoint import choose_checkpoint
from gpt_pipeline.cli.console import log, log_to_stderr, print_json
from gpt_pipeline.cli.data import validation_data
from gpt_pipeline.config import DatasetConfig, expand_paths
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.dataset import ValidationSet, validation_of_run
from gpt_pipeline.inference.quantize import quantize
from gpt_pipeline.metrics.evaluator import Evaluator
from gpt_pipeline.runtime.device import set_up_torch
from gpt_pipeline.runtime.precision import Precision, training_precision


def command(overrides: Sequence[str]) -> int:
    """Evaluate the configured checkpoint; returns the exit code."""
    log_to_stderr()
    composed = compose(overrides)
    device = set_up_torch(composed.config.runtime)
    figures = validation_figures(choose_checkpoint(composed), composed, device)
    if composed.config.format == "json":
        print_json(figures)
    else:
        print(describe(figures))
    return 0


def validation_figures(
    checkpoint: Checkpoint, composed: Composed, device: device
) -> dict[str, float]:
    """The figures of a checkpoint over every validation token, and the entropy floor if known.

    The validation data are those of the checkpoint's run, unless the overrides choose a data set.
    """
    trained = checkpoint.config()
    elsewhere = composed.overrides_group("dataset") or "experiment" in composed.overridden
    data = composed.config.dataset if elsewhere else expand_paths(trained.dataset, "dataset.")
    validation = _validation(checkpoint, data, trained.model.max_length, of_run=not elsewhere)
    runtime = composed.config.runtime
    if runtime.weights == "float32":
        model, precision = checkpoint.load_model(device), training_precision(runtime, device)
    else:
        model = quantize(checkpoint.load_model(device), runtime.weights)
        precision = Precision.for_inference(runtime, device)
    size = trained.model.batch_split().micro_batch_size
    result = Evaluator(model, precision, micro_batch_size=size)(validation)
    return result.as_dict() | validation.floor()


def _validation(
    checkpoint: Checkpoint, data: DatasetConfig, max_length: int, *, of_run: bool
) -> ValidationSet:
    """The validation set; of a run the very tokens that it was validated on, if they are there.

    Otherwise they are made from the text, and a warning says where that gives others.
    """
    tokenizer, manifest = checkpoint.tokenizer(), checkpoint.manifest
    wanted = manifest.val_data_fingerprint
    path = validation_of_run(data, tokenizer, val=wanted, train=manifest.data_fingerprint)
    if of_run and path is not None:
        log.info("%s: the validation tokens of the run", path.name)
        return ValidationSet.open(path, max_length)
    validation = validation_data(data, tokenizer, max_length)
    if wanted is None:
        log.info(
            "the checkpoint does not record which text it was validated on: where it was trained "
            "on parts of this one, the figures are too good"
        )
    elif manifest.is_of_other_validation_text(validation.sidecar.sha256):
        log.warning(
            "this is not the validation text of the run (SHA-256 of its tokens: %s, of the run's "
            "%s): the model may have been trained on parts of it, which makes the figures too good",
            f"{validation.sidecar.sha256:.8}", f"{wanted:.8}",
        )  # fmt: skip
    return validation


def describe(figures: Mapping[str, float]) -> str:
    """Validation figures as one line."""
    text = (
        f"validation: loss {figures['loss']:.4f}, perplexity {figures['perplexity']:.3f}, "
        f"accuracy {100 * figures['accuracy']:.2f} %, "
        f"{figures['bits_per_byte']:.4f} bits per byte "
        f"over {figures['tokens']:,.0f} tokens ({figures['bytes']:,.0f} bytes)"
    )
    floor = figures.get("floor_bits_per_byte")
    if floor is None:
        return text
    return f"{text}; entropy floor {floor:.4f} ({figures['bits_per_byte'] / floor:.3f} times)"
