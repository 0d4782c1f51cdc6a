"""The schema of conf/: what each key means, its type and its range.

Defaults live in conf/ alone; this file holds none. The docstring under a field is its line in
`--help` and in the README.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from gpt_pipeline.config.generation import SamplingConfig, ServeConfig
from gpt_pipeline.config.problems import field_problems, relation_problems, source_problems
from gpt_pipeline.config.slices import BatchSplit, GPTConfig, Sampling
from gpt_pipeline.config.text import DatasetConfig, TokenizerConfig
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.optimizers import OptimizerConfig
from gpt_pipeline.section import (
    Count,
    FileName,
    NonNegative,
    PathText,
    Positive,
    Rate,
    Section,
    Whole,
)


class TrainedModel(Section):
    """The keys of `model` that describe the network and its training."""

    vocab_size: Count | None
    """entries of the embedding; null: as many as the tokenizer has"""
    embed_dim: Count
    """width of the model"""
    ff_hidden_dim: Count
    """width of the feed-forward layers inside"""
    max_length: Count
    """context in tokens"""
    num_heads: Count
    """attention heads a layer; must divide embed_dim"""
    num_layers: Count
    """transformer blocks"""
    micro_batch_size: Count | Literal["auto"]
    """windows at once (on a CPU 2,048 tokens of them); auto: the most that fit, for equal steps"""
    grad_accumulation: Count
    """micro-batches an optimizer step"""
    ffn_dropout_rate: Rate
    """dropout after the feed-forward"""
    mha_dropout_rate: Rate
    """dropout in and after attention"""
    emb_dropout_rate: Rate
    """dropout after the embedding"""
    layer_norm_eps: Positive
    """added to the variance in LayerNorm"""
    qkv_bias: bool
    """bias of the query, key and value projections"""
    learning_rate: Positive
    """peak learning rate"""
    min_lr: NonNegative
    """learning rate at the end of the schedule"""
    weight_decay: NonNegative
    """AdamW's decay, on matrices only"""
    warmup_steps: Whole
    """steps of linear warm-up"""
    num_epochs: Count
    """passes over the training tokens, unless schedule.max_steps or max_minutes says otherwise"""
    eval_freq: Count
    """steps between partial evaluations at the validation loss"""
    eval_iter: Count
    """micro-batches of a partial evaluation; the figure at the end always covers every
    validation token
    """

    def batch_split(self) -> BatchSplit:
        """The slice that a step works with; auto must be resolved by then."""
        if self.micro_batch_size == "auto":
            raise ConfigError(["model.micro_batch_size must be a number here; got auto"])
        return BatchSplit(self.micro_batch_size, self.grad_accumulation)


class PromptKeys(Section):
    """The keys of `model` that describe how text is generated."""

    prompt: str
    """text to start from; empty: from end-of-text"""
    temperature: NonNegative
    """divides the logits before sampling; 0 is greedy"""
    top_k: Count | None
    """sample among this many best tokens; null: all"""
    top_p: Annotated[float, Field(gt=0, le=1)]
    """sample among the best tokens that hold this much probability; 1: all"""
    max_new_tokens: Count
    """tokens to generate at most"""


class ModelConfig(PromptKeys, TrainedModel):
    """The model, its training and its sampling, under the names of the published project."""

    checkpoint_name: FileName | None
    """name of the run's checkpoints; null: <model>-<dataset> for training, any for the rest"""
    checkpoint_path: PathText
    """folder of the checkpoints"""


class BlockConfig(Section):
    """What the blocks of the model are made of."""

    position: Literal["learned", "rotary"]
    """learned: a vector a position; rotary: queries and keys turn with it"""
    rope_theta: Positive
    """base of the rotary angles"""
    norm: Literal["layer_norm", "rms_norm"]
    """normalisation before attention, feed-forward and head"""
    feed_forward: Literal["gelu", "swiglu"]
    """gelu: widen and narrow; swiglu: with a gate"""
    attention: Literal["causal", "document"]
    """what a token sees of those before it: all in its window, or those of its own document"""
    eot_id: int | None
    """the token behind which a document begins (attention=document); null: the tokenizer's"""
    qk_norm: bool
    """RMSNorm of queries and keys, head by head"""
    num_kv_heads: Count | None
    """heads of keys and values, each shared by a group; must divide num_heads; null: as many"""
    bias: bool
    """bias of the other projections"""


class ScheduleConfig(Section):
    """The learning rate's course and the run's end."""

    name: Literal["cosine", "wsd", "constant"]
    """decay to model.min_lr after warm-up; wsd: constant, then linear; constant: no decay"""
    decay_share: Annotated[float, Field(gt=0, le=1)]
    """share of the run after warm-up in which the learning rate falls (schedule=wsd)"""
    max_steps: Count | None
    """optimizer steps of the run; null: the epochs decide"""
    max_minutes: Positive | None
    """minutes of training after which the run ends, its schedule complete; null: no such limit"""


class CheckpointConfig(Section):
    """When checkpoints are written, and which one is read."""

    save_every: Count
    """steps between scheduled checkpoints"""
    keep_last: Count
    """newest checkpoints of the run to keep, beside the best"""
    background: bool
    """write checkpoints beside the training, from a copy of weights and optimizer in host memory"""
    retry_after_s: NonNegative
    """seconds until a checkpoint that could not be saved is tried again"""
    resume: Literal["auto", "never", "must"]
    """auto: go on with an unfinished run; never: start anew; must: refuse to start anew"""
    load: PathText
    """checkpoint for inference and evaluate: last, best, or a folder"""


