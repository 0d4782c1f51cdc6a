"""A run folder is its run's: nobody else's files are overwritten, and none of its own."""

import json
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest
from small_run import LONG, SMALL, finish, history, start

from gpt_pipeline.tracking.metrics_file import read_metrics

RUN = "hydra.run.dir=run"
OTHER = "model.checkpoint_name=other"


def steps(folder):
    return [entry["step"] for entry in read_metrics(Path(folder) / "metrics.jsonl")]


def contents(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def test_another_run_is_refused_the_folder(gpt, folder):
    assert gpt("train", *SMALL, RUN)[0] == 0
    before = contents("run")
    code, out, err = gpt("train", *SMALL, RUN, OTHER)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: hydra.run.dir must name a new folder or this run's own; run has")
    assert "has .hydra, train.log, metrics.jsonl," in last
    assert contents("run") == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.md", ".hydra/config.yaml", "train.log"])
def test_a_file_of_the_user_is_not_overwritten(gpt, folder, name):
    path = folder / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine: {}\n")
    code, _, err = gpt("train", *SMALL, RUN)
    assert code == 2
    assert f"run has {name.split('/')[0]} of another run; choose another folder" in err
    assert contents("run") == {f"run/{name}": b"mine: {}\n"}


@pytest.mark.parametrize("name", [None, "notes.txt"])
def test_a_folder_without_files_of_a_run_is_taken(gpt, folder, name):
    (folder / "run" / ".hydra").mkdir(parents=True)  # killed before it wrote anything
    if name:
        (folder / "run" / name).write_text("mine")
    assert gpt("train", *SMALL, RUN)[0] == 0
    assert steps("run") == list(range(1, 13))


def test_two_runs_started_in_the_same_second_have_a_folder_each(folder):
    words = [word for word in SMALL if not word.startswith("dataset.path")]
    Path("outputs").mkdir()
    taken = datetime.now().strftime("outputs/train/%Y-%m-%d_%H-%M-%S")
    processes = [
        start("train", *words, "dataset.path=stories.txt", f"model.checkpoint_name=run{n}",
              f"dataset.data_dir=data{n}", f"hydra.run.dir={taken}")
        for n in range(2)
    ]  # fmt: skip
    ends = sorted(finish(process) for process in processes)
    assert [code for code, _ in ends] == [0, 2]  # a name that was asked for has one owner
    assert "hydra.run.dir" in ends[1][1]
    assert steps(taken) == list(range(1, 13))


def test_the_default_name_is_the_next_free_one(gpt, folder, monkeypatch):
    now = time.time()
    names = [time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now + s)) for s in range(60)]
    for name in names:
        (folder / "outputs" / "train" / name).mkdir(parents=True)
    assert gpt("train", *SMALL)[0] == 0
    (made,) = (path for path in Path("outputs/train").iterdir() if path.name not in names)
    assert made.name.endswith("-2")
    assert made.name[:-2] in names
    assert steps(made) == list(range(1, 13))
    code, out, _ = gpt("verify", "outputs")
    assert (code, f"ok       {made} (run, 12 lines" in out) == (2, True)  # the others are empty


def test_a_try_that_was_killed_before_its_first_save_does_not_refuse_the_next(gpt, folder):
    words = [*LONG, "checkpoint.save_every=1000", "model.eval_freq=1000", RUN]
    process = start("train", *words)
    while not Path("run/metrics.jsonl").exists() or not steps("run"):
        assert process.poll() is None, finish(process)
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (folder / "run" / "notes.txt").write_text("mine")
    seen = len(steps("run"))
    code, _, err = gpt("train", *SMALL, RUN)
    assert code == 0, err
    (aside,) = folder.glob("run-before-*")
    assert f"moved the files of an earlier attempt of this run from run to {aside}" in err
    assert len(steps(aside)) >= seen
    assert steps("run") == list(range(1, 13))
    assert (folder / "run" / "notes.txt").read_text() == "mine"
    code, out, _ = gpt("verify", "run")
    assert (code, out.splitlines()[0]) == (0, "ok       run (run, 12 lines of metrics)")


def test_starting_anew_keeps_the_files_of_the_earlier_run(gpt, folder):
    assert gpt("train", *SMALL, RUN)[0] == 0
    before = (folder / "run" / "metrics.jsonl").read_bytes()
    assert gpt("train", *SMALL, RUN, "checkpoint.resume=never")[0] == 0
    (aside,) = folder.glob("run-before-*")
    assert (aside / "metrics.jsonl").read_bytes() == before
    assert steps("run") == list(range(1, 13))


