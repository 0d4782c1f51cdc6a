"""The schema of conf/: what each key means, its type and its range.

Defaults live in conf/ alone; this file holds none. The docstring under a field is its line in
`--help` and in docs/configuration.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from gpt_pipeline.config.generation import SamplingConfig, ServeConfig
from gpt_pipeline.config.problems import (
    field_problems,
    float16_problem,
    relation_problems,
    source_problems,
)
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
    """size of the vocabulary; null: that of the tokenizer"""
    embed_dim: Count
    """embedding dimension"""
    ff_hidden_dim: Count
    """hidden dimension of the feed-forward layers"""
    max_length: Count
    """context length in tokens, and the length of a training window"""
    num_heads: Count
    """attention heads per layer; must divide model.embed_dim"""
    num_layers: Count
    """transformer blocks"""
    micro_batch_size: Count | Literal["auto"]
    """windows per micro-batch (a CPU processes at most 2,048 tokens at a time); auto: the largest
    that fits into memory, with the same tokens per optimizer step
    """
    grad_accumulation: Count
    """micro-batches per optimizer step"""
    ffn_dropout_rate: Rate
    """dropout rate after the feed-forward layers"""
    mha_dropout_rate: Rate
    """dropout rate of attention weights and after attention"""
    emb_dropout_rate: Rate
    """dropout rate after the embedding"""
    layer_norm_eps: Positive
    """epsilon of LayerNorm and RMSNorm"""
    qkv_bias: bool
    """bias in the query, key and value projections"""
    learning_rate: Positive
    """peak learning rate"""
    min_lr: NonNegative
    """learning rate at the end of the schedule"""
    weight_decay: NonNegative
    """weight decay of matrices and embeddings; biases and norms have none"""
    warmup_steps: Whole
    """optimizer steps of linear warm-up"""
    num_epochs: Count
    """passes over the training tokens, unless schedule.max_steps or max_minutes ends the run"""
    eval_freq: Count
    """optimizer steps between partial evaluations on the validation text"""
    eval_iter: Count
    """micro-batches of a partial evaluation; the final evaluation covers every validation token"""

    def batch_split(self) -> BatchSplit:
        """The slice for a training step; auto must be resolved before."""
        if self.micro_batch_size == "auto":
            raise ConfigError(["model.micro_batch_size must be a number here; got auto"])
        return BatchSplit(self.micro_batch_size, self.grad_accumulation)


class PromptKeys(Section):
    """The keys of `model` that describe how text is generated."""

    prompt: str
    """text to continue; empty: start a new document"""
    temperature: NonNegative
    """divisor of the logits before sampling; 0: greedy decoding"""
    top_k: Count | None
    """sample from the k most likely tokens; null: from all"""
    top_p: Annotated[float, Field(gt=0, le=1)]
    """sample from the most likely tokens with this total probability (nucleus); 1: from all"""
    max_new_tokens: Count
    """maximum number of tokens to generate"""


class ModelConfig(PromptKeys, TrainedModel):
    """The model, its training and its sampling, under the names of the published project."""

    checkpoint_name: FileName | None
    """name of the run's checkpoints; null: <model>-<dataset> in train, any run elsewhere"""
    checkpoint_path: PathText
    """folder of the checkpoints"""


class BlockConfig(Section):
    """The components of a transformer block."""

    position: Literal["learned", "rotary"]
    """learned: one embedding per position; rotary: rotary position embedding (RoPE)"""
    rope_theta: Positive
    """base of the rotary frequencies (block.position=rotary)"""
    norm: Literal["layer_norm", "rms_norm"]
    """normalization before attention, feed-forward and head"""
    feed_forward: Literal["gelu", "swiglu"]
    """gelu: two layers with GELU; swiglu: gated with SiLU"""
    attention: Literal["causal", "document"]
    """causal: tokens attend to the window before them; document: to their own document only"""
    eot_id: int | None
    """id of the token that ends a document (block.attention=document); null: the tokenizer's"""
    qk_norm: bool
    """RMSNorm of the queries and keys of each head"""
    num_kv_heads: Count | None
    """heads of keys and values (grouped-query attention), a divisor of num_heads; null: equal"""
    bias: bool
    """bias in the other projections"""


