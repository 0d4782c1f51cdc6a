"""Generation's forward pass in C: what the modules compute, and a row for itself."""

import ctypes
import errno
import itertools
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gpt_pipeline.config import Sampling
from gpt_pipeline.config.compose import compose
from gpt_pipeline.inference import Engine, Request
from gpt_pipeline.inference.backends.native import CompilerMissing, NativeBackend, load_library
from gpt_pipeline.inference.backends.native import library as library_module
from gpt_pipeline.inference.quantize import convert_weights
from gpt_pipeline.model import GPTModel

SIZES = """
model.vocab_size=301 model.embed_dim=48 model.ff_hidden_dim=100 model.max_length=40
model.num_heads=4 model.num_layers=3
""".split()
KINDS = {
    "gpt2": ["model=tiny"],
    "gpt2 without biases": ["model=tiny", "block.bias=false", "model.qkv_bias=true"],
    "qwen3": ["model=laptop", "block.attention=causal", "block.num_kv_heads=2"],
    "qwen3, no shared keys": ["model=laptop", "block.attention=causal", "block.num_kv_heads=4"],
    "rotary, layer norm, gelu": ["model=laptop", "block.attention=causal", "block.norm=layer_norm",
                                 "block.feed_forward=gelu", "block.qk_norm=false"],
    "learned, rms norm, swiglu": ["model=tiny", "block.norm=rms_norm", "block.feed_forward=swiglu"],
}  # fmt: skip
CLOSE = {"float32": 2e-6, "bfloat16": 0.03, "int8": 0.06}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        return load_library()
    except CompilerMissing as error:
        pytest.skip(f"cannot compile generation's forward pass, {error}; apt-get install g++")


def native(model, library, weights="float32"):
    assert NativeBackend.supports(model) is None
    return NativeBackend(convert_weights(model, weights), library)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def model(request, large_weights):
    return large_weights(compose([*request.param, *SIZES]).config.gpt_config(), 0.1)


@pytest.mark.parametrize(("size", "number"), [(14, 14), (301, 14), (64 * 40 + 17, 1), (9000, 114)])
def test_the_greatest_are_those_of_the_whole(library, large_weights, size, number):
    model = large_weights(compose(["model=tiny", *SIZES]).config.gpt_config(), 0.1)
    backend = native(model, library)
    torch.manual_seed(0)
    logits = torch.randn(5, size)
    logits[1] = logits[1].round()  # many equal ones
    logits[2, :-3] = -torch.inf
    logits[3] = 0.0
    logits[4] = logits[4].sort().values
    values, ids = backend.topk(logits, number)
    assert torch.equal(values, logits.topk(number).values)
    assert torch.equal(logits.gather(1, ids), values)
    assert all(len(set(row)) == number for row in ids.tolist())


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("weights", CLOSE)
def test_logits_are_those_of_the_modules(model, library, weights, threads):
    tokens = torch.randint(301, (3, 33))
    wanted = model(tokens)
    backend, before = native(model, library, weights), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        cache, parts = backend.new_cache(3), tokens.split([1, 7, 1, 24], dim=1)
        got = torch.cat([cache.logits(part, cache.kv) for part in parts], 1)
        scored = backend.logits(tokens)
    finally:
        torch.set_num_threads(before)
    assert got.dtype == torch.float32
    for logits in (got, scored):
        assert (logits - wanted).abs().max() < CLOSE[weights] * wanted.abs().max()
    assert list(cache.lengths) == [33, 33, 33]


@torch.inference_mode()
@pytest.mark.parametrize("weights", CLOSE)
def test_a_token_costs_the_same_whatever_is_read_beside_it(model, library, weights):
    """To the last bit: beside other rows, of other lengths, and in one part or many."""
    backend = native(model, library, weights)
    texts = [torch.randint(301, (1, length)) for length in (1, 30, 9, 17, 5, 39, 12, 3)]
    alone = []
    for text in texts:
        cache = backend.new_cache(1)
        alone.append([cache.logits(token, cache.kv) for token in text.split(1, dim=1)][-1])
    for number in range(1, len(texts) + 1):
        cache = backend.new_cache(number)
        for row, text in enumerate(texts[:number]):
            cache.read(row, text[0, :-1].tolist())
        last = [int(text[0, -1]) for text in texts[:number]]
        assert torch.equal(cache.next_logits(last), torch.cat(alone[:number])[:, 0])


