"""`inference` and the samples of a run read a prompt as `serve` does: behind end-of-text."""

import json
from pathlib import Path

import pytest
import torch
from decoding import decode
from small_run import SMALL

from gpt_pipeline.checkpoint import CheckpointStore, TrainingPart, open_checkpoint
from gpt_pipeline.cli.main import run
from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import byte_tokenizer

EOT, CONTEXT = 256, 32
SIZES = """
model=tiny tokenizer=bytes model.vocab_size=257 model.embed_dim=24 model.ff_hidden_dim=48
model.num_heads=2 model.num_layers=1 model.max_length=32 model.max_new_tokens=20
""".split()


@pytest.fixture
def saved(tmp_path):
    """Saves a model of random weights that was trained on so many documents; its folder."""

    def save(documents):
        config = compose(SIZES).config
        torch.manual_seed(4)
        model = GPTModel(config.gpt_config())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" not in name:
                    parameter.normal_(std=0.5)
        folder = tmp_path / str(documents)
        store = CheckpointStore(
            folder, "tiny", config, byte_tokenizer(), "f" * 64, train_documents=documents
        )
        part = TrainingPart(7, 70, None, None, {"x": torch.zeros(1)}, {"step": 7})
        return store.save(model.state_dict(), part).path

    return save


def inferred(path, capsys, *words, prompt="Once"):
    """The tokens of `inference`."""
    given = ["inference", f"checkpoint.load={path}", f"model.prompt={prompt}", "format=json"]
    assert run([*given, *words]) == 0
    return json.loads(capsys.readouterr().out)["tokens"]


def expected(path, ids):
    """What follows on these ids."""
    checkpoint = open_checkpoint(path)
    model, config = checkpoint.load_model(torch.device("cpu")), checkpoint.generation()
    (sample,) = decode(model, ids, sampling=config.sampler(), eot_id=EOT, seed=0)
    return list(sample.tokens)


def test_a_prompt_begins_a_document_unless_it_is_switched_off(saved, capsys):
    path, once = saved(100), list(b"Once")
    behind, bare = expected(path, [EOT, *once]), expected(path, once)
    assert behind != bare
    assert inferred(path, capsys) == behind
    assert inferred(path, capsys, "sampling.add_bos_token=true") == behind
    assert inferred(path, capsys, "sampling.add_bos_token=false") == bare


def test_an_empty_prompt_has_it_once_and_a_full_one_not_at_all(saved, capsys):
    path = saved(100)
    for add in ("true", "false"):
        word = f"sampling.add_bos_token={add}"
        assert inferred(path, capsys, word, prompt="") == expected(path, [EOT])
        full = "x" * CONTEXT
        assert inferred(path, capsys, word, prompt=full) == expected(path, list(full.encode()))
    almost = "x" * (CONTEXT - 1)
    assert inferred(path, capsys, prompt=almost) == expected(path, [EOT, *almost.encode()])


def test_a_model_of_one_document_never_has_it(saved, capsys, caplog):
    path = saved(1)
    bare = expected(path, list(b"Once"))
    assert inferred(path, capsys) == bare
    assert "add_bos_token" not in caplog.text
    assert inferred(path, capsys, "sampling.add_bos_token=true") == bare
    assert "sampling.add_bos_token is ignored: the model was trained on one document" in caplog.text


def test_samples_of_a_file_have_it_as_one_has(saved, capsys, tmp_path):
    path, file = saved(100), tmp_path / "prompts.txt"
    file.write_text("Once\nOnce\n")
    assert run(["inference", f"checkpoint.load={path}", f"prompts={file}", "format=json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["tokens"] == expected(path, [EOT, *b"Once"])
    assert first["prompt"] == "Once"


def test_the_samples_of_a_run_are_those_of_inference(trained):
    (file,) = Path().glob("outputs/train/*/samples.md")
    last = file.read_text().split("## Step ")[-1].split("\n\n", 1)[1]
    texts = [
        trained("inference", "checkpoint.load=last", f"sampling.add_bos_token={add}")[1]
        for add in ("true", "false")
    ]
    assert last.strip() == texts[0].strip()
    assert last.strip() != texts[1].strip()


def test_a_run_may_be_told_to_sample_without_it(gpt, folder):
    gpt("train", *SMALL, "sampling.add_bos_token=false")
    (file,) = Path().glob("outputs/train/*/samples.md")
    last = file.read_text().split("## Step ")[-1].split("\n\n", 1)[1]
    text = gpt("inference", "checkpoint.load=last", "sampling.add_bos_token=false")[1]
    assert last.strip() == text.strip()
