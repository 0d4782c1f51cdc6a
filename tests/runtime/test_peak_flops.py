"""The measured peak FLOP/s: the best of readings that leave no trace in the run."""

import importlib

import pytest
import torch

from gpt_pipeline.runtime.peak_flops import PeakFlops, measure_flops

module = importlib.import_module("gpt_pipeline.runtime.peak_flops")
CPU = torch.device("cpu")


def pretend(monkeypatch, seconds_of_size):
    """Products of a size take so long; gives the sizes that were tried."""
    tried = []

    def timings(size, device, dtype):
        tried.append(size)
        yield from seconds_of_size[size]

    monkeypatch.setattr(module, "_timings", timings)
    return tried


class FakeDevice:
    """A clock, and readings that take `seconds` of it."""

    def __init__(self, *readings, seconds=0.05):
        self.now, self.seconds, self.readings = 0.0, seconds, list(readings)

    def measure(self, device, dtype):
        self.now += self.seconds
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading

    def peak(self):
        return PeakFlops(CPU, torch.float32, measure=self.measure, clock=lambda: self.now)


def test_measuring_leaves_random_numbers_as_they_would_be():
    before = torch.get_rng_state()
    assert 1e6 < measure_flops(CPU, torch.float32) < 1e16
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reading_is_that_of_the_fastest_product(monkeypatch):
    tried = pretend(monkeypatch, {512: [0.5, 0.02], 1024: [0.5, 0.02, 0.1]})
    assert measure_flops(CPU, torch.float32) == 2 * 1024**3 / 0.02
    assert tried == [512, 1024]
    pretend(monkeypatch, {512: [0.001], 1024: [0.02]})
    assert measure_flops(CPU, torch.bfloat16) == 2 * 512**3 / 0.001


def test_a_fast_device_gets_products_that_fill_it(monkeypatch):
    tried = pretend(monkeypatch, {512: [1e-5], 1024: [1e-4], 2048: [2e-4], 4096: [1.3e-3]})
    assert measure_flops(CPU, torch.float32) == 2 * 4096**3 / 1.3e-3
    assert tried == [512, 1024, 2048, 4096]
    pretend(monkeypatch, {2**bits: [1e-6] for bits in range(9, 14)})
    assert measure_flops(CPU, torch.bfloat16) == 2 * 8192**3 / 1e-6  # and there it ends


def test_the_peak_is_the_best_of_its_readings():
    device = FakeDevice(2e11, 4e11, 3e11)
    peak = device.peak()
    assert (peak.best, peak.is_due) == (0.0, True)
    best = []
    for _ in range(3):
        peak.read()
        best.append(peak.best)
    assert best == [2e11, 4e11, 4e11]
    assert peak.readings == 3


def test_readings_come_at_the_start_and_then_every_minute():
    device = FakeDevice(*[1e11] * 10, seconds=0.05)
    peak, taken_at = device.peak(), []
    while device.now < 200:
        if peak.is_due:
            taken_at.append(round(device.now))
            peak.read()
        device.now += 0.5
    assert taken_at == [0, 60, 121, 182] or taken_at == [0, 60, 120, 180]


def test_readings_take_at_most_a_thousandth_of_the_time():
    device = FakeDevice(*[1e11] * 50, seconds=2.0)  # a very slow device
    peak = device.peak()
    while device.now < 50_000:
        if peak.is_due:
            peak.read()
        device.now += 10.0
    assert 2 <= peak.readings <= 26
    assert 2.0 * (peak.readings - 1) <= device.now / 1000


def test_a_reading_that_fails_is_tried_again_after_the_interval():
    device = FakeDevice(1e11, RuntimeError("out of memory"), 2e11)
    peak = device.peak()
    peak.read()
    device.now += 61
    with pytest.raises(RuntimeError):
        peak.read()
    assert (peak.best, peak.is_due) == (1e11, False)
    device.now += 61
    assert peak.is_due
    peak.read()
    assert peak.best == 2e11


def test_a_slow_product_is_not_repeated(monkeypatch):
    clock = iter([0.0, 0.0, 5.0, 5.0, 5.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert list(module._timings(8, CPU, torch.float32)) == [5.0]
