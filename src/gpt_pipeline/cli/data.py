"""`gpt-pipeline data`: prepares the token files of the configured data set."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.cli.console import is_terminal, log, log_to_stderr
from gpt_pipeline.config import Config, DatasetConfig
from gpt_pipeline.config.compose import compose
from gpt_pipeline.dataset import (
    Prepared,
    TrainingSet,
    ValidationSet,
    find_overlap,
    prepare,
    prepare_validation,
)
from gpt_pipeline.display import visible
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import Tokenizer


def command(overrides: Sequence[str]) -> int:
    """Prepare the configured data and print the paths; returns the exit code."""
    log_to_stderr()
    prepared = prepare_data(compose(overrides).config)
    for path in (prepared.train, prepared.val):
        if path is not None:
            print(visible(str(path)))
    return 0


def prepare_data(config: Config, keep: str | None = None) -> Prepared:
    """Bring the token files up to date with a progress bar, and log the overlap of both texts.

    Args:
        config: the run's.
        keep: SHA-256 of training tokens that must not be replaced; see `prepare`.
    """
    with _Bars() as bars:
        prepared = prepare(
            config.dataset,
            config.tokenizer,
            vocab_size=config.model.vocab_size,
            keep=keep,
            say=log.info,
            progress=bars.show,
        )
    if prepared.val is not None:
        with BestEffort().to("count the overlap of both texts"):
            log.info("%s", find_overlap(prepared.train, prepared.val))
    return prepared


def training_data(prepared: Prepared, config: Config) -> TrainingSet:
    """Open the training windows of a run.

    Raises:
        DataError: another process has replaced the file in the meantime.
    """
    shuffle, name = config.dataset.train_shuffle, prepared.train
    length, seed = config.model.max_length, config.runtime.seed
    opened = TrainingSet.open(name, length, seed=seed, shuffle=shuffle)
    if opened.sidecar.source_fingerprint != prepared.source_fingerprint:
        raise DataError(
            f"{name} was replaced by another process, from {opened.sidecar.source}; give each "
            "text a folder of its own with dataset.name"
        )
    return opened


def validation_data(dataset: DatasetConfig, tokenizer: Tokenizer, max_length: int) -> ValidationSet:
    """Prepare and open the validation set of a data set with a checkpoint's tokenizer.

    Raises:
        DataError: the data set has no validation text.
    """
    with _Bars() as bars:
        path = prepare_validation(dataset, tokenizer, say=log.info, progress=bars.show)
    if path is None:
        raise DataError(
            "this data set has no validation text (dataset.train_ratio=1); "
            "give one with dataset.val_path=FILE"
        )
    return ValidationSet.open(path, max_length)


class _Bars:
    """A progress bar per file that is being written."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._best_effort = BestEffort()

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bar in self._bars.values():
            with self._best_effort.to("show the progress"):
                bar.close()

    def show(self, name: str, done: int, total: int | None) -> None:
        """Show the documents done of a file; `total` is None if it is not known."""
        with self._best_effort.to("show the progress"):
            self._show(name, done, total)

    def _show(self, name: str, done: int, total: int | None) -> None:
        if name not in self._bars:
            self._bars[name] = tqdm(
                desc=name,
                total=total,
                unit="doc",
                unit_scale=True,
                file=sys.stderr,
                disable=not is_terminal(sys.stderr),
            )
        bar = self._bars[name]
        bar.update(done - bar.n)
