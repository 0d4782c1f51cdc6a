"""The public Python API, described in docs/python-api.md: load a model, train one, evaluate one."""

import copy
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import torch
from torch import Tensor
from typing_extensions import TypedDict, Unpack

from gpt_pipeline.checkpoint import Checkpoint, open_checkpoint
from gpt_pipeline.cli.checkpoint import SHIPPED, choose_checkpoint, sampling_config
from gpt_pipeline.cli.evaluate import validation_figures
from gpt_pipeline.cli.train import TrainResult, train
from gpt_pipeline.config import GenerationConfig, Sampling, TrainedConfig, expanded_path
from gpt_pipeline.config.compose import compose
from gpt_pipeline.config.problems import shown
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.inference import TextGenerator, check_logit_bias, prepare
from gpt_pipeline.inference.prompts import encode_prompts
from gpt_pipeline.inference.quantize import Weights
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.device import choose_device, set_up_torch, torch_settings_restored
from gpt_pipeline.tokenizer import Tokenizer

__all__ = ["LanguageModel", "SamplingSettings", "Score", "TrainResult", "evaluate", "load", "train"]

_State = tuple[tuple[float, ...], ...] | None


class SamplingSettings(TypedDict, total=False):
    """The settings of a call that generates; docs/configuration.md describes each."""

    temperature: float
    top_k: int | None
    top_p: float
    max_new_tokens: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[int, float] | None
    stop: list[str]
    add_bos_token: bool


