"""The commands as a user types them: what they print, write and return."""

import gzip
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from small_run import CLOCKED, SMALL

from gpt_pipeline.checkpoint import FORMAT_VERSION
from gpt_pipeline.config import Config
from gpt_pipeline.tracking.metrics_file import read_metrics


def run_folder():
    (folder,) = Path("outputs/train").iterdir()
    return folder


def test_train_leaves_a_run_folder_and_checkpoints(trained, folder):
    files = {path.name for path in run_folder().iterdir()}
    assert files == {
        ".hydra", "train.log", "metrics.jsonl", "loss_plot.png", "lr_plot.png", "samples.md",
    }  # fmt: skip
    entries = list(read_metrics(run_folder() / "metrics.jsonl"))
    assert [entry["step"] for entry in entries] == list(range(1, 13))
    assert {"train_loss", "lr", "grad_norm", *CLOCKED} <= entries[0].keys()
    assert {"val_loss", "val_bits_per_byte", "val_accuracy"} <= entries[5].keys()
    assert (folder / "checkpoints" / "small-step-00000012" / "model.safetensors").exists()


def test_the_resolved_config_is_stored_with_the_run_and_in_each_checkpoint(trained, folder):
    with_run = yaml.safe_load((run_folder() / ".hydra" / "config.yaml").read_text())
    assert with_run["model"]["vocab_size"] == 257
    assert with_run["model"]["checkpoint_name"] == "small"
    config = Config.parse(with_run)
    for checkpoint in (folder / "checkpoints").glob("small-step-*"):
        stored = yaml.safe_load((checkpoint / "config.yaml").read_text())
        assert stored.pop("format_version") == FORMAT_VERSION
        assert stored == config.trained().model_dump()
        stored = json.loads((checkpoint / "generation.json").read_text())
        assert stored.pop("format_version") == FORMAT_VERSION
        assert stored == config.generation().model_dump()


def test_train_says_the_batch_arithmetic_and_the_size(gpt, folder):
    _, out, err = gpt("train", *SMALL)
    assert "batch: 8 windows x 32 tokens x 1 accumulated = 256 tokens per step" in err
    assert "run: 12 steps, 3,072 tokens" in err
    assert "parameters (1 layers, 4 heads, 32 wide, context 32, vocabulary 257)" in err
    assert "compile: off, it does not speed up training on cpu" in err
    assert "Once upon a time" in out


def test_train_reports_its_speed_and_its_share_of_the_measured_peak(gpt, folder):
    _, _, err = gpt("train", *SMALL)
    assert re.search(r"^measured peak: [\d,]+ GFLOP/s in (bfloat16|float32)$", err, re.MULTILINE)
    assert re.search(
        r"^step 12 \(100 %\): loss \d.*, [\d,]+ tokens/s \(mfu \d+ %\), "
        r"\d+\.\d % waiting for data, [\d.]+ [MG]B, lr ",
        err, re.MULTILINE,
    )  # fmt: skip


def test_a_profile_on_request_is_in_the_run_folder(gpt, folder):
    _, _, err = gpt("train", *SMALL, "runtime.profile=true")
    path = run_folder() / "profile" / "step-00000005.json.gz"
    assert f"profile of steps 3 to 5: {path}" in err
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    before = (folder / "checkpoints" / "small-step-00000012" / "model.safetensors").read_bytes()
    gpt("train", *SMALL, "checkpoint.resume=never")
    after = (folder / "checkpoints" / "small-step-00000012" / "model.safetensors").read_bytes()
    assert after == before


def test_evaluate_prints_the_number_that_training_ended_with(gpt, folder):
    _, out, _ = gpt("train", *SMALL)
    line = next(line for line in out.splitlines() if line.startswith("validation:"))
    code, evaluated, _ = gpt("evaluate")
    assert (code, evaluated.strip()) == (0, line)
    _, text, _ = gpt("evaluate", "format=json")
    figures = json.loads(text)
    last = list(read_metrics(run_folder() / "metrics.jsonl"))[-1]
    assert figures["loss"] == last["val_loss"]
    assert figures["bits_per_byte"] == last["val_bits_per_byte"]
    assert figures["tokens"] == last["val_tokens"]
    assert set(figures) == {"loss", "perplexity", "accuracy", "bits_per_byte", "tokens", "bytes"}


def test_evaluate_takes_another_text(trained, folder):
    (folder / "other.txt").write_text(
        "A quite different text, twelve words long, ends here.\n\nYes.\n"
    )
    words = ("dataset=text", "dataset.path=stories.txt", "dataset.val_path=other.txt")
    code, out, _ = trained("evaluate", "format=json", *words)
    assert code == 0
    assert (
        json.loads(out)["bytes"]
        == len("A quite different text, twelve words long, ends here.Yes.") + 2
    )


def test_inference_streams_the_prompt_and_a_text(trained):
    code, out, err = trained("inference", "model.prompt=Ben had")
    assert code == 0
    assert out.startswith("Ben had")
    assert "checkpoint: checkpoints/small-step-00000012" in err


