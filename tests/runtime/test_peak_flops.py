"""The device's rate of matrix products, measured without a trace in the run."""

import importlib

import pytest
import torch

from gpt_pipeline.runtime.peak_flops import peak_flops

module = importlib.import_module("gpt_pipeline.runtime.peak_flops")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(module, "_measured", {})


def pretend(monkeypatch, seconds_of_size):
    """Products of a size take so long; gives the sizes that were tried."""
    tried = []

    def timings(size, device, dtype):
        tried.append(size)
        yield from seconds_of_size[size]

    monkeypatch.setattr(module, "_timings", timings)
    return tried


def test_measuring_leaves_random_numbers_as_they_would_be():
    before = torch.get_rng_state()
    assert 1e6 < peak_flops(CPU, torch.float32) < 1e16
    assert torch.equal(torch.get_rng_state(), before)


def test_the_rate_is_that_of_the_best_product(monkeypatch):
    tried = pretend(monkeypatch, {512: [0.5, 0.02], 1024: [0.5, 0.02, 0.1]})
    assert peak_flops(CPU, torch.float32) == 2 * 1024**3 / 0.02
    assert tried == [512, 1024]
    pretend(monkeypatch, {512: [0.001], 1024: [0.02]})
    assert peak_flops(CPU, torch.bfloat16) == 2 * 512**3 / 0.001


def test_a_fast_device_gets_products_that_fill_it(monkeypatch):
    tried = pretend(monkeypatch, {512: [1e-5], 1024: [1e-4], 2048: [2e-4], 4096: [1.3e-3]})
    assert peak_flops(CPU, torch.float32) == 2 * 4096**3 / 1.3e-3
    assert tried == [512, 1024, 2048, 4096]
    pretend(monkeypatch, {2**bits: [1e-6] for bits in range(9, 14)})
    assert peak_flops(CPU, torch.bfloat16) == 2 * 8192**3 / 1e-6  # and there it ends


def test_a_device_is_measured_once_and_anew_on_request_and_the_best_stays(monkeypatch):
    tried = pretend(monkeypatch, {512: [9], 1024: [0.02]})
    assert peak_flops(CPU, torch.float32) == peak_flops(CPU, torch.float32)
    assert tried == [512, 1024]
    pretend(monkeypatch, {512: [9], 1024: [0.04]})
    assert peak_flops(CPU, torch.float32, anew=True) == 2 * 1024**3 / 0.02
    pretend(monkeypatch, {512: [9], 1024: [0.01]})
    assert peak_flops(CPU, torch.float32, anew=True) == 2 * 1024**3 / 0.01


def test_formats_have_rates_of_their_own(monkeypatch):
    pretend(monkeypatch, {512: [9], 1024: [0.02]})
    peak_flops(CPU, torch.float32)
    pretend(monkeypatch, {512: [9], 1024: [0.01]})
    assert peak_flops(CPU, torch.bfloat16) == 2 * peak_flops(CPU, torch.float32)


def test_a_slow_product_is_not_repeated(monkeypatch):
    clock = iter([0.0, 0.0, 5.0, 5.0, 5.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert list(module._timings(8, CPU, torch.float32)) == [5.0]