@torch.inference_mode()
@pytest.mark.parametrize("weights", CLOSE)
def test_samples_beside_others_are_those_made_alone(model, library, weights):
    backend = native(model, library, weights)
    plain = Sampling(temperature=1.3, top_k=None, top_p=1.0, max_new_tokens=50)
    requests = [
        Request(tuple(range(1, 2 + 5 * idx)), replace(plain, max_new_tokens=70 - 9 * idx), 7, idx)
        for idx in range(6)
    ]
    assert _made(backend, requests, 6) == [
        one for request in requests for one in _made(backend, [request], 1)
    ]


def _made(backend, requests, slots):
    """Tokens of each; a request joins every other step."""
    engine, waiting, made = Engine(backend, 0, slots), list(requests), {}
    for step in itertools.count():
        if waiting and step % 2 == 0:
            made[engine.add(waiting.pop(0))] = []
        for key, sampled in engine.step():
            made[key].append(sampled.token)
        if not waiting and engine.active == 0:
            return list(made.values())
    raise AssertionError


@torch.inference_mode()
def test_what_is_not_a_number_stays_so(library):
    model = GPTModel(compose(["model=tiny", *SIZES]).config.gpt_config())
    with torch.no_grad():
        model.blocks[1].feed_forward.up.weight[3, 5] = torch.nan
    cache = native(model, library).new_cache(1)
    assert cache.logits(torch.tensor([[1, 2]]), cache.kv).isnan().any()


@torch.inference_mode()
def test_ids_that_there_are_not_are_refused_before_memory_is_read(library):
    model = GPTModel(compose(["model=tiny", *SIZES]).config.gpt_config())
    backend = native(model, library)
    for token in (301, -1):
        with pytest.raises(IndexError, match="from 0 to 300"):
            backend.new_cache(1).next_logits([token])
    with pytest.raises(ValueError, match="fit into max_length"):
        backend.new_cache(1).read(0, [0] * 41)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing compiled, and a compiler of the test's own first on the path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    library_module.load_library.cache_clear()
    yield tmp_path
    library_module.load_library.cache_clear()


def _processor_flags():
    path = Path("/proc/cpuinfo")
    return path.read_text().split() if path.exists() else []


def _compiler(folder, script):
    path = folder / "gcc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_it_is_compiled_once(library, fresh):
    load_library()
    (kept,) = (fresh / "cache" / "gpt-pipeline").iterdir()
    before = kept.stat().st_mtime_ns
    library_module.load_library.cache_clear()
    load_library()
    assert kept.stat().st_mtime_ns == before


def test_a_damaged_one_is_compiled_anew(library, fresh, monkeypatch):
    load_library()
    (kept,) = (fresh / "cache" / "gpt-pipeline").iterdir()
    damaged = fresh / "other" / "gpt-pipeline" / kept.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not a library")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh / "other"))
    library_module.load_library.cache_clear()
    load_library()
    assert damaged.stat().st_size > 1000
    assert [path.name for path in damaged.parent.iterdir()] == [kept.name]


@torch.inference_mode()
@pytest.mark.parametrize("weights", CLOSE)
@pytest.mark.parametrize(("processor", "needs"), [("haswell", "avx2"), ("x86-64", "sse2")])
def test_it_is_the_same_on_older_processors(
    fresh, monkeypatch, large_weights, weights, processor, needs
):
    if needs not in _processor_flags():
        pytest.skip(f"this processor has no {needs}")
    flags = [f"-march={processor}" if "-march" in flag else flag for flag in library_module._FLAGS]
    monkeypatch.setattr(library_module, "_FLAGS", tuple(flags))
    try:
        older = load_library()
    except CompilerMissing as error:
        pytest.skip(f"cannot compile generation's forward pass, {error}; apt-get install g++")
    assert older.panel() == {"haswell": 24, "x86-64": 12}[processor]
    model = large_weights(compose([*KINDS["qwen3"], *SIZES]).config.gpt_config(), 0.1)
    tokens = torch.randint(301, (5, 20))
    wanted = model(tokens)
    cache = native(model, older, weights).new_cache(5)
    parts = tokens.split([1, 18, 1], dim=1)
    got = torch.cat([cache.logits(part, cache.kv) for part in parts], 1)
    assert (got - wanted).abs().max() < CLOSE[weights] * wanted.abs().max()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'error: no such flag' >&2; exit 1", "fails: error: no such flag"),
        (
            'for word; do case "$last" in -o) echo > "$word";; esac; last=$word; done',
            "written or loaded",
        ),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="a shell script in the place of the compiler")