def test_inference_json_is_one_object_a_sample(trained, folder):
    (folder / "prompts.txt").write_text('One\n\nTwo, "three"\n')
    code, out, _ = trained("inference", "format=json", "num_samples=2", "prompts=prompts.txt")
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [o["prompt"] for o in objects] == ["One", "One", 'Two, "three"', 'Two, "three"']
    for o in objects:
        assert set(o) == {"prompt", "text", "tokens", "finish_reason"}
        assert o["finish_reason"] in ("stop", "length")
        assert bytes(t for t in o["tokens"] if t < 256).decode("utf-8", "replace") == o["text"]
    assert objects[0]["tokens"] != objects[1]["tokens"]


def test_the_same_seed_gives_the_same_text_and_another_seed_another(trained):
    words = ("inference", "format=json", "model.temperature=1.5", "model.top_k=null")
    first, again = trained(*words)[1], trained(*words)[1]
    other = trained(*words, "runtime.seed=1")[1]
    assert first == again != other


def test_temperature_zero_does_not_depend_on_the_seed(trained):
    words = ("inference", "format=json", "model.temperature=0")
    assert trained(*words)[1] == trained(*words, "runtime.seed=9")[1]


def test_an_empty_prompt_starts_from_end_of_text(trained):
    code, out, _ = trained("inference", "model.prompt=", "format=json")
    assert code == 0
    assert len(json.loads(out)["tokens"]) > 0


def test_sampling_keys_come_from_the_run_unless_they_are_given(trained):
    assert len(json.loads(trained("inference", "format=json")[1])["tokens"]) <= 12
    _, out, _ = trained("inference", "format=json", "model.max_new_tokens=3")
    assert len(json.loads(out)["tokens"]) <= 3


def test_sampling_of_the_run_is_the_default_for_its_model(gpt, folder):
    words = ("schedule.max_steps=1", "model.temperature=0", "model.max_new_tokens=5")
    assert gpt("train", *SMALL, *words, "sampling.logit_bias={97:100}")[0] == 0
    seeds = ("runtime.seed=3", "runtime.seed=4")
    for seed in seeds:  # greedy, and the biased token alone
        _, out, _ = gpt("inference", "format=json", seed)
        assert json.loads(out)["text"] == "aaaaa"
    _, out, _ = gpt("inference", "format=json", "sampling.logit_bias={98:100}")
    assert json.loads(out)["text"] == "bbbbb"
    _, out, _ = gpt("inference", "format=json", "sampling.logit_bias=null")
    assert json.loads(out)["text"] not in ("aaaaa", "bbbbb")


def test_several_samples_are_numbered(trained):
    _, out, _ = trained("inference", "num_samples=3")
    assert [f"[{n} of 3] Once upon a time" in out for n in (1, 2, 3)] == [True] * 3


def test_a_key_that_the_checkpoint_decides_is_said_to_be_ignored(trained):
    _, _, err = trained("inference", "model.num_layers=9")
    assert "warning: model.num_layers is ignored here: the checkpoint decides it" in err


def test_best_last_and_a_folder_can_be_loaded(trained):
    for choice in ("best", "last", "checkpoints/small-step-00000012"):
        code, _, err = trained("inference", f"checkpoint.load={choice}")
        assert (code, "checkpoint: checkpoints/small-step-" in err) == (0, True)


def test_a_complete_run_is_said_to_be_complete_and_trains_on_when_it_is_made_longer(trained):
    code, _, err = trained("train", *SMALL)
    assert code == 0
    assert "this run is complete" in err
    code, _, err = trained("train", *SMALL, "schedule.max_steps=14")
    assert "resuming at step 12" in err
    assert "resuming with a changed schedule.max_steps: 12 before, 14 now" in err
    assert [entry["step"] for entry in read_metrics(run_folder() / "metrics.jsonl")][-2:] == [
        13,
        14,
    ]


def test_starting_anew_keeps_the_old_checkpoints(trained, folder):
    code, _, err = trained("train", *SMALL, "checkpoint.resume=never", "schedule.max_steps=3")
    assert code == 0
    assert "the earlier checkpoints of small are now in" in err
    assert len(list((folder / "checkpoints").glob("small-before-*/small-step-00000012"))) == 1
    assert len(list((folder / "checkpoints").glob("small-step-*"))) == 1


def test_a_run_without_validation_completes(gpt, folder):
    code, out, err = gpt("train", *SMALL, "dataset.train_ratio=1")
    assert code == 0, err
    assert "validation:" not in out
    code, _, err = gpt("evaluate")
    assert code == 2
    assert "dataset.val_path=FILE" in err


def test_verify_lists_what_is_good(trained):
    code, out, _ = trained("verify")
    assert code == 0
    assert "ok       checkpoints/small-step-00000012 (checkpoint, step 12)" in out
    assert "ok       data/text/dataset_train.bin" in out


def test_verify_names_what_is_damaged(trained, folder):
    (folder / "checkpoints/small-step-00000012/config.yaml").write_text("x")
    data = folder / "data/text/dataset_train.bin"
    content = bytearray(data.read_bytes())
    content[7] ^= 1
    data.write_bytes(content)
    code, out, err = trained("verify", "checkpoints", "data")
    assert code == 2
    assert out.count("damaged") == 2
    assert "config.yaml must have" in err
    assert "dataset_train.bin" in err


