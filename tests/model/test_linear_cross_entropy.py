"""Head and loss in chunks against torch's own, in every number format."""

import pytest
import torch
from torch.nn import functional

from gpt_pipeline.model import linear_cross_entropy as module
from gpt_pipeline.model.linear_cross_entropy import (
    linear_cross_entropy,
    loss_and_gradient,
    loss_of_likely,
)

R, V, C = 13, 29, 7


def case():
    generator = torch.Generator().manual_seed(0)
    hidden_states = torch.randn(R, C, generator=generator).requires_grad_()
    weight = torch.nn.Parameter(torch.randn(V, C, generator=generator))
    targets = torch.randint(V, (R,), generator=generator)
    targets[4] = -100
    return hidden_states, weight, targets


def reference(hidden_states, weight, targets):
    return functional.cross_entropy(
        functional.linear(hidden_states, weight), targets, reduction="sum"
    )


@pytest.fixture
def small_chunks(monkeypatch):
    def chunks(rows):
        monkeypatch.setattr(module, "_LOGITS_PER_CHUNK", {"cpu": rows * V})
        monkeypatch.setattr(module, "_PROBABILITIES_PER_THREAD", 2 * V)
        monkeypatch.setattr(module, "_WEIGHTS_PER_SLICE", {"cpu": 10 * C})

    return chunks


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float16, 2e-2), (torch.bfloat16, 0.15)],
    ids=["float32", "float16", "bfloat16"],
)
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_value_and_gradients_are_those_of_torch(small_chunks, dtype, tolerance, rows):
    small_chunks(rows)
    hidden_states, weight, targets = case()
    weight.grad = torch.ones_like(weight)  # of an earlier micro-batch
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        total = linear_cross_entropy(hidden_states, weight, targets)
    assert total.dtype == torch.float32
    (total * 0.5).backward()
    other, own = hidden_states.detach().requires_grad_(), weight.detach().requires_grad_()
    loss = reference(other, own, targets)
    (loss * 0.5).backward()
    torch.testing.assert_close(total, loss, rtol=tolerance / 10, atol=0)
    torch.testing.assert_close(hidden_states.grad, other.grad, rtol=0, atol=tolerance)
    torch.testing.assert_close(weight.grad - 1, own.grad, rtol=0, atol=tolerance)


def test_float16_gradients_take_the_loss_scale_in_float32():
    """A scale beyond float16's range, and a factor that would vanish in it."""
    hidden_states, weight, targets = case()
    with torch.autocast("cpu", dtype=torch.float16):
        plain = linear_cross_entropy(hidden_states, weight, targets)
    plain.backward()
    wanted = hidden_states.grad.clone(), weight.grad.clone()
    for factor in (2.0**20, 2.0**-30):
        hidden_states.grad = weight.grad = None
        with torch.autocast("cpu", dtype=torch.float16):
            loss = linear_cross_entropy(hidden_states, weight, targets)
        (loss * factor).backward()
        torch.testing.assert_close(hidden_states.grad / factor, wanted[0], rtol=1e-6, atol=0)
        torch.testing.assert_close(weight.grad / factor, wanted[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("weights", [torch.float16, torch.bfloat16])
def test_weights_that_are_not_float32_get_gradients_of_their_type(small_chunks, weights):
    small_chunks(4)
    hidden_states, weight, targets = case()
    half = weight.detach().to(weights).requires_grad_()
    linear_cross_entropy(hidden_states.to(weights), half, targets).backward()
    reference(hidden_states.detach(), weight, targets).backward()
    assert half.grad.dtype == weights
    torch.testing.assert_close(half.grad.float(), weight.grad, rtol=0, atol=0.15)


@pytest.mark.parametrize("frozen", ["hidden_states", "weight", "both"])
def test_what_is_frozen_costs_no_gradient(monkeypatch, frozen):
    hidden_states, weight, targets = case()
    wanted = reference(hidden_states, weight, targets)
    wanted.backward()
    gradients = {"hidden_states": hidden_states.grad, "weight": weight.grad}
    hidden_states, weight, targets = case()
    hidden_states.requires_grad_(frozen == "weight")
    weight.requires_grad_(frozen == "hidden_states")
    products = []
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *a, **k: products.append(a) or mm(*a, **k))
    monkeypatch.setattr(module, "_add_product", lambda *a, **k: products.append(a))
    loss = linear_cross_entropy(hidden_states, weight, targets)
    assert len(products) == (1 if frozen == "both" else 2)
    torch.testing.assert_close(loss, wanted)
    assert loss.requires_grad == (frozen != "both")
    if frozen == "weight":
        loss.backward()
        torch.testing.assert_close(hidden_states.grad, gradients["hidden_states"])
        assert weight.grad is None


def test_without_gradients_it_is_the_loss_alone(monkeypatch):
    hidden_states, weight, targets = case()
    wanted = reference(hidden_states, weight, targets)
    monkeypatch.setattr(module, "_add_product", None)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden_states, weight, targets), wanted)


