"""One checkpoint: opened, verified, and its parts loaded. Loading an untrusted one runs no code."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, device, float32

from gpt_pipeline.checkpoint.manifest import (
    MANIFEST,
    FileRecord,
    Manifest,
    record,
    unreadable,
    with_eot,
)
from gpt_pipeline.checkpoint.upgrade import (
    GENERATION_SINCE,
    upgraded_config,
    upgraded_generation,
    upgraded_state,
)
from gpt_pipeline.config import GenerationConfig, TrainedConfig
from gpt_pipeline.durable import parsed, read_limited
from gpt_pipeline.errors import CheckpointError, ConfigError, DamagedError
from gpt_pipeline.model import GPTModel, meta_model
from gpt_pipeline.tokenizer import Tokenizer

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
TOKENIZER = "tokenizer.json"
OPTIMIZER = "training/optimizer.safetensors"
STATE = "training/state.json"
GENERATION = "generation.json"
RELEASED = (WEIGHTS, CONFIG, GENERATION, TOKENIZER)
"""The files of a checkpoint that was released: without the training state."""
FILES = (*RELEASED, OPTIMIZER, STATE)
"""The files of a checkpoint that a run resumes from."""

NAME = re.compile(r"(?P<name>[A-Za-z0-9._-]+)-step-(?P<step>\d{8})")
"""Name of a checkpoint's folder in the store; elsewhere it may have any name."""

