"""The profile of a few steps: a file that tools read, and a run that is none the other for it."""

import gzip
import json

import pytest
import torch
from small_run import CLOCKED

from gpt_pipeline.tracking.metrics_file import MetricsFile, read_metrics
from gpt_pipeline.training import Hooks, StepTrace

CPU = torch.device("cpu")


def go(run, trace=None, *, stop_after=10**9):
    """Run to the end, or to a step, traced if a trace is given."""
    state = run.trainer.state
    hooks = Hooks(
        stepped=lambda report: trace and trace.stepped(report.step),
        evaluated=lambda step, model: None,
        stop=lambda: state.step >= stop_after,
    )
    with MetricsFile(run.root / "metrics.jsonl") as metrics:
        run.trainer.run(metrics, hooks)


def history(run):
    entries = read_metrics(run.root / "metrics.jsonl")
    return [{k: v for k, v in entry.items() if k not in CLOCKED} for entry in entries]


def test_the_trace_is_json_that_names_operators_of_three_steps(small_run, caplog):
    run = small_run("model.eval_freq=100")
    folder = run.root / "profile"
    with caplog.at_level("INFO"), StepTrace(folder, CPU, step=0) as trace:
        go(run, trace)
    (path,) = folder.iterdir()
    assert path.name == "step-00000005.json.gz"
    assert f"profile of steps 3 to 5: {path}" in caplog.messages
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    names = [event["name"] for event in events]
    assert "aten::linear" in names
    assert names.count("aten::embedding") == 3 * 2  # micro-batches a step
    assert len({name for name in names if name.startswith("ProfilerStep#")}) == 3


def test_a_run_that_is_traced_is_the_same_run(small_run):
    plain = small_run(name="plain")
    go(plain)
    traced = small_run(name="traced")
    with StepTrace(traced.root / "profile", CPU, step=0) as trace:
        go(traced, trace)
    assert history(traced) == history(plain)
    weights = traced.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in plain.model.state_dict().items())


@pytest.mark.parametrize(("steps", "last"), [(3, 3), (4, 4)])
def test_a_run_that_ends_within_the_trace_leaves_a_short_one(small_run, steps, last):
    run = small_run()
    with StepTrace(run.root / "profile", CPU, step=0) as trace:
        go(run, trace, stop_after=steps)
    assert [path.name for path in (run.root / "profile").iterdir()] == [f"step-{last:08d}.json.gz"]


def test_a_run_that_ends_before_the_trace_says_so(small_run, caplog):
    run = small_run()
    with StepTrace(run.root / "profile", CPU, step=0) as trace:
        go(run, trace, stop_after=1)
    assert not (run.root / "profile").exists()
    assert "no profile: the run ended before step 3" in caplog.messages


def test_a_disk_that_cannot_take_the_trace_does_not_stop_the_run(small_run, caplog):
    run = small_run()
    (run.root / "profile").parent.mkdir(parents=True, exist_ok=True)
    (run.root / "profile").write_text("in the way")
    with StepTrace(run.root / "profile", CPU, step=0) as trace:
        go(run, trace)
    assert run.trainer.state.finished
    assert "cannot write the profile" in caplog.text