class ScheduleConfig(Section):
    """The learning-rate schedule and the length of the run."""

    name: Literal["cosine", "wsd", "constant"]
    """decay to model.min_lr after warm-up; wsd: constant, then linear; constant: no decay"""
    decay_share: Annotated[float, Field(gt=0, le=1)]
    """share of the steps after warm-up in which the learning rate decays (schedule=wsd)"""
    max_steps: Count | None
    """optimizer steps of the run; null: set by model.num_epochs"""
    max_minutes: Positive | None
    """duration of training in minutes, with a complete schedule; null: no limit"""


class CheckpointConfig(Section):
    """When checkpoints are written, and which one is read."""

    save_every: Count
    """optimizer steps between checkpoints"""
    keep_last: Count
    """number of newest checkpoints to keep; the best one is kept too"""
    background: bool
    """write checkpoints in a thread, from a copy of weights and optimizer state in host memory"""
    retry_after_s: NonNegative
    """seconds before a checkpoint that could not be saved is tried again"""
    resume: Literal["auto", "never", "must"]
    """auto: resume an unfinished run; never: start a new run; must: fail unless a run is resumed"""
    load: PathText
    """checkpoint to use in inference, serve and evaluate: last, best, or a folder"""


class TrainedRuntime(Section):
    """The keys of `runtime` that a run depends on."""

    seed: Whole
    """seed of initial weights, data order, dropout and sampling"""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """auto: cuda, else mps, else cpu"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    """precision of matrix products; auto: bfloat16 if the hardware supports it, else float32"""
    compile: Literal["auto", True, False]
    """training: torch.compile (auto: for long runs on CUDA); generation: native decoder compiled
    with gcc on a CPU, CUDA graphs on a GPU
    """
    num_threads: Count | None
    """CPU threads of torch; null: torch's default, at most the usable cores"""
    deterministic: bool
    """allow deterministic operations only (slower on a GPU)"""
    max_bad_steps: Count
    """consecutive steps with a non-finite loss or gradient before the run rolls back"""


class RuntimeConfig(TrainedRuntime):
    """The machine, and the seed."""

    weights: Literal["float32", "bfloat16", "int8"]
    """precision of the weights in inference, evaluate and serve; int8: one scale per row"""
    profile: bool
    """write a torch.profiler trace of three steps of this session into the run folder"""


class LoggingConfig(Section):
    """What a run logs."""

    log_every: Count
    """optimizer steps between lines of metrics.jsonl"""
    sample_tokens: Whole
    """tokens of the sample generated at each evaluation; 0: no sample"""
    plot_every_s: NonNegative
    """minimum seconds between two updates of the plots"""


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
        """The slice for generation."""
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
        """The slice for GPTModel; model.vocab_size must be resolved before."""
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
    """output of inference, evaluate, plan and verify: text, or one JSON object per line"""
    num_samples: Count
    """samples per prompt (inference)"""
    prompts: PathText | None
    """file with one prompt per line, instead of model.prompt (inference)"""
    output: PathText | None
    """.jsonl file for one JSON object per sample, instead of standard output (inference)"""

    @classmethod
    def _relation_problems(cls, values: Mapping[str, Any]) -> Iterator[str]:
        yield from super()._relation_problems(values)
        yield from source_problems(values)

    def check_trainable(self) -> None:
        """Refuse what only training cannot do.

        Raises:
            ConfigError: the optimizer does not support float16.
        """
        if self.runtime.dtype == "float16" and not self.optimizer.supports_float16:
            raise ConfigError([float16_problem(self.optimizer.name)])

    def trained(self) -> TrainedConfig:
        """The part that a checkpoint stores as config.yaml."""
        return self._part(TrainedConfig)

    def generation(self) -> GenerationConfig:
        """The part that a checkpoint stores as generation.json."""
        return self._part(GenerationConfig)

    def sampler(self) -> Sampling:
        """The slice for generation."""
        return self.generation().sampler()
