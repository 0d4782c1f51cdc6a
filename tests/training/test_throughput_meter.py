"""What a run says of its speed, held against a device whose rate is known."""

import logging

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gpt_pipeline.config.compose import compose
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tracking.metrics_file import read_metrics
from gpt_pipeline.training import new_model
from gpt_pipeline.training import throughput_meter as module
from gpt_pipeline.training.throughput_meter import ThroughputMeter

CPU = Precision(torch.device("cpu"), torch.float32)
SIZES = """
tokenizer=bytes model.vocab_size=257 model.embed_dim=24 model.ff_hidden_dim=60
model.max_length=11 model.num_heads=4 model.num_layers=3
""".split()


def rates(monkeypatch, *values):
    """The device's rate, as each measurement finds it."""
    found = iter(values)
    monkeypatch.setattr(module, "peak_flops", lambda device, dtype, *, anew: next(found))


def built(*words):
    return new_model(compose([*SIZES, "block.eot_id=0", *words]).config, CPU.device)


def paced(model, monkeypatch, *, tokens, seconds):
    """The readout of a run that does so many tokens in so many seconds."""
    readout = ThroughputMeter(model, CPU)
    times = iter([0.0, seconds])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    readout.clock.start()
    readout.clock.stop(tokens)
    monkeypatch.undo()
    return readout


@pytest.mark.parametrize("name", ["tiny", "gpt_30m", "modern_30m"])
def test_the_share_counts_the_products_that_the_model_does(name, monkeypatch):
    """Against torch's own count of a forward pass, which counts attention without its mask."""
    model = built(f"model={name}")
    model.train()
    # written out, attention is products that every version of torch counts; its kernel is not
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        model(torch.zeros(5, 11, dtype=torch.int64))
    masked = 6 * 3 * 24 * 11  # num_layers, embed_dim, max_length
    expected = 3 * counted.get_total_flops() / (5 * 11) - masked
    readout = paced(model, monkeypatch, tokens=1000, seconds=2.0)
    rates(monkeypatch, 1e9)
    speed = readout.speed()
    assert speed.tokens_per_s == 500
    assert speed.mfu == pytest.approx(500 * expected / 1e9, rel=1e-12)


def test_the_rate_is_measured_once_and_said_once(monkeypatch, caplog):
    readout = paced(built("model=tiny"), monkeypatch, tokens=1000, seconds=2.0)
    rates(monkeypatch, 4.31e11)
    with caplog.at_level(logging.INFO):
        assert readout.speed() == readout.speed()
    assert [record.message for record in caplog.records] == ["matrix rate: 431 GFLOP/s in float32"]


def test_a_rate_that_the_run_outdoes_is_measured_again_but_not_for_ever(monkeypatch, caplog):
    readout = paced(built("model=tiny"), monkeypatch, tokens=1000, seconds=2.0)
    rates(monkeypatch, 1.0, 2e9)
    with caplog.at_level(logging.INFO):
        assert 0 < readout.speed().mfu < 0.1
    assert len(caplog.records) == 2
    other = paced(built("model=tiny"), monkeypatch, tokens=1000, seconds=2.0)
    rates(monkeypatch, 1.0, 1.0, 1.0, 1.0)
    assert other.speed().mfu == other.speed().mfu == 1.0


def test_each_line_of_a_step_has_its_shares_between_none_and_all(small_run):
    run = small_run("logging.log_every=4", "schedule.max_steps=10")
    run.go()
    entries = list(read_metrics(run.root / "metrics.jsonl"))
    assert [entry["step"] for entry in entries if "tokens_per_s" in entry] == [1, 4, 8, 10]
    for entry in entries:
        assert 0 < entry["mfu"] <= 1
        assert 0 < entry["data_wait_share"] < 1


def test_getting_windows_and_moving_them_is_what_counts_as_waiting(small_run, monkeypatch):
    run, inside = small_run("schedule.max_steps=2"), []
    clock = run.trainer.readout.clock
    waiting = clock.waiting

    class Noted:
        def __enter__(self):
            self.context = waiting()
            self.context.__enter__()
            inside.append([])

        def __exit__(self, *error):
            self.context.__exit__(*error)

    clock.waiting = run.trainer.step.waiting = Noted
    batch, to_device = run.train.batch, Precision.to_device
    run.train.batch = lambda *where: (inside[-1].append("windows"), batch(*where))[1]
    monkeypatch.setattr(
        Precision,
        "to_device",
        lambda p, arrays: (inside[-1].append("move"), to_device(p, arrays))[1],
    )
    run.trainer.val = None
    run.go()
    assert inside == [["windows"], ["move"], ["move"]] * 2
