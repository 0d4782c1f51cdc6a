"""Figures: one definition, the same however the windows are batched."""

import math

import pytest
import torch

from gpt_pipeline.metrics import Evaluation, Throughput, evaluate
from gpt_pipeline.runtime.memory import peak_memory_bytes

V = 7


def windows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(V, (count, 5), generator=generator)
    targets = torch.randint(V, (count, 5), generator=generator)
    targets[-1, 3:] = -100
    return inputs, targets


def table_model(inputs):
    table = torch.randn(V, V, generator=torch.Generator().manual_seed(1))
    return table[inputs]


def test_the_figures_are_the_written_out_means():
    inputs, targets = windows(3)
    result = evaluate([(table_model(inputs), targets)], bytes_per_token=2.0)
    logs = table_model(inputs).log_softmax(-1)
    counted = [(b, t) for b in range(3) for t in range(5) if targets[b, t] >= 0]
    losses = [-logs[b, t, targets[b, t]].item() for b, t in counted]
    right = [logs[b, t].argmax() == targets[b, t] for b, t in counted]
    assert result.tokens == len(counted) == 13
    assert result.loss == pytest.approx(sum(losses) / 13, rel=1e-6)
    assert result.accuracy == pytest.approx(sum(right) / 13)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert result.bits_per_byte == pytest.approx(sum(losses) / math.log(2) / 26)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_figure_does_not_depend_on_the_batch_size(size):
    inputs, targets = windows(7)
    parts = list(zip(inputs.split(size), targets.split(size), strict=True))
    whole = evaluate([(table_model(inputs), targets)], bytes_per_token=1.0)
    result = evaluate(((table_model(x), y) for x, y in parts), bytes_per_token=1.0)
    assert result.loss == pytest.approx(whole.loss, rel=1e-12)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary():
    inputs, targets = windows(2)
    result = evaluate([(torch.zeros(*inputs.shape, V), targets)], bytes_per_token=1.0)
    assert result.loss == pytest.approx(math.log(V))
    assert result.bits_per_byte == pytest.approx(math.log2(V))


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="at least one target that counts"):
        evaluate([], bytes_per_token=1.0)


def test_a_huge_loss_has_a_finite_perplexity():
    assert 1e300 < Evaluation(1000.0, 0.0, 1, 1.0).perplexity < math.inf


def test_throughput_counts_steps_and_not_what_lies_between(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 10.0, 12.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = Throughput()
    assert meter.tokens_per_s == 0.0
    meter.start()
    meter.stop(100)  # 1.0 to 3.0
    meter.start()
    meter.stop(300)  # 10.0 to 12.0
    assert meter.tokens_per_s == pytest.approx(100.0)


def test_waiting_for_data_is_a_share_of_the_steps_alone(monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 1.5, 2.0, 2.25, 3.0, 10.0, 12.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = Throughput()
    assert meter.data_wait_share == 0.0
    meter.start()
    with meter.waiting():
        pass  # 1.0 to 1.5
    with meter.waiting():
        pass  # 2.0 to 2.25
    meter.stop(100)  # 1.0 to 3.0
    assert meter.data_wait_share == pytest.approx(0.375)
    meter.start()
    meter.stop(100)  # 10.0 to 12.0, and nothing is left of the wait before
    assert meter.data_wait_share == pytest.approx(0.1875)


def test_peak_memory_is_that_of_a_process_with_torch():
    assert 50e6 < peak_memory_bytes(torch.device("cpu")) < 1e12
