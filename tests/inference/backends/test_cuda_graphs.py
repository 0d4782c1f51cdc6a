"""Steps that are captured once and replayed: the samples are those of steps computed one by one.

`tape` replaces CUDA's capture on a CPU. As there, a replay runs the same operations on the
same places in memory, with every number that the host had then.
"""

import logging
from dataclasses import replace

import pytest
import torch
from decoding import finished
from test_engine import EOT, SAMPLING, requests
from torch.utils._python_dispatch import TorchDispatchMode

from gpt_pipeline.config.compose import compose
from gpt_pipeline.inference import Engine, Request, prepare
from gpt_pipeline.inference.backends.cuda_graphs import CudaGraphsBackend
from gpt_pipeline.inference.backends.torch import TorchBackend
from gpt_pipeline.model import GPTModel

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
MODELS = {
    "gpt2": "block=gpt2",
    "qwen3": "block=qwen3 model.num_heads=4 block.num_kv_heads=2 block.attention=causal",
}


class Tape(TorchDispatchMode):
    """Every operation, with what it was given and what it gave."""

    def __init__(self):
        super().__init__()
        self.played = []

    def __torch_dispatch__(self, function, types, given=(), named=None):
        found = function(*given, **(named or {}))
        self.played.append((function, given, named or {}, found))
        return found


def tape(compute):
    with Tape() as recorded:
        result = compute()

    def replay():
        for function, given, named, found in recorded.played:
            again = function(*given, **named)
            for place, new in zip(tensors(found), tensors(again), strict=True):
                if new.data_ptr() != place.data_ptr():  # neither a view nor in place
                    place.copy_(new)

    return replay, result


def tensors(found):
    several = found if isinstance(found, tuple | list) else [found]
    return [each for each in several if isinstance(each, torch.Tensor)]


def model_of(block):
    """V=67, context 16, with large weights."""
    sizes = ["model=tiny", "model.vocab_size=67", "model.embed_dim=24", "model.num_heads=3",
             "model.ff_hidden_dim=36", "model.num_layers=2", "model.max_length=16"]  # fmt: skip
    torch.manual_seed(4)
    model = GPTModel(compose([*sizes, *block.split()]).config.gpt_config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.5)
    return model


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def replaying(request):
    """A backend whose steps are on tape, and the numbers of rows that were captured."""
    recorded = []

    def record(compute):
        replay, result = tape(compute)
        recorded.append(len(result))
        return replay, result

    return CudaGraphsBackend(model_of(request.param), capture=lambda: record), recorded


def all_made(model, wanted, slots):
    """Samples that join two a step, and so in rows of all lengths."""
    engine, waiting, sampled = Engine(model, EOT, slots), list(wanted), {}
    requests_of = {}
    while waiting or engine.active:
        for _ in range(min(2, len(waiting), engine.free)):
            request = waiting.pop(0)
            requests_of[engine.add(request)] = request
        for key, one in engine.step():
            sampled.setdefault(key, []).append(one)
    return {requests_of[key]: finished(tokens) for key, tokens in sampled.items()}


def test_replayed_samples_are_those_computed_anew(replaying):
    backend, recorded = replaying
    wanted = [*requests(18, seed=5)]
    replayed = all_made(backend, wanted, slots=6)
    assert sorted(recorded) == [1, 2, 4, 6]
    assert replayed == all_made(backend.model, wanted, slots=6)
    assert max(len(sample.tokens) for sample in replayed.values()) > 20  # past the context


def test_logits_are_those_of_the_model_whatever_the_rows_hold(replaying):
    backend, _ = replaying
    for number in (1, 3, 4):
        cache = backend.new_cache(4)
        with torch.inference_mode():
            for place, held in enumerate([[5], [9, 3, 4, 8, 7], [1, 2], [6, 6, 6]][:number]):
                cache.read(place, held)
            expected_cache = TorchBackend(backend.model).new_cache(number)
            for place in range(number):
                expected_cache.lengths[place] = cache.lengths[place]
                for ours, theirs in zip(expected_cache.kv.layers, cache.kv.layers, strict=True):
                    ours.keys[place], ours.values[place] = theirs.keys[place], theirs.values[place]
            for token in (11, 12, 13):
                got = cache.next_logits([token] * number)
                expected = expected_cache.next_logits([token] * number)
                torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
        assert cache.lengths[:number].tolist() == expected_cache.lengths.tolist()


def test_a_device_that_captures_nothing_computes_each_step(replaying, caplog):
    def refuse(compute):
        compute()
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    backend, _ = replaying
    backend.capture = lambda: refuse
    with caplog.at_level(logging.WARNING):
        got = all_made(backend, requests(6), slots=3)
    assert caplog.text.count("cannot be captured: operation not permitted when stream") == 1
    assert got == all_made(backend.model, requests(6), slots=3)


def test_only_a_cuda_device_captures():
    model = model_of(MODELS["gpt2"])
    assert CudaGraphsBackend.supports(model) == "cpu devices"
    assert prepare(model).name != CudaGraphsBackend.name


@pytest.mark.gpu
@no_cuda
@pytest.mark.parametrize("block", MODELS.values(), ids=MODELS)
def test_on_cuda_replayed_samples_are_those_computed_anew(block):
    wanted = [Request((5, number), replace(SAMPLING, temperature=0.0), 1) for number in range(7)]
    made = []
    for compile in (True, False):
        backend = prepare(model_of(block).cuda(), compiled=compile)
        made.append(all_made(backend, wanted, slots=7))
        assert isinstance(backend, CudaGraphsBackend) == compile
        assert not compile or backend.can_capture
    assert made[0] == made[1]


@pytest.mark.gpu
@no_cuda
@pytest.mark.parametrize("block", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_on_cuda_replayed_logits_are_those_computed_anew(block, weights):
    rows = []
    for compile in (True, False):
        backend = prepare(model_of(block).cuda(), weights=weights, compiled=compile)
        with torch.inference_mode():
            cache = backend.new_cache(3)
            made = [cache.next_logits([token, 7, token]).cpu() for token in range(12)]
        assert not compile or backend.can_capture
        rows.append(torch.stack(made))
    torch.testing.assert_close(rows[0], rows[1], atol=0.05 * float(rows[1].std()), rtol=0.05)
