"""Which backend a model gets, and that no backend computes a block that it does not know."""

import copy
import logging
from dataclasses import make_dataclass, replace

import pytest
import torch
from decoding import decode
from torch import nn

from gpt_pipeline.config import GPTConfig, Sampling
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.inference import plain_backend, prepare
from gpt_pipeline.inference.backends import choose
from gpt_pipeline.inference.backends.cuda_graphs import CudaGraphsBackend
from gpt_pipeline.inference.backends.native import CompilerMissing, NativeBackend, load_library
from gpt_pipeline.inference.backends.torch import TorchBackend
from gpt_pipeline.inference.backends.uncached import UncachedBackend
from gpt_pipeline.inference.quantize import convert_weights
from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks import transformer
from gpt_pipeline.model.blocks.feed_forward import FeedForward
from gpt_pipeline.model.blocks.mha import MultiHeadAttention
from gpt_pipeline.model.blocks.rms_norm import RMSNorm

SIZES = """
model=tiny model.vocab_size=61 model.embed_dim=32 model.ff_hidden_dim=48 model.max_length=16
model.num_heads=4 model.num_layers=2
""".split()
GREEDY = Sampling(temperature=0.0, top_k=None, top_p=1.0, max_new_tokens=40)
PROMPT = [5, 17, 2]
NO_EOT = 60


class ReLU2(FeedForward):
    """Another activation under the modules' own names: C would read it as GELU."""

    def forward(self, x, keys=None):
        return self.down(self.up(x).relu().square())


class LateScaledNorm(RMSNorm):
    def forward(self, x):
        return super().forward(x) * 1.5


class WindowedAttention(MultiHeadAttention):
    """Sees the last 4 positions, and knows nothing of caches."""

    def forward(self, x, rotation=None, cache=None, mask=None, keys=None):
        length = x.shape[1]
        near = torch.ones(length, length, dtype=torch.bool).tril().triu(-3)
        return super().forward(x, rotation, None, near.expand(len(x), -1, -1))


class ParallelBlock(transformer.TransformerBlock):
    def forward(self, x, rotation=None, cache=None, mask=None, keys=None):
        attended = self.attention(self.attention_norm(x), rotation, cache, mask)
        return x + attended + self.feed_forward(self.feed_forward_norm(x))


def config_of(*words):
    return compose([*SIZES, *words]).config.gpt_config()


def large(model):
    """With weights so large that logits are well separated."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.4)
    return model.eval()


def prepared(caplog, model, **options):
    """The backend, and what the log says of it."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="gpt_pipeline"):
        backend = prepare(model, **options)
    lines = [each.getMessage() for each in caplog.records]
    return backend, [line for line in lines if "compiled once" not in line]