_OF_THE_SYSTEM = (".DS_Store", "._", ".nfs")
"""Prefixes of the files that macOS and network file systems create in any folder."""

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files were verified by `open_checkpoint`."""

    path: Path
    manifest: Manifest

    @property
    def is_released(self) -> bool:
        """Whether it was released: without a training state."""
        return self.manifest.files.keys() == set(_files(RELEASED, self.manifest.format_version))

    @property
    def trained_with_eot(self) -> bool:
        """Whether the training text had several documents, each after an end-of-text token.

        True if the checkpoint does not record their number.
        """
        return with_eot(self.manifest.train_documents)

    def config(self) -> TrainedConfig:
        """What the model is and how it was trained."""
        with self._explained(CONFIG):
            return TrainedConfig.parse(upgraded_config(self._yaml(), self._version))

    def generation(self) -> GenerationConfig:
        """The recommended sampling: that of the run that wrote the checkpoint."""
        if self._version < GENERATION_SINCE:
            with self._explained(CONFIG):
                return GenerationConfig.parse(upgraded_generation(self._yaml(), self._version))
        with self._explained(GENERATION):
            values = parsed(read_limited(self.path / GENERATION))
            self._check_version(values)
            if bias := values["sampling"].get("logit_bias"):  # JSON has no whole numbers as keys
                values["sampling"]["logit_bias"] = {int(id_): bias[id_] for id_ in bias}
            return GenerationConfig.parse(upgraded_generation(values, self._version))

    @property
    def _version(self) -> int:
        return self.manifest.format_version

    def _yaml(self) -> dict[str, Any]:
        values: dict[str, Any] = _plain_yaml(read_limited(self.path / CONFIG))
        self._check_version(values)
        return values

    def _check_version(self, values: dict[str, Any]) -> None:
        """Take the format version out of a file's values; version 1 had it in the manifest only.

        Raises:
            ValueError: it is not the manifest's.
        """
        version = values.pop("format_version", self._version)
        if version != self._version:
            raise ValueError(f"format_version must be {self._version}, as in {MANIFEST}")

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn any error of reading an untrusted config into one line."""
        try:
            yield
        except (OSError, ConfigError, yaml.YAMLError, *_UNLIKE) as error:
            reason = str(error).splitlines()[0][:300]
            raise CheckpointError(f"{self.path / name} is not a config: {reason}") from None

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the weights were trained with."""
        return Tokenizer.load(self.path / TOKENIZER)

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict, on the CPU."""
        return self._tensors(WEIGHTS)

    def load_model(self, to: device) -> GPTModel:
        """The model with its weights, in evaluation mode.

        Raises:
            CheckpointError: the config does not match the weights or the tokenizer.
        """
        gpt_config, weights = self.config().gpt_config(), self.weights()
        if gpt_config.num_layers > len(weights):  # before that many are created
            raise CheckpointError(
                f"{self.path} is of another architecture: {gpt_config.num_layers} layers in "
                f"{CONFIG}, {len(weights)} tensors in {WEIGHTS}"
            )
        if gpt_config.vocab_size != (found := self.tokenizer().vocab_size):
            raise CheckpointError(
                f"{self.path} has a tokenizer of {found} entries for a model of "
                f"{gpt_config.vocab_size}; they are not of one run"
            )
        model = meta_model(gpt_config)  # takes no memory before the shapes are compared
        check_weights(model, weights, self.path)
        placed = {name: tensor.to(to, float32) for name, tensor in weights.items()}
        model.load_state_dict(placed, assign=True)  # `to_empty` would load torch's compiler, 2 s
        return model.eval()

    def training(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values of the training state, in the present format."""
        try:
            state = parsed(read_limited(self.path / STATE))
            self._check_version(state)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path / STATE} cannot be read: {error}") from None
        return self._tensors(OPTIMIZER), upgraded_state(state, self._version)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            return load_file(self.path / name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path / name} cannot be read: {error}") from None


def open_checkpoint(path: Path, *, training: bool = True) -> Checkpoint:
    """Check every file of a checkpoint against its manifest; other files give a warning.

    Args:
        path: the checkpoint's folder.
        training: check the training state too, which inference does not need.

    Raises:
        DamagedError: a file is missing or damaged.
        CheckpointError: it is no checkpoint, of an unsupported version, unreadable at the moment,
            or has no training state although `training` is true.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a folder; give the folder of a checkpoint")
    manifest = Manifest.read(path)
    released, files = (_files(names, manifest.format_version) for names in (RELEASED, FILES))
    if training and manifest.files.keys() == set(released):
        raise CheckpointError(
            f"{path} was released without its training state: it can generate and be evaluated, "
            "but no run can resume from it"
        )
    if manifest.files.keys() not in (set(files), set(released)):
        odd = sorted(manifest.files.keys() ^ set(files))
        raise DamagedError(f"{path / MANIFEST} must list {', '.join(files)}; differs in {odd}")
    called = NAME.fullmatch(path.name)
    if called and (called["name"], int(called["step"])) != (manifest.name, manifest.step):
        raise DamagedError(
            f"{path} holds step {manifest.step} of {manifest.name!r} as its manifest says; "
            "a folder of this form must be called after what it holds"
        )
    _check_files(path, manifest, training=training)
    return Checkpoint(path, manifest)


def _files(names: Sequence[str], version: int) -> list[str]:
    """Those of the names that checkpoints of a version have."""
    return [name for name in names if name != GENERATION or version >= GENERATION_SINCE]


def load_weights(model: GPTModel, weights: Mapping[str, Tensor], source: Path) -> None:
    """Load a state dict.

    Raises:
        CheckpointError: the weights are of another architecture.
    """
    check_weights(model, weights, source)
    model.load_state_dict(dict(weights))


def check_weights(model: GPTModel, weights: Mapping[str, Tensor], source: Path) -> None:
    """Compare names and shapes of a state dict with a model's, which may be on `meta`.

    Raises:
        CheckpointError: they differ; names the first three.
    """
    own = model.state_dict()
    odd = [
        f"{key[:80]} ({_shape(weights, key)} in the checkpoint, {_shape(own, key)} in the model)"
        for key in sorted(own.keys() | weights.keys())
        if _shape(weights, key) != _shape(own, key)
    ]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise CheckpointError(
            f"{source} is of another architecture: {', '.join(odd[:3])}{more}; use the model it "
            "was made with, another model.checkpoint_name, or checkpoint.resume=never"
        )


def stray_names(path: Path, manifest: Manifest) -> list[str]:
    """Other files in a checkpoint's folder: never read, and no damage.

    Files that macOS and network file systems create are left out.
    """
    folders = {str(PurePosixPath(name).parent) for name in manifest.files} - {"."}
    listed = {MANIFEST, *manifest.files, *folders}
    found = []
    for folder in (path, *(path / name for name in sorted(folders))):
        for entry in sorted(folder.iterdir()):
            name = entry.relative_to(path).as_posix()
            if name not in listed and not entry.name.startswith(_OF_THE_SYSTEM):
                found.append(name)
    return found


def _check_files(path: Path, manifest: Manifest, *, training: bool) -> None:
    for name, expected in manifest.files.items():
        for inside in (PurePosixPath(name).parent, PurePosixPath(name)):
            if inside != PurePosixPath() and (path / inside).is_symlink():
                raise DamagedError(f"{path} must hold files, not links; {str(inside)!r} is one")
        if training or PurePosixPath(name).parts[0] != "training":
            _check_file(path, name, expected)
    with suppress(OSError):  # a missing folder was reported above if it matters
        if strays := stray_names(path, manifest):
            _warn_of(path, tuple(strays))


@cache
def _warn_of(path: Path, strays: Sequence[str]) -> None:
    """Once per process: a command may open a checkpoint more than once."""
    more = f" and {len(strays) - _MOST_SHOWN} more" if len(strays) > _MOST_SHOWN else ""
    log.warning(
        "%s has files that its manifest does not list, which are not used: %s%s",
        path, ", ".join(strays[:_MOST_SHOWN]), more,
    )  # fmt: skip


def _check_file(path: Path, name: str, expected: FileRecord) -> None:
    file = path / name
    try:
        if not file.is_file():
            raise DamagedError(f"{path} is incomplete: {name} is missing")
        if (size := file.stat().st_size) != expected.bytes:
            raise DamagedError(f"{file} must have {expected.bytes} bytes; got {size}")
        if record(file) != expected:
            raise DamagedError(f"{file} is damaged: its SHA-256 differs from the manifest's")
    except OSError as error:
        raise unreadable(file, error) from None


class _PlainLoader(yaml.SafeLoader):
    """Safe, and without aliases: a few lines of them can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name), which a config must not have")
        return super().compose_node(parent, index)


def _plain_yaml(raw: bytes) -> Any:
    loader = _PlainLoader(raw)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


_UNLIKE = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""Raised when the values are not structured as a config."""


def _shape(tensors: Mapping[str, Tensor], key: str) -> str:
    return "x".join(map(str, tensors[key].shape)) if key in tensors else "absent"
