"""The throughput figures of a run on a device whose peak FLOP/s is known."""

import logging
from contextlib import contextmanager

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gpt_pipeline.config.compose import compose
from gpt_pipeline.metrics import Throughput
from gpt_pipeline.runtime.peak_flops import PeakFlops
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tracking.metrics_file import read_metrics
from gpt_pipeline.training import new_model
from gpt_pipeline.training.throughput_meter import ThroughputMeter

CPU = Precision(torch.device("cpu"), torch.float32)
SIZES = """
tokenizer=bytes model.vocab_size=257 model.embed_dim=24 model.ff_hidden_dim=60
model.max_length=11 model.num_heads=4 model.num_layers=3
""".split()


class Peak(PeakFlops):
    """A measured peak whose readings are given, on a clock that a test moves."""

    def __init__(self, *readings):
        left, self.now = iter(readings), 0.0
        super().__init__(
            CPU.device, CPU.dtype, measure=lambda *args: next(left), clock=lambda: self.now
        )


def built(*words):
    return new_model(compose([*SIZES, "block.eot_id=0", *words]).config, CPU.device)


def paced(model, monkeypatch, peak, *, tokens, seconds):
    """The meter of a run that does so many tokens in so many seconds."""
    readout = ThroughputMeter(model, CPU, peak=peak)
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
    meter = paced(model, monkeypatch, Peak(1e9), tokens=1000, seconds=2.0)
    speed = meter.speed()
    assert speed.tokens_per_s == 500
    assert speed.mfu == pytest.approx(500 * expected / 1e9, rel=1e-12)


def test_the_peak_is_read_and_logged_once_until_the_next_reading_is_due(monkeypatch, caplog):
    meter = paced(built("model=tiny"), monkeypatch, Peak(4.31e11), tokens=1000, seconds=2.0)
    with caplog.at_level(logging.INFO):
        assert meter.speed() == meter.speed()
    assert [record.message for record in caplog.records] == [
        "measured peak: 431 GFLOP/s in float32"
    ]


def test_a_run_that_began_beside_another_program_is_measured_by_a_later_quiet_reading(
    monkeypatch, caplog
):
    peak = Peak(1e9, 2e9, 1.5e9)
    meter = paced(built("model=tiny"), monkeypatch, peak, tokens=1000, seconds=2.0)
    with caplog.at_level(logging.INFO):
        busy = meter.speed().mfu
        peak.now = 61.0
        assert meter.speed(may_wait=False).mfu == busy  # a GPU is not waited for
        quiet = meter.speed().mfu
        peak.now = 122.0
        assert meter.speed().mfu == quiet == pytest.approx(busy / 2)
    assert len(caplog.records) == 2  # a lower reading changes nothing


def test_a_peak_below_the_rate_of_the_run_is_read_again_but_not_for_ever(monkeypatch):
    meter = paced(built("model=tiny"), monkeypatch, Peak(1.0, 2e9), tokens=1000, seconds=2.0)
    assert 0 < meter.speed().mfu < 0.1
    other = paced(
        built("model=tiny"), monkeypatch, Peak(1.0, 1.0, 1.0, 1.0), tokens=1000, seconds=2.0
    )
    assert other.speed().mfu == other.speed().mfu == 1.0


def test_the_peak_of_memory_outlasts_a_reading_that_resets_it(monkeypatch):
    used = iter([900, 400, 1000])
    monkeypatch.setattr(
        "gpt_pipeline.training.throughput_meter.peak_memory_bytes", lambda device: next(used)
    )
    meter = ThroughputMeter(built("model=tiny"), CPU, peak=Peak(1e12))
    assert [meter.speed().memory_bytes for _ in range(3)] == [900, 900, 1000]


def test_each_line_of_a_step_has_its_shares_between_none_and_all(small_run):
    run = small_run("logging.log_every=4", "schedule.max_steps=10")
    run.go()
    entries = list(read_metrics(run.root / "metrics.jsonl"))
    assert [entry["step"] for entry in entries if "tokens_per_s" in entry] == [1, 4, 8, 10]
    for entry in entries:
        assert 0 < entry["mfu"] <= 1
        assert 0 < entry["data_wait_share"] < 1


def test_getting_windows_and_moving_them_is_what_counts_as_waiting(small_run, monkeypatch):
    inside, waiting = [], Throughput.waiting

    @contextmanager
    def noted(clock):
        with waiting(clock):
            inside.append([])
            yield

    monkeypatch.setattr(Throughput, "waiting", noted)
    run = small_run("schedule.max_steps=2")
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