def test_the_same_name_with_other_checkpoints_is_another_run(gpt, folder):
    assert gpt("train", *SMALL, RUN)[0] == 0
    code, _, err = gpt("train", *SMALL, RUN, "model.checkpoint_path=elsewhere")
    assert code == 2
    assert "hydra.run.dir must name a new folder" in err


def test_two_processes_never_write_in_one_folder(folder):
    """Of one name, and of a folder that has nothing in it yet: the lock tells them apart."""
    first = start("train", *LONG, RUN, "schedule.max_steps=1000000")
    while not Path("run/metrics.jsonl").exists():
        assert first.poll() is None, finish(first)
        time.sleep(0.02)
    code, text = finish(start("train", *SMALL, RUN, OTHER, "dataset.data_dir=other"))
    assert code == 2
    assert "error: another run is writing to run; wait for it, stop it, or choose another" in text
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 128 + signal.SIGTERM
    assert steps("run") == list(range(1, len(steps("run")) + 1))


def test_a_resumed_run_continues_in_its_own_folder_also_when_that_was_moved(gpt, folder):
    assert gpt("train", *SMALL, "schedule.max_steps=6", RUN)[0] == 0
    assert gpt("train", *SMALL, "schedule.max_steps=9")[0] == 0
    assert steps("run") == [*range(1, 7), *range(7, 10)]
    shutil.move("run", "moved")
    assert gpt("train", *SMALL, "hydra.run.dir=moved")[0] == 0
    assert steps("moved") == list(range(1, 13))
    assert not Path("run").exists()
    assert not list(folder.glob("*-before-*"))


def test_a_checkpoint_of_a_stranger_cannot_name_another_folder(gpt, folder):
    """Its state says where its run folder is: nothing is written where its run has not been."""
    from gpt_pipeline.checkpoint.manifest import record
    from gpt_pipeline.durable import sealed, unsealed

    assert gpt("train", *SMALL, "schedule.max_steps=6", RUN)[0] == 0
    place = folder / "private"
    (place / ".hydra").mkdir(parents=True)
    (place / "metrics.jsonl").write_text("")
    (place / ".hydra" / "config.yaml").write_text(
        "model: {checkpoint_name: other, checkpoint_path: checkpoints}"
    )
    before = contents("private")
    for path in folder.glob("checkpoints/small-step-*"):
        state = path / "training" / "state.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"run_dir": str(place)}))
        manifest = unsealed((path / "manifest.json").read_bytes())
        manifest["files"]["training/state.json"] = vars(record(state))
        (path / "manifest.json").write_bytes(sealed(manifest))
    assert gpt("train", *SMALL)[0] == 0
    assert contents("private") == before
    assert [entry["step"] for entry in history(folder)] == list(range(7, 13))


def test_copied_checkpoints_do_not_write_into_the_folder_of_their_original(gpt, folder):
    assert gpt("train", *SMALL)[0] == 0
    (original,) = Path("outputs/train").iterdir()
    before = contents(original)
    shutil.copytree("checkpoints", "fork")
    shutil.rmtree("fork/small-step-00000012")
    code, _, err = gpt("train", *SMALL, "model.checkpoint_path=fork")
    assert code == 0
    assert f"the run's own folder {original} is not there, or is of other checkpoints" in err
    assert contents(original) == before
    (new,) = (path for path in Path("outputs/train").iterdir() if path != original)
    assert steps(new) == [11, 12]
    assert gpt("train", *SMALL, "schedule.max_steps=14")[0] == 0
    assert steps(original) == list(range(1, 15))


def test_moved_checkpoints_keep_their_folder(gpt, folder):
    assert gpt("train", *SMALL, "schedule.max_steps=6", RUN)[0] == 0
    shutil.move("checkpoints", "moved")
    assert gpt("train", *SMALL, "model.checkpoint_path=moved")[0] == 0
    assert steps("run") == list(range(1, 13))


def test_a_folder_that_a_resumed_run_does_not_use_is_named(gpt, folder):
    assert gpt("train", *SMALL, "schedule.max_steps=6", RUN)[0] == 0
    _, _, err = gpt("train", *SMALL, "hydra.run.dir=other")
    assert "the run continues in its own folder run; hydra.run.dir=other is not used" in err
    assert not Path("other").exists()
    assert "is not used" not in gpt("train", *SMALL, RUN)[2]
