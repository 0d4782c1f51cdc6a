"""The Python API: the examples of its document, and what they do not show."""

import contextlib
import copy
import io
import json
import math
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from small_run import SMALL, corpus

import gpt_pipeline
from gpt_pipeline.cli.main import run
from gpt_pipeline.errors import CheckpointError, ConfigError, GptPipelineError, UserError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model():
    return gpt_pipeline.load("shipped", device="cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(*overrides):
    """What a command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run([*overrides]) == 0
    return out.getvalue()


def test_the_examples_of_the_document_run(folder):
    """In one process, as a reader would run them one after the other, outside the repository."""
    readme, document = (
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
        for name in ("README.md", "docs/python-api.md")
    )
    assert len(readme) == 1
    assert len(document) >= 6
    blocks = [*document, *readme]
    (folder / "my_stories.txt").write_text(corpus(), encoding="utf-8")
    (folder / "examples.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "examples.py"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "must be a number >= 0; got -1" in done.stdout


def test_importing_the_package_loads_no_torch():
    code = "import gpt_pipeline, sys; dir(gpt_pipeline); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_name_is_there_and_documented():
    for name in gpt_pipeline.__all__:
        assert getattr(gpt_pipeline, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = gpt_pipeline.nothing


def test_it_generates_what_the_command_does(model, folder):
    words = [
        "model.prompt=The cat",
        "model.max_new_tokens=15",
        "runtime.seed=5",
        "runtime.device=cpu",
    ]
    out = printed("inference", *words, "checkpoint.load=" + str(model.checkpoint.path))
    text = model.generate("The cat", max_new_tokens=15, seed=5)
    assert out.strip() == text.strip()
    assert text == "The cat" + "".join(model.stream("The cat", max_new_tokens=15, seed=5))


def test_without_an_argument_it_loads_what_inference_does(folder):
    assert gpt_pipeline.load().checkpoint.path == gpt_pipeline.load("shipped").checkpoint.path


def test_many_are_those_of_the_command_in_its_order(model, folder):
    Path("prompts.txt").write_text("The cat\nThe dog\n")
    words = ["prompts=prompts.txt", "num_samples=2", "format=json", "model.max_new_tokens=6"]
    load = "checkpoint.load=" + str(model.checkpoint.path)
    lines = [json.loads(line) for line in printed("inference", *words, load).splitlines()]
    texts = model.generate_many(["The cat", "The dog"], num_samples=2, max_new_tokens=6)
    assert texts == [line["prompt"] + line["text"] for line in lines]
    assert model.generate_many([]) == []


def test_settings_that_a_call_leaves_out_are_those_of_the_checkpoint(model):
    recommended = model.recommended.model
    given = {name: getattr(recommended, name) for name in ("temperature", "top_k", "top_p")}
    assert model.generate("A", max_new_tokens=9) == model.generate("A", max_new_tokens=9, **given)
    greedy = [model.generate("A", max_new_tokens=9, temperature=0, seed=seed) for seed in (1, 2)]
    assert greedy[0] == greedy[1]
    assert model.generate(max_new_tokens=1).startswith(recommended.prompt)
    assert model.generate("A", max_new_tokens=50, stop=["."]).count(".") == 0


def test_logits_are_those_of_the_module(model):
    ids = model.tokenizer.encode("Tom had a red ball.")
    logits = model.logits(ids)
    assert (logits.dtype, logits.shape) == (torch.float32, (len(ids), model.tokenizer.vocab_size))
    with torch.no_grad():
        assert torch.equal(logits, model.module(torch.tensor([ids]))[0])
    logits += 1  # it is the caller's


def test_a_score_is_the_sum_of_log_probabilities(model):
    text = "Tom had a red ball."
    score, ids = model.score(text), model.tokenizer.encode(text)
    table = model.logits([model.tokenizer.eot_id, *ids[:-1]]).log_softmax(-1)
    wanted = table.gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert score.tokens == tuple(ids)
    assert torch.allclose(torch.tensor(score.logprobs), wanted)
    assert score.logprob == pytest.approx(float(wanted.sum()), rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(-score.logprob / len(ids)))
    assert score.bits_per_byte == pytest.approx(-score.logprob / math.log(2) / len(text))


def test_a_long_text_is_scored_in_windows(model):
    text = "Tom had a red ball. " * 150
    score, length = model.score(text), model.config.model.max_length
    assert len(score.tokens) == len(score.logprobs) > length
    second = model.logits(list(score.tokens[length - 1 : length + 9])).log_softmax(-1)
    wanted = second.gather(1, torch.tensor(score.tokens[length : length + 10])[:, None])[:, 0]
    assert torch.allclose(torch.tensor(score.logprobs[length : length + 10]), wanted, atol=1e-4)


def test_the_empty_text_has_no_cost(model):
    score = model.score("")
    assert (score.tokens, score.logprob, score.num_bytes) == ((), 0.0, 0)
    assert math.isnan(score.bits_per_byte)


def test_generation_uses_the_weights_that_the_module_has_now():
    model = gpt_pipeline.load("shipped", device="cpu")
    before = model.generate("The big", max_new_tokens=8, temperature=0)
    module = model.module
    assert not module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert model.generate("The big", max_new_tokens=8, temperature=0) == before
    optimizer = torch.optim.AdamW(module.train().parameters(), lr=1e-3)
    ids = torch.tensor(
        [model.tokenizer.encode("The big dog ran to the big dog and the big dog sat.")]
    )
    for _ in range(5):
        optimizer.zero_grad()
        module(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
    assert "dog" in model.generate("The big", max_new_tokens=8, temperature=0) != before
    assert module.training  # as its owner left it


def negate_through_data(module):
    for parameter in module.parameters():
        parameter.data.neg_()


def negate_a_block_by_a_hook(module):
    module.blocks[0].register_forward_hook(lambda block, given, result: -result)


def remove_a_block(module):
    module.blocks = module.blocks[:1]


@pytest.mark.parametrize("change", [negate_through_data, negate_a_block_by_a_hook, remove_a_block])
def test_generation_notices_every_change_of_the_module(change):
    model = gpt_pipeline.load("shipped", device="cpu")
    ids = [model.tokenizer.eot_id, *model.tokenizer.encode("The big")]
    model.module.eval()
    before = model.generate("The big", max_new_tokens=1, temperature=0)
    change(model.module)
    expected = "The big" + model.tokenizer.decode([int(model.logits(ids)[-1].argmax())])
    assert model.generate("The big", max_new_tokens=1, temperature=0) == expected != before


def test_a_device_of_torch_is_a_device():
    assert gpt_pipeline.load("shipped", device=torch.device("cpu")).generate("x", max_new_tokens=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.generate("x", temperature=-1), "temperature must be a number >= 0; got -1"),
        (lambda m: m.generate("x", heat=1), "heat is not a setting of sampling; use temperature"),
        (lambda m: m.generate("x", seed=-1), "seed must be at least 0; got -1"),
        (lambda m: m.generate("x", seed=1.5), "seed must be a whole number; got 1.5"),
        (lambda m: m.generate("x", logit_bias={4096: 1.0}), "must name token ids below 4096"),
        (lambda m: m.generate("word " * 600), "must be at most 512 tokens"),
        (lambda m: m.generate_many("The cat"), "must be a list of texts; got one text"),
        (lambda m: m.generate_many(["x"], num_samples=0), "num_samples must be at least 1; got 0"),
        (lambda m: m.generate_many(["x"], num_samples="2"), "must be a whole number; got 2"),
        (lambda m: m.generate_many(["x", "word " * 600]), r"prompts\[1\] must be at most 512"),
        (lambda m: m.logits([]), "from 1 to 512 token ids; got 0"),
        (lambda m: m.logits([4096]), "must be from 0 to 4095; got 4096"),
        (lambda m: m.logits([-1]), "a token id must be at least 0; got -1"),
        (lambda m: m.logits([1.5]), "a token id must be a whole number; got 1.5"),
        (lambda m: m.score("\ud800"), "Unicode"),
        (lambda m: m.generate(5), "prompt must be a text; got 5"),
        (lambda m: m.generate_many([b"ab"]), r"prompts\[0\] must be a text"),
        (lambda m: m.score(["a"]), "text must be a text; got"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_line(model, call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(model)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_loaded_says_so(folder):
    with pytest.raises(CheckpointError, match="nowhere"):
        gpt_pipeline.load("nowhere")
    with pytest.raises(ConfigError, match="checkpoint must name a file or folder; got ''"):
        gpt_pipeline.load("")
    with pytest.raises(ConfigError, match=r"runtime\.device must be .*; got tpu"):
        gpt_pipeline.load(device="tpu")
    with pytest.raises(ConfigError, match=r"runtime\.weights must be .*; got int4"):
        gpt_pipeline.load(weights="int4")
    assert issubclass(CheckpointError, GptPipelineError)


def test_training_works_in_a_thread_and_twice_in_one_process(folder):
    (folder / "stories.txt").write_text(corpus(), encoding="utf-8")
    with ThreadPoolExecutor(max_workers=1) as pool:
        first, second = (pool.submit(gpt_pipeline.train, SMALL).result() for _ in range(2))
    assert first.finished
    assert (first.step, first.checkpoint) == (second.step, second.checkpoint)
    assert gpt_pipeline.load(first.checkpoint).generate("a", max_new_tokens=2).startswith("a")
    figures = gpt_pipeline.evaluate([f"checkpoint.load={first.checkpoint}"])
    assert figures["loss"] == pytest.approx(first.validation["loss"])
    with pytest.raises(ConfigError, match="modle"):
        gpt_pipeline.train(["modle.embed_dim=3"])


def test_evaluation_leaves_the_settings_of_torch_as_they_were(folder):
    (folder / "stories.txt").write_text(corpus(), encoding="utf-8")
    checkpoint = gpt_pipeline.train(SMALL).checkpoint
    threads = torch.get_num_threads()
    words = [f"runtime.num_threads={threads + 1}", "runtime.deterministic=true"]
    gpt_pipeline.evaluate([f"checkpoint.load={checkpoint}", *words])
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("call", [gpt_pipeline.train, gpt_pipeline.evaluate])
def test_one_text_is_not_a_list_of_overrides(call):
    with pytest.raises(ConfigError, match="must be a list of texts; got model=tiny alone"):
        call("model=tiny")


def test_a_model_that_has_generated_can_be_copied(model):
    text = model.generate("The cat", max_new_tokens=5)
    assert copy.deepcopy(model).generate("The cat", max_new_tokens=5) == text