def plain_text(model):
    """Greedy decoding by the plain forward pass; a full context shrinks to its last half."""
    context, tokens = list(PROMPT), []
    for _ in range(GREEDY.max_new_tokens):
        if len(context) > model.config.max_length:
            context = context[-(model.config.max_length // 2) :]
        with torch.inference_mode():
            tokens.append(int(model(torch.tensor([context]))[0, -1].argmax()))
        context.append(tokens[-1])
    return tokens


def text_of(backend):
    (sample,) = decode(backend, PROMPT, sampling=GREEDY, eot_id=NO_EOT, seed=0)
    return list(sample.tokens)


@pytest.fixture
def has_compiler():
    try:
        load_library()
    except CompilerMissing as error:
        pytest.skip(f"needs the native backend, and {error}; apt-get install g++")


def test_a_registered_block_that_no_fast_backend_knows_runs_on_torch(caplog, monkeypatch):
    monkeypatch.setitem(transformer.FEED_FORWARDS, "relu2", ReLU2)
    model = large(GPTModel(replace(config_of(), feed_forward="relu2")))
    wanted = plain_text(model)
    backend, lines = prepared(caplog, model)
    assert type(backend) is TorchBackend
    assert lines == ["backend: torch; native does not support block.feed_forward=relu2"]
    assert text_of(backend) == wanted
    assert wanted != plain_text(large(GPTModel(config_of())))


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_registered_block_is_quantized_as_any_other(monkeypatch, weights):
    monkeypatch.setitem(transformer.FEED_FORWARDS, "relu2", ReLU2)
    model = large(GPTModel(replace(config_of(), feed_forward="relu2")))
    tokens = torch.tensor([[*PROMPT, 9, 33]])
    with torch.inference_mode():
        wanted = model(tokens)
    got = prepare(model, weights=weights).logits(tokens).float()
    assert (got - wanted).abs().max() < 0.1 * wanted.abs().max()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("feed_forward", "relu2"),
        ("norm", "scaled"),
        ("position", "alibi"),
        ("attention", "sliding"),
        ("qk_norm", "l2"),
    ],
)
def test_a_value_that_the_decoder_in_c_does_not_implement_is_named(monkeypatch, key, value):
    monkeypatch.setitem(transformer.FEED_FORWARDS, "relu2", ReLU2)
    monkeypatch.setitem(transformer.NORMS, "scaled", LateScaledNorm)
    model = GPTModel(replace(config_of(), **{key: value}))
    assert NativeBackend.supports(model) == f"block.{key}={value}"


def test_a_key_that_the_decoder_in_c_does_not_know_is_named():
    """A new field of GPTConfig must be taught to the decoder, whatever its default is."""
    longer = make_dataclass("Longer", [("window", int, 7)], bases=(GPTConfig,), frozen=True)
    config = config_of()
    model = GPTModel(config)
    model.config = longer(**vars(config))
    assert NativeBackend.supports(model) == "block.window=7"


def relu2(model):
    model.blocks[1].feed_forward = ReLU2(model.config)


def scaled_norm(model):
    model.final_norm = LateScaledNorm(32, 1e-5)


def other_embedding(model):
    class Scaled(type(model.embedding)):
        def forward(self, tokens, positions, keys=None):
            return 2 * super().forward(tokens, positions)

    model.embedding = Scaled(model.config)


def other_head(model):
    class Doubled(type(model.embedding.token)):
        def project(self, hidden_states):
            return -super().project(hidden_states)

    model.embedding.token = Doubled(61, 32)


def hooked(model):
    model.blocks[0].attention.qkv.register_forward_hook(lambda module, given, out: 0.5 * out)


def low_rank(model):
    """As LoRA does: another class instead of a linear layer."""

    class Adapted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 0.5 * x

    model.blocks[0].attention.out = Adapted(32, 32)


def windowed(model):
    model.blocks[0].attention = WindowedAttention(model.config)


def sliding(model):
    class Sliding(type(model.document_mask)):
        def forward(self, tokens):
            length = tokens.shape[1]
            near = torch.ones(length, length, dtype=torch.bool).tril().triu(-3)
            return near.expand(len(tokens), -1, -1)

    model.document_mask = Sliding()


def parallel(model):
    model.blocks[0] = ParallelBlock(model.config)