def test_data_prints_the_token_files_and_is_current_the_second_time(gpt):
    code, out, _ = gpt("data", *SMALL)
    assert (code, out.split()) == (0, ["data/text/dataset_train.bin", "data/text/dataset_val.bin"])
    code, _, err = gpt("data", *SMALL)
    assert "dataset_train.bin: current" in err
    assert "dataset_val.bin: current" in err


def test_cfg_prints_the_config_and_does_nothing(gpt, folder):
    code, out, _ = gpt("train", *SMALL, "--cfg")
    assert code == 0
    assert yaml.safe_load(out)["model"]["embed_dim"] == 32
    assert {path.name for path in folder.iterdir()} == {"stories.txt"}


@pytest.mark.parametrize("command", ["data", "train", "inference", "evaluate", "verify"])
def test_help_of_a_command_shows_groups_and_keys(gpt, command):
    code, out, _ = gpt(command, "--help")
    assert code == 0
    assert "model       gpt_30m, laptop*, modern_30m, tiny" in out
    assert "model.embed_dim" in out


def test_no_command_shows_the_help_and_version_prints_itself(gpt):
    code, out, _ = gpt()
    assert (code, "inference" in out) == (2, True)
    assert gpt("--version")[1].startswith("gpt-pipeline 0.")


@pytest.mark.parametrize("script", ["train", "inference"])
def test_the_scripts_in_src_are_the_commands(script, monkeypatch, capsys):
    path = Path(__file__).parents[2] / "src" / f"{script}.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as left:
        exec(compile(path.read_text(), path, "exec"), {"__name__": "__main__"})
    assert left.value.code == 0
    assert f"gpt-pipeline {script} [key=value ...]" in capsys.readouterr().out


def test_samples_of_steps_that_are_done_again_are_dropped(folder):
    from gpt_pipeline.tracking.run_folder import RunFolder

    (folder / "run").mkdir()
    run = RunFolder(folder / "run", entropy_floor=None, plot_every_s=0)
    run.drop_samples_beyond(5)
    for step in (5, 10, 15):
        run.add_sample(step, f"A story.\n\n## Not a step {step}")
    run.drop_samples_beyond(10)
    text = (folder / "run" / "samples.md").read_text()
    assert text.count("## Step") == 2
    assert text.endswith("## Not a step 10\n\n")


def test_many_prompts_go_into_a_file_in_their_order_each_as_it_is_alone(trained, folder):
    prompts = [f"Tom had {n} red" for n in range(7)]
    (folder / "prompts.txt").write_text("\n".join(prompts))
    words = ("inference", "num_samples=2", "model.max_new_tokens=9", "sampling.logprobs=3")
    code, out, err = trained(*words, "prompts=prompts.txt", "output=out.jsonl")
    assert (code, out) == (0, "")
    assert "wrote 14 samples to out.jsonl" in err
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == [prompt for prompt in prompts for _ in range(2)]
    for line in lines:
        assert [one["token"] for one in line["logprobs"]][: len(line["tokens"])] == line["tokens"]
        assert all(len(one["alternatives"]) == 3 for one in line["logprobs"])
    printed = trained(*words, "prompts=prompts.txt", "format=json")[1]
    assert printed.splitlines() == (folder / "out.jsonl").read_text().splitlines()


def test_stop_texts_bias_and_penalty_are_taken_from_the_command_line(trained):
    words = ("inference", "model.prompt=Tom had", "model.temperature=0", "format=json")
    whole = json.loads(trained(*words)[1])
    stop = whole["text"][4:6]
    code, out, err = trained(*words, f"sampling.stop=['{stop}','xyz']")
    assert code == 0, (stop, err)
    cut = json.loads(out)
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["finish_reason"] == "stop"
    banned = whole["tokens"][0]
    other = json.loads(trained(*words, f"sampling.logit_bias={{{banned}:-100}}")[1])
    assert banned not in other["tokens"]
    assert json.loads(trained(*words, "sampling.repetition_penalty=5")[1]) != whole


def test_a_file_that_is_there_is_never_written_over(trained, folder):
    (folder / "mine.jsonl").write_text("mine")
    code, _, err = trained("inference", "output=mine.jsonl")
    assert (code, err.splitlines()[-1]) == (
        2, "error: output=mine.jsonl is there already; remove it, or name another file"
    )  # fmt: skip
    assert (folder / "mine.jsonl").read_text() == "mine"
    assert "must be in a folder that is there" in trained("inference", "output=no/x.jsonl")[2]


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_weights_in_fewer_bits_hardly_change_the_loss(trained, weights):
    whole = json.loads(trained("evaluate", "format=json", "runtime.dtype=float32")[1])
    code, out, _ = trained("evaluate", "format=json", f"runtime.weights={weights}")
    assert code == 0
    assert json.loads(out)["loss"] == pytest.approx(whole["loss"], rel=5e-3)
    assert trained("inference", f"runtime.weights={weights}")[0] == 0
