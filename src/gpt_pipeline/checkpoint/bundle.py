"""One bundle: opened, verified, and its parts loaded."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, device

from gpt_pipeline.checkpoint.manifest import MANIFEST, Manifest, record
from gpt_pipeline.config import Config
from gpt_pipeline.errors import CheckpointError, ConfigError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
TOKENIZER = "tokenizer.json"
OPTIMIZER = "training/optimizer.safetensors"
STATE = "training/state.json"
FILES = (WEIGHTS, CONFIG, TOKENIZER, OPTIMIZER, STATE)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found whole by `open_bundle`."""

    path: Path
    manifest: Manifest

    def config(self) -> Config:
        """The resolved config of the run that wrote the bundle."""
        try:
            return Config.parse(yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8")))
        except (ConfigError, yaml.YAMLError) as error:
            raise CheckpointError(f"{self.path / CONFIG} is not a config: {error}") from None

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the weights were trained with."""
        return Tokenizer.load(self.path / TOKENIZER)

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict, on the CPU."""
        return self._tensors(WEIGHTS)

    def load_model(self, to: device) -> GPTModel:
        """The model with its weights, in evaluation mode."""
        model = GPTModel(self.config().model.architecture())
        load_weights(model, self.weights(), self.path)
        return model.to(to).eval()

    def training(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values of the training state."""
        state = json.loads((self.path / STATE).read_text(encoding="utf-8"))
        return self._tensors(OPTIMIZER), state

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            return load_file(self.path / name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path / name} cannot be read: {error}") from None


def open_bundle(path: Path, *, training: bool = True) -> Bundle:
    """Check every file of a bundle against its manifest.

    Args:
        path: the bundle's folder.
        training: check the training state too; inference has no use for it.

    Raises:
        CheckpointError: names the first thing that is missing, foreign or damaged.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a folder; give the folder of a bundle")
    manifest = Manifest.read(path)
    if set(manifest.files) != set(FILES):
        odd = sorted(set(manifest.files) ^ set(FILES))
        raise CheckpointError(f"{path / MANIFEST} must list {', '.join(FILES)}; differs in {odd}")
    found = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()}
    if foreign := sorted(found - {MANIFEST, *FILES}):
        raise CheckpointError(f"{path} holds a file that its manifest does not list: {foreign[0]}")
    for name, expected in manifest.files.items():
        if not training and PurePosixPath(name).parts[0] == "training":
            continue
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{path} is incomplete: {name} is missing")
        if (size := file.stat().st_size) != expected.bytes:
            raise CheckpointError(f"{file} must have {expected.bytes} bytes; got {size}")
        if record(file) != expected:
            raise CheckpointError(f"{file} is damaged: its SHA-256 differs from the manifest's")
    return Bundle(path, manifest)


def load_weights(model: GPTModel, weights: dict[str, Tensor], source: Path) -> None:
    """Load a state dict, or say which keys and shapes differ."""
    own = model.state_dict()
    odd = [
        f"{key} ({_shape(weights, key)} in the checkpoint, {_shape(own, key)} in the model)"
        for key in sorted(own.keys() | weights.keys())
        if _shape(weights, key) != _shape(own, key)
    ]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise CheckpointError(
            f"{source} is of another architecture: {', '.join(odd[:3])}{more}; use the model it "
            "was made with, another model.checkpoint_name, or checkpoint.resume=never"
        )
    model.load_state_dict(weights)


def _shape(tensors: dict[str, Tensor], key: str) -> str:
    return "x".join(map(str, tensors[key].shape)) if key in tensors else "absent"