def test_a_second_backward_pass_is_refused():
    hidden_states, weight, targets = case()
    loss = linear_cross_entropy(hidden_states, weight, targets)
    loss.backward(retain_graph=True)
    kept = weight.grad.clone()
    with pytest.raises(RuntimeError, match="run the forward pass again"):
        loss.backward()
    assert torch.equal(weight.grad, kept)


def test_a_gradient_of_the_gradient_is_refused():
    hidden_states, weight, targets = case()
    loss = linear_cross_entropy(hidden_states, weight, targets)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, hidden_states, create_graph=True)


def test_no_row_has_a_loss_of_zero():
    _, weight, _ = case()
    empty = torch.empty(0, C, requires_grad=True)
    loss = linear_cross_entropy(empty, weight, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert not weight.grad.any()


@pytest.mark.parametrize("loss", [loss_and_gradient, loss_of_likely])
def test_the_loss_of_a_hopeless_target_is_exact(loss):
    logits = torch.tensor([[0.0, 500.0, 3.0], [0.0, -1e30, 1.0]])
    wanted = functional.cross_entropy(logits, torch.tensor([0, 1]), reduction="none")
    torch.testing.assert_close(loss(logits, torch.tensor([0, 1])), wanted)
    torch.testing.assert_close(logits[0], torch.tensor([-1.0, 1.0, 0.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_likely_target_gives_the_same_gradient_and_loss(dtype):
    logits = torch.randn(5, V, generator=torch.Generator().manual_seed(0)).to(dtype) * 4
    targets, exact, quick = torch.arange(5), logits.clone(), logits.clone()
    losses = loss_and_gradient(exact, targets)
    torch.testing.assert_close(loss_of_likely(quick, targets), losses, rtol=1e-6, atol=1e-6)
    assert torch.equal(quick, exact)


@pytest.mark.parametrize("loss", [loss_and_gradient, loss_of_likely])
def test_a_loss_that_is_not_finite_stays_so(loss):
    for bad in (float("nan"), float("inf")):
        logits = torch.tensor([[0.0, bad, 3.0]])
        assert not loss(logits, torch.tensor([0])).isfinite().any()


def test_it_can_be_interrupted_between_its_chunks(small_chunks):
    small_chunks(4)
    hidden_states, weight, targets = case()
    calls = []

    def check():
        calls.append(len(calls))
        if len(calls) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        linear_cross_entropy(hidden_states, weight, targets, check)


@pytest.mark.slow
def test_compiled_it_is_one_operator_of_the_graph(small_chunks, needs_cpp_compiler):
    small_chunks(4)

    def doubled(hidden_states, weight, targets):
        return linear_cross_entropy(hidden_states * 2, weight, targets)

    found, plain = case(), case()
    loss = torch.compile(doubled, fullgraph=True)(*found)
    torch.testing.assert_close(loss, doubled(*plain))
    loss.backward()
    doubled(*plain).backward()
    for mine, theirs in zip(found[:2], plain[:2], strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-6)