@pytest.mark.parametrize(
    ("change", "named", "uncached"),
    [
        (relu2, "blocks.1.feed_forward (ReLU2)", False),
        (scaled_norm, "final_norm (LateScaledNorm)", False),
        (other_head, "embedding.token (Doubled)", False),
        (hooked, "blocks.0.attention.qkv (Linear with a forward hook)", True),
        (low_rank, "blocks.0.attention.out (Adapted)", True),
        (other_embedding, "embedding (Scaled)", True),
        (windowed, "blocks.0.attention (WindowedAttention)", True),
        (sliding, "document_mask (Sliding)", True),
        (parallel, "blocks.0 (ParallelBlock)", True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_module_of_another_class_is_never_computed_as_the_one_it_replaces(
    caplog, change, named, uncached
):
    original = large(GPTModel(config_of()))
    model = copy.deepcopy(original)
    change(model)
    model = large(model)
    wanted = plain_text(model)
    assert wanted != plain_text(original)
    for fast in (NativeBackend, CudaGraphsBackend):
        assert fast.supports(model) in (named, "cpu devices")
    backend, (line,) = prepared(caplog, copy.deepcopy(model))
    assert named in line
    assert type(backend) is (UncachedBackend if uncached else TorchBackend)
    assert text_of(backend) == wanted
    assert text_of(plain_backend(model)) == wanted


def test_samples_side_by_side_without_a_cache_are_those_made_alone():
    model = large(GPTModel(config_of()))
    windowed(model)
    sampling = replace(GREEDY, temperature=1.0)
    options = {"sampling": sampling, "eot_id": NO_EOT, "seed": 3}
    alone = decode(model, PROMPT, **options)
    assert decode(model, PROMPT, num_samples=3, **options)[0] == alone[0]


def test_a_fast_backend_is_chosen_without_a_word(caplog, has_compiler):
    model = large(GPTModel(config_of()))
    wanted = plain_text(model)
    backend, lines = prepared(caplog, model)
    assert (type(backend), lines) == (NativeBackend, [])
    assert text_of(backend) == wanted


@pytest.mark.parametrize("options", [{"compiled": False}, {"autocast": True}])
def test_what_was_asked_for_is_done_without_a_word(caplog, monkeypatch, options):
    monkeypatch.setattr(choose, "load_library", _no_compiler)
    backend, lines = prepared(caplog, GPTModel(config_of()), **options)
    assert (type(backend), lines) == (TorchBackend, [])


def _no_compiler():
    raise CompilerMissing("there is none")


def test_without_a_compiler_one_line_says_so(caplog, monkeypatch):
    monkeypatch.setattr(choose, "load_library", _no_compiler)
    backend, (line,) = prepared(caplog, GPTModel(config_of()))
    assert type(backend) is TorchBackend
    assert line.startswith("backend: torch; native cannot be compiled: there is none; ")


def test_compile_true_needs_a_compiler_and_a_model_that_is_supported(monkeypatch):
    monkeypatch.setattr(choose, "load_library", _no_compiler)
    with pytest.raises(ConfigError, match=r"compile=true: .* compiled: there is none; set"):
        prepare(GPTModel(config_of()), compiled=True)
    model = GPTModel(config_of())
    relu2(model)
    with pytest.raises(ConfigError, match=r"native does not support blocks\.1\.feed_forward"):
        prepare(model, compiled=True)
    windowed(model)
    with pytest.raises(ConfigError, match=r"no compiled backend supports blocks\.0\.attention"):
        prepare(model, compiled=True)


@pytest.mark.parametrize("words", [(), ("block=qwen3", "block.eot_id=0"), ("block.bias=false",)])
def test_every_backend_of_a_known_model_gives_the_text_of_the_plain_forward_pass(
    words, has_compiler
):
    model = large(GPTModel(config_of(*words)))
    wanted = plain_text(model)
    native = NativeBackend(convert_weights(copy.deepcopy(model), "float32"), load_library())
    for backend in (native, TorchBackend(model), UncachedBackend(model)):
        assert backend.supports(model) is None
        assert text_of(backend) == wanted


def test_a_model_in_training_whose_blocks_have_hooks_is_sampled_with_a_cache():
    """A step that can be interrupted puts hooks on the blocks; sampling calls the blocks."""
    model = large(GPTModel(config_of()))
    calls = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda module, given: calls.append(module))
    backend = plain_backend(model)
    assert type(backend) is TorchBackend
    assert text_of(backend) == plain_text(model)
    assert calls


def test_a_model_without_some_of_its_blocks_is_sampled_by_its_own_forward_pass():
    model = large(GPTModel(config_of()))
    model.blocks = model.blocks[:1]
    wanted = plain_text(model)
    backend = prepare(model)
    assert type(backend) is UncachedBackend
    assert text_of(backend) == wanted