def test_a_compiler_that_does_not_work_is_no_compiler(library, fresh, script, reason):
    _compiler(fresh, script)
    with pytest.raises(CompilerMissing, match=reason):
        load_library()


def test_without_a_compiler_there_is_a_reason(library, fresh, monkeypatch):
    monkeypatch.setenv("PATH", str(fresh / "nothing"))
    with pytest.raises(CompilerMissing, match="no C compiler"):
        load_library()


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """The system's temporary folder, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(library_module.tempfile, "tempdir", str(folder))
    return folder


def test_a_user_without_a_home_has_it_compiled_each_time(library, fresh, temporary, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert load_library().panel() > 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT])
def test_a_cache_that_takes_nothing_is_passed_over(library, fresh, temporary, monkeypatch, error):
    make = library_module.tempfile.TemporaryDirectory

    def full(dir=None, **options):
        if dir is not None:
            raise OSError(error, os.strerror(error))
        return make(dir=dir, **options)

    monkeypatch.setattr(library_module.tempfile, "TemporaryDirectory", full)
    assert load_library().panel() > 0
    assert list(temporary.iterdir()) == []
    assert list((fresh / "cache" / "gpt-pipeline").iterdir()) == []


def test_a_cache_that_fills_up_while_it_is_compiled_is_passed_over(
    library, fresh, temporary, monkeypatch
):
    """As a disk without free bytes: the folder can be made, files in it cannot be written."""
    write = Path.write_bytes

    def full(path, raw):
        if fresh / "cache" in path.parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, raw)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert load_library().panel() > 0
    assert list(temporary.iterdir()) == []
    assert list((fresh / "cache" / "gpt-pipeline").iterdir()) == []


def test_without_any_place_to_compile_in_there_is_a_reason(library, fresh, monkeypatch):
    def nowhere(**options):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(library_module.tempfile, "TemporaryDirectory", nowhere)
    with pytest.raises(CompilerMissing, match=r"written or loaded: .*No usable temporary"):
        load_library()


def test_what_a_killed_process_left_in_the_cache_is_removed(library, fresh):
    left = fresh / "cache" / "gpt-pipeline" / "compiling-old"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    at_work = left.with_name("compiling-now")
    at_work.mkdir()
    load_library()
    assert not left.exists()
    assert at_work.exists()


def test_a_folder_that_nothing_may_run_from_is_passed_over(library, fresh, temporary, monkeypatch):
    """A home that is mounted noexec: the library is there, and cannot be loaded."""
    opened = library_module._opened

    def noexec(path):
        if fresh / "cache" in path.parents:
            raise OSError(f"{path}: failed to map segment from shared object")
        return opened(path)

    monkeypatch.setattr(library_module, "_opened", noexec)
    assert load_library().panel() > 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_type_of_torch_has_no_effect(model, library, dtype):
    backend = native(model, library)

    def best():
        cache = backend.new_cache(1)
        cache.read(0, [1, 2])
        return backend.topk(cache.next_logits([3]), 5)

    values, ids = best()
    torch.set_default_dtype(dtype)
    try:
        found = best()
    finally:
        torch.set_default_dtype(torch.float32)
    assert found[0].equal(values)
    assert found[1].equal(ids)


def test_weights_of_another_shape_than_the_config_gives_are_not_read_in_c(model):
    model.blocks[0].feed_forward.up = torch.nn.Linear(model.config.embed_dim, 8)
    assert "blocks.0.feed_forward.up.weight of shape (8, 48) " in NativeBackend.supports(model)
