"""Whether a run resumes from a checkpoint, and whether that checkpoint belongs to this run."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt_pipeline.checkpoint import Checkpoint, CheckpointStore, Manifest, checkpoint_folders
from gpt_pipeline.cli.checkpoint import run_name
from gpt_pipeline.cli.console import log
from gpt_pipeline.config import BlockConfig, TrainedConfig
from gpt_pipeline.config.compose import Composed
from gpt_pipeline.errors import CheckpointError

_ADVICE = (
    "set checkpoint.resume=never to start a new run (the old checkpoints are kept), or choose "
    "another model.checkpoint_name"
)
_WITHOUT_EFFECT = {"model.eval_freq", "model.eval_iter", "block.eot_id"}
"""Keys that do not change what the rest of a run learns: an end-of-text that attention depends on
is compared with the architecture."""


def checkpoint_to_resume(store: CheckpointStore) -> Checkpoint | None:
    """The checkpoint to resume from, by checkpoint.resume; None to start a new run.

    Raises:
        CheckpointError: the newest checkpoint is of another model, optimizer, tokenizer or
            corpus, or there is none and one must be there.
    """
    resume = store.config.checkpoint.resume
    if resume == "never":
        if (aside := store.set_aside()) is not None:
            log.info(
                "starting a new run; the earlier checkpoints of %s are now in %s", store.name, aside
            )
        return None
    checkpoint = store.newest_good()
    if checkpoint is None:
        if resume == "must":
            raise CheckpointError(
                f"checkpoint.resume=must needs a checkpoint of {store.name} in {store.root}; got "
                "none; drop the key to start a new run"
            )
        return None
    _check_same_run(checkpoint, store)
    return checkpoint


def tokens_to_keep(composed: Composed) -> str | None:
    """SHA-256 of the training tokens of the run to resume, if there is one."""
    config = composed.config
    if config.checkpoint.resume == "never":
        return None
    for path in reversed(
        checkpoint_folders(Path(config.model.checkpoint_path), run_name(composed))
    ):
        with suppress(CheckpointError):
            return Manifest.read(path).data_fingerprint
    return None


def warn_of_changes(checkpoint: Checkpoint, store: CheckpointStore) -> None:
    """Warn of what changes the rest of the run."""
    for line in _changes(checkpoint.config(), store.config.trained()):
        log.warning("resuming with a changed %s", line)
    before, now = checkpoint.manifest.val_data_fingerprint, store.val_data_fingerprint
    if not checkpoint.manifest.is_of_other_validation_text(now):
        return
    if now is None:
        log.warning("resuming without a validation text: there was one before")
        return
    was = f"{before:.8}" if before else "not recorded"
    log.warning(
        "resuming with another validation text (SHA-256 of its tokens: %s before, %s now): losses "
        "from here on are not comparable with those before, and the best checkpoint is chosen "
        "among the new ones",
        was, f"{now:.8}",
    )  # fmt: skip


def _check_same_run(checkpoint: Checkpoint, store: CheckpointStore) -> None:
    before, now = checkpoint.config(), store.config
    there, here = before.gpt_config(), now.gpt_config()
    odd = [
        f"{_group_of(name)}.{name} ({value} there, {getattr(here, name)} here)"
        for name, value in vars(there).items()
        if value != getattr(here, name)
    ]
    if odd:
        raise CheckpointError(
            f"{checkpoint.path} is of another architecture: {', '.join(odd)}; {_ADVICE}"
        )
    if before.optimizer.name != now.optimizer.name:
        raise CheckpointError(
            f"{checkpoint.path} has the state of optimizer={before.optimizer.name}; got "
            f"optimizer={now.optimizer.name}; {_ADVICE}"
        )
    if checkpoint.tokenizer().sha256 != store.tokenizer.sha256:
        raise CheckpointError(f"{checkpoint.path} was trained with another tokenizer; {_ADVICE}")
    if checkpoint.manifest.data_fingerprint != store.data_fingerprint:
        raise CheckpointError(f"{checkpoint.path} was trained on other data; {_ADVICE}")


def _group_of(name: str) -> str:
    return "block" if name in BlockConfig.model_fields else "model"


def _changes(there: TrainedConfig, here: TrainedConfig) -> list[str]:
    """Keys that the rest of the run depends on, with the values before and now."""
    before, now = _flat(there.model_dump()), _flat(here.model_dump())
    return [
        f"{key}: {before.get(key)} before, {value} now"
        for key, value in now.items()
        if value != before.get(key) and _matters(key)
    ]


def _matters(key: str) -> bool:
    if key.startswith("dataset."):  # its text is compared by the hash of the tokens
        return key == "dataset.train_shuffle"
    return key not in _WITHOUT_EFFECT


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
