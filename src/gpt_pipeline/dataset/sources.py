"""Which corpora a config asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpt_pipeline.dataset.adopt import open_adopted, open_token_file
from gpt_pipeline.dataset.corpus import Corpora, Corpus
from gpt_pipeline.dataset.documents import Format
from gpt_pipeline.dataset.hub_source import open_hub, open_hub_train
from gpt_pipeline.dataset.split_source import TRAIN_RATIO, num_validation
from gpt_pipeline.dataset.story_source import StoryCorpus
from gpt_pipeline.dataset.text_source import TextFiles, split_text
from gpt_pipeline.errors import ConfigError

if TYPE_CHECKING:  # a worker process starts in half the time without pydantic
    from gpt_pipeline.config import DatasetConfig, StoriesConfig


def token_folder(dataset: DatasetConfig) -> Path:
    """Where the token files of `dataset` are kept."""
    return Path(dataset.data_dir) / dataset.name


def open_corpora(dataset: DatasetConfig, *, may_ask: bool = True) -> Corpora:
    """Training and validation documents; `dataset.val_path` comes before any other validation.

    Args:
        dataset: what the config says of them.
        may_ask: ask the hub which splits a data set has, where its token files do not say.

    Raises:
        DataError: when the files that the config names are not there.
    """
    if dataset.val_path is None:
        return _own(dataset, may_ask)
    val = _given(dataset.val_path, dataset)
    # A ratio of 1 asks the source for its whole text as training documents.
    own = _own(dataset.model_copy(update={"train_ratio": 1.0}), may_ask)
    return Corpora(own.train, val.train, own.notes + val.notes)


def open_validation(dataset: DatasetConfig) -> tuple[Corpus | None, tuple[str, ...]]:
    """Validation documents alone, and notes for the user: dataset.val_path needs no training text.

    Raises:
        DataError: when the files that the config names are not there.
    """
    if dataset.val_path is not None:
        given = _given(dataset.val_path, dataset)
        return given.train, given.notes
    own = _own(dataset, may_ask=True)
    return own.val, own.notes


def _own(dataset: DatasetConfig, may_ask: bool) -> Corpora:
    if dataset.adopt is not None:
        folder = token_folder(dataset)
        return open_adopted(dataset.adopt, dataset.train_ratio, folder)
    if dataset.source == "stories":
        return _stories(dataset)
    if dataset.source == "tinystories":
        if dataset.val_path is not None:
            return Corpora(open_hub_train(dataset), None)
        return open_hub(dataset, token_folder(dataset), may_ask=may_ask)
    if dataset.path is None:
        raise ConfigError(["dataset.path must name a file, folder or glob; got null"])
    files = TextFiles.find(dataset.path, "dataset.path", _format(dataset))
    return split_text(files, dataset.train_ratio or TRAIN_RATIO, dataset.seed)


def _stories(dataset: StoriesConfig) -> Corpora:
    """Generated stories; training and validation are different ones whatever their numbers are."""
    count, ratio = dataset.num_stories, dataset.train_ratio
    if ratio == 1:
        return Corpora(StoryCorpus(dataset.seed, "train", count), None)
    num_val = dataset.num_val_stories
    if ratio is not None:
        if count < 2:
            raise ConfigError(
                [f"dataset.num_stories must be at least 2 to be split by dataset.train_ratio="
                 f"{ratio:g}; got {count}"]
            )  # fmt: skip
        num_val = num_validation(count, ratio)
        count -= num_val
    return Corpora(
        StoryCorpus(dataset.seed, "train", count), StoryCorpus(dataset.seed, "val", num_val)
    )


def _given(path: str, dataset: DatasetConfig) -> Corpora:
    """The documents of dataset.val_path, as one corpus."""
    if dataset.adopt is not None and path.endswith(".bin"):
        return Corpora(open_token_file(Path(path)), None)
    return split_text(TextFiles.find(path, "dataset.val_path", _format(dataset)), 1.0, 0)


def _format(dataset: DatasetConfig) -> Format:
    return Format(dataset.separator, dataset.text_field)