class TrainedRuntime(Section):
    """The keys of `runtime` that a run depends on."""

    seed: Whole
    """seed of initial weights, order of the data, dropout and sampling"""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """auto: cuda, else mps, else cpu"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    """precision of the matrix products; auto: bfloat16 where the hardware has it"""
    compile: Literal["auto", True, False]
    """training: by torch, auto: long runs on CUDA; generation: as C with gcc, on CUDA by graphs"""
    num_threads: Count | None
    """CPU threads of torch; null: torch decides"""
    deterministic: bool
    """refuse operations whose result can differ between two runs (slower on a GPU)"""
    max_bad_steps: Count
    """steps in a row with a loss or gradient that is not finite before the run goes back"""


class RuntimeConfig(TrainedRuntime):
    """The machine, and the seed."""

    weights: Literal["float32", "bfloat16", "int8"]
    """what the weights are kept in for inference, evaluate and serve; int8: with a scale a row"""
    profile: bool
    """write a trace of three steps of this session, by torch's profiler, into the run folder"""


class LoggingConfig(Section):
    """What a run writes down while it goes."""

    log_every: Count
    """steps between lines of metrics.jsonl"""
    sample_tokens: Whole
    """tokens of the sample text at each evaluation; 0: none"""
    plot_every_s: NonNegative
    """seconds between two drawings of the plots, at least"""


AnyRoot = TypeVar("AnyRoot", bound="_Root")


class _Root(Section):
    """A config of several groups, which checks plain values."""

    @classmethod
    def parse(cls: type[AnyRoot], values: Mapping[str, Any]) -> AnyRoot:
        """Check plain nested values.

        Raises:
            ConfigError: with one line for each problem.
        """
        problems = list(cls._relation_problems(values))
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError([*field_problems(error, cls), *problems]) from None
        if problems:
            raise ConfigError(problems)
        return config

    @classmethod
    def _relation_problems(cls, values: Mapping[str, Any]) -> Iterator[str]:
        """A line for each problem between keys."""
        yield from ()

    def replace(self: AnyRoot, changes: Mapping[str, Any]) -> AnyRoot:
        """A copy with some dotted keys changed, checked again."""
        values = self.model_dump()
        for key, value in changes.items():
            *groups, leaf = key.split(".")
            node = values
            for group in groups:
                node = node[group]
            node[leaf] = value
        return self.parse(values)

    def _part(self, kind: type[AnyRoot]) -> AnyRoot:
        """The groups and keys that another config has of this one."""
        values = self.model_dump()
        part = {}
        for name, field in kind.model_fields.items():
            section = field.annotation
            own = section.model_fields if isinstance(section, type) else values[name]
            part[name] = {leaf: values[name][leaf] for leaf in own}
        return kind.model_validate(part)


class GenerationConfig(_Root):
    """How text is generated: the recommended sampling that a checkpoint has in generation.json."""

    model: PromptKeys
    sampling: SamplingConfig

    def sampler(self) -> Sampling:
        """The slice that generation works with."""
        values = self.model.model_dump() | self.sampling.model_dump()
        values["stop"] = tuple(self.sampling.stop)
        values["logit_bias"] = tuple((self.sampling.logit_bias or {}).items())
        return Sampling(**{field.name: values[field.name] for field in fields(Sampling)})


class TrainedConfig(_Root):
    """What a model is and how it was trained: the config that a checkpoint has in config.yaml."""

    dataset: DatasetConfig
    tokenizer: TokenizerConfig
    model: TrainedModel
    block: BlockConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    runtime: TrainedRuntime

    @classmethod
    def _relation_problems(cls, values: Mapping[str, Any]) -> Iterator[str]:
        yield from relation_problems(values, TrainedConfig.model_fields["optimizer"])

    def gpt_config(self) -> GPTConfig:
        """The slice that GPTModel is built from; model.vocab_size must be resolved by then."""
        if self.model.vocab_size is None:
            raise ConfigError(["model.vocab_size must be set here; got null"])
        values = self.model.model_dump() | self.block.model_dump()
        values["eot_id"] = self._document_end()
        if self.block.num_kv_heads is None:
            values["num_kv_heads"] = self.model.num_heads
        return GPTConfig(**{field.name: values[field.name] for field in fields(GPTConfig)})

    def _document_end(self) -> int | None:
        if self.block.attention == "causal":
            return None
        if self.block.eot_id is None:
            raise ConfigError(["block.eot_id must be set here; got null"])
        return self.block.eot_id


class Config(TrainedConfig):
    """The whole config of one command."""

    model: ModelConfig
    runtime: RuntimeConfig
    checkpoint: CheckpointConfig
    logging: LoggingConfig
    sampling: SamplingConfig
    serve: ServeConfig
    format: Literal["text", "json"]
    """what inference and evaluate print: text, or one JSON object per result"""
    num_samples: Count
    """samples for each prompt (inference)"""
    prompts: PathText | None
    """file with one prompt per line, instead of model.prompt (inference)"""
    output: PathText | None
    """.jsonl file for one JSON object per sample, instead of standard output (inference)"""

    @classmethod
    def _relation_problems(cls, values: Mapping[str, Any]) -> Iterator[str]:
        yield from super()._relation_problems(values)
        yield from source_problems(values)

    def trained(self) -> TrainedConfig:
        """The part that a checkpoint stores as config.yaml."""
        return self._part(TrainedConfig)

    def generation(self) -> GenerationConfig:
        """The part that a checkpoint stores as generation.json."""
        return self._part(GenerationConfig)

    def sampler(self) -> Sampling:
        """The slice that generation works with."""
        return self.generation().sampler()