@dataclass(frozen=True)
class Score:
    """The log-probability of a text under a model.

    Attributes:
        tokens: the ids of the text.
        logprobs: natural log-probability of each token given those before it. That of the first
            is None if nothing comes before it: the model was trained without end-of-text.
        num_bytes: UTF-8 bytes of the text.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    num_bytes: int

    @property
    def logprob(self) -> float:
        """The log-probability of the text: the sum over its tokens."""
        return math.fsum(value for value in self.logprobs if value is not None)

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative log-probability per token; NaN without tokens."""
        counted = sum(value is not None for value in self.logprobs)
        return math.exp(-self.logprob / counted) if counted else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte, comparable between tokenizers; NaN for an empty text."""
        return -self.logprob / math.log(2) / self.num_bytes if self.num_bytes else math.nan


class LanguageModel:
    """A trained model with its tokenizer: generates text, scores text and computes logits.

    Settings that a call leaves out are those that the checkpoint recommends. An instance is not
    thread-safe; use one per thread.

    Attributes:
        checkpoint: where it was loaded from.
        config: what the model is and how it was trained.
        recommended: the sampling that the checkpoint recommends.
        tokenizer: text to token ids and back.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        recommended: GenerationConfig,
        device: torch.device,
        weights: Weights,
    ) -> None:
        self.checkpoint, self.recommended = checkpoint, recommended
        self.config: TrainedConfig = checkpoint.config()
        self.tokenizer: Tokenizer = checkpoint.tokenizer()
        self._device, self._weights = device, weights
        self._prepared: tuple[_State, TextGenerator] | None = None

    def __repr__(self) -> str:
        m = self.config.model
        return (
            f"<LanguageModel {self.checkpoint.path}: {m.num_layers} layers, {m.embed_dim} wide, "
            f"context {m.max_length}, vocabulary {m.vocab_size}>"
        )

    @cached_property
    def module(self) -> GPTModel:
        """The network in float32, in evaluation mode.

        `module(tokens)` returns logits [B, T, V], `module(tokens, targets)` the loss. It can be
        trained: `generate`, `score` and `logits` use its current weights.
        """
        with torch.inference_mode(False):  # its owner may train it
            return self.checkpoint.load_model(self._device)

    def generate(
        self, prompt: str | None = None, *, seed: int = 0, **settings: Unpack[SamplingSettings]
    ) -> str:
        """A prompt and one continuation of it, as `gpt-pipeline inference` generates it.

        Args:
            prompt: text to continue; None: the recommended one; empty: start with end-of-text.
            seed: the text is a function of the weights, the prompt, the settings and the seed.
            **settings: see `SamplingSettings`.

        Raises:
            UserError: the prompt is longer than the context, or logits are not finite.
            ConfigError: a setting is unknown or out of its range.
        """
        text = self._prompt(prompt)
        return text + "".join(self.stream(text, seed=seed, **settings))

    def stream(
        self, prompt: str | None = None, *, seed: int = 0, **settings: Unpack[SamplingSettings]
    ) -> Iterator[str]:
        """The continuation of a prompt in pieces, while it is generated.

        The prompt is not part of it, and no piece ends within a character. Arguments and errors
        are those of `generate`.
        """
        text = self._prompt(prompt)
        return self._generator().stream(text, self._sampling(settings), _seed(seed))

    def generate_many(
        self,
        prompts: Sequence[str],
        *,
        num_samples: int = 1,
        seed: int = 0,
        **settings: Unpack[SamplingSettings],
    ) -> list[str]:
        """`num_samples` continuations of each prompt, generated in batches.

        Args:
            prompts: texts to continue.
            num_samples: continuations per prompt, all different.
            seed: of all of them.
            **settings: see `SamplingSettings`.

        Returns:
            Prompts with their continuations: those of the first prompt, of the second, and so on.

        Raises:
            UserError: a prompt is longer than the context, or logits are not finite.
            ConfigError: a setting is unknown or out of its range.
        """
        if isinstance(prompts, str):
            raise UserError("prompts must be a list of texts; got one text; use generate for it")
        number = _whole(num_samples, "num_samples", least=1)
        named = [
            (name, _text(text, name))
            for index, text in enumerate(prompts)
            for name in [f"prompts[{index}]"]
        ]
        encoded = encode_prompts(named, self.tokenizer, max_length=self.config.model.max_length)
        samples = self._generator().samples(
            encoded, self._sampling(settings), _seed(seed), num_samples=number
        )
        return [sample.prompt + sample.text for sample in samples] if encoded else []

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits of the token after each of `ids`, float32 [T, V] on the CPU.

        Raises:
            UserError: there are no ids, more than max_length, or one is not in the vocabulary.
        """
        most, size = self.config.model.max_length, self.tokenizer.vocab_size
        if not 0 < len(ids) <= most:
            raise UserError(f"ids must hold from 1 to {most} token ids; got {len(ids)}")
        whole = [_whole(each, "a token id", least=0) for each in ids]
        if max(whole) >= size:
            raise UserError(f"token ids must be from 0 to {size - 1}; got {max(whole)}")
        return self._logits(whole)

    def score(self, text: str) -> Score:
        """The log-probability of each token of a text.

        A text that is longer than the context is scored in windows, as validation is: the first
        token of a window is predicted from the token before it alone.

        Raises:
            UserError: the text is not valid Unicode.
        """
        ids, length = self.tokenizer.encode(_text(text, "text")), self.config.model.max_length
        starts_with_eot = self.checkpoint.trained_with_eot
        stream = [self.tokenizer.eot_id, *ids] if starts_with_eot else ids
        logprobs: list[float | None] = [] if starts_with_eot or not ids else [None]
        for start in range(0, len(stream) - 1, length):
            window = stream[start : start + length + 1]
            table = self._logits(window[:-1]).log_softmax(-1)
            logprobs += table.gather(1, torch.tensor(window[1:])[:, None])[:, 0].tolist()
        return Score(tuple(ids), tuple(logprobs), len(text.encode("utf-8")))

    @torch.no_grad()
    def _logits(self, ids: list[int]) -> Tensor:
        """Logits [T, V], in evaluation mode; the module's own mode is restored."""
        module = self.module
        was_training = module.training
        module.eval()
        try:
            logits: Tensor = module(torch.tensor([ids], device=self._device))[0]
        finally:
            module.train(was_training)
        return logits.float().cpu()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the prepared backend, which holds pointers into a library."""
        return vars(self) | {"_prepared": None}

    def _prompt(self, prompt: str | None) -> str:
        return self.recommended.model.prompt if prompt is None else _text(prompt, "prompt")

    def _sampling(self, settings: SamplingSettings) -> Sampling:
        """The recommended settings with some changed.

        Raises:
            ConfigError: one is unknown, or out of its range.
        """
        known = SamplingSettings.__annotations__
        if unknown := settings.keys() - known.keys():
            raise ConfigError(
                [f"{min(unknown)} is not a setting of sampling; use {', '.join(known)}"]
            )
        size = self.config.model.vocab_size or 0
        of_model = type(self.recommended.model).model_fields
        sampling = self.recommended.replace(
            {
                f"{'model' if name in of_model else 'sampling'}.{name}": value
                for name, value in settings.items()
            }
        ).sampler()
        check_logit_bias((token for token, _ in sampling.logit_bias), size, "sampling.logit_bias")
        return sampling

    def _generator(self) -> TextGenerator:
        """What generates, prepared again after the weights of `module` changed."""
        state = self._state_of_module()
        if self._prepared is None or self._prepared[0] != state:
            fresh = state is None
            model = (
                self.checkpoint.load_model(self._device) if fresh else copy.deepcopy(self.module)
            )
            backend = prepare(model, weights=self._weights)
            self._prepared = (state, TextGenerator(backend, self.tokenizer))
        return self._prepared[1]

    def _state_of_module(self) -> _State:
        """Changes whenever `module` computes something else; None if nobody has had it.

        The version of a weight does not count what is written through `.data` or numpy, so the
        sum of its values is compared too.
        """
        if "module" not in vars(self):
            return None
        module = self.module
        with torch.no_grad():
            weights = [
                (p.data_ptr(), p._version, float(p.sum(dtype=torch.float32)))
                for p in (*module.parameters(), *module.buffers())
            ]
        parts = [(id(m), *m._forward_hooks, *m._forward_pre_hooks) for m in module.modules()]
        return (*weights, *parts)


def load(
    checkpoint: str | Path | None = None,
    *,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    weights: Weights = "float32",
) -> LanguageModel:
    """Load a trained model.

    Args:
        checkpoint: a checkpoint's folder; `last` or `best` of `checkpoints/`; `shipped`, the model
            that comes with the package; None: as `gpt-pipeline inference` chooses, the last
            checkpoint, or the shipped model if there is none.
        device: auto chooses cuda, else mps, else cpu.
        weights: what generation keeps the weights in: float32, bfloat16 or int8.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        ConfigError: the device is not there, or a value is not allowed.
    """
    if checkpoint == "shipped":
        checkpoint = SHIPPED
    composed = compose([f"runtime.device={device}", f"runtime.weights={weights}"])
    runtime = composed.config.runtime
    if checkpoint is None or checkpoint in ("last", "best"):
        composed = compose([f"checkpoint.load={checkpoint or 'last'}"])
        opened = choose_checkpoint(composed)
    else:
        opened = open_checkpoint(Path(expanded_path(str(checkpoint), "checkpoint")), training=False)
    recommended = sampling_config(composed, opened)
    return LanguageModel(opened, recommended, choose_device(runtime.device), runtime.weights)


def evaluate(overrides: Sequence[str] = ()) -> dict[str, float]:
    """Evaluate a checkpoint over every validation token, as `gpt-pipeline evaluate` does.

    Args:
        overrides: those of the command line, such as `checkpoint.load=best`.

    Returns:
        What `format=json` prints: loss, perplexity, accuracy, bits_per_byte, tokens, bytes, and
        floor_bits_per_byte if the entropy of the text is known.

    Raises:
        UserError: as the command's errors.
    """
    with torch_settings_restored():
        composed = compose(overrides)
        device = set_up_torch(composed.config.runtime)
        return validation_figures(choose_checkpoint(composed), composed, device)


def _seed(seed: int) -> int:
    return _whole(seed, "seed", least=0)


def _whole(value: SupportsIndex, name: str, *, least: int) -> int:
    """An int, also from numpy or torch.

    Raises:
        UserError: it is no whole number, or too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise UserError(f"{name} must be a whole number; got {shown(value)}") from None
    if number < least:
        raise UserError(f"{name} must be at least {least}; got {number}")
    return number


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{name} must be a text; got {shown(value)}")
    return value
