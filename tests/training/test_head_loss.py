"""Head and loss by hand against torch's own, in every number format."""

import pytest
import torch
from torch.nn import functional

from gpt_pipeline.training.head_loss import HeadLoss, loss_and_gradient, loss_of_likely

R, V, C = 13, 29, 7


def case():
    generator = torch.Generator().manual_seed(0)
    hidden_states = torch.randn(R, C, generator=generator)
    matrix = torch.nn.Parameter(torch.randn(V, C, generator=generator))
    targets = torch.randint(V, (R,), generator=generator)
    targets[4] = -100
    return hidden_states, matrix, targets


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float16, 2e-2), (torch.bfloat16, 0.15)],
    ids=["float32", "float16", "bfloat16"],
)
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_value_and_gradients_are_those_of_torch(monkeypatch, dtype, tolerance, rows):
    monkeypatch.setattr("gpt_pipeline.training.head_loss._LOGITS_AT_ONCE", {"cpu": rows * V})
    monkeypatch.setattr("gpt_pipeline.training.head_loss._SOFTMAX_AT_ONCE", 2 * V)
    hidden_states, matrix, targets = case()
    matrix.grad = torch.ones_like(matrix)  # what an earlier micro-batch left
    total, gradient = HeadLoss(dtype)(hidden_states, targets, matrix, scale=0.5, check=lambda: None)
    other, own = hidden_states.clone().requires_grad_(), matrix.detach().clone().requires_grad_()
    loss = functional.cross_entropy(functional.linear(other, own), targets, reduction="sum")
    (loss * 0.5).backward()
    torch.testing.assert_close(total, loss.detach(), rtol=tolerance / 10, atol=0)
    torch.testing.assert_close(gradient, other.grad, rtol=0, atol=tolerance)
    torch.testing.assert_close(matrix.grad - 1, own.grad, rtol=0, atol=tolerance)


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
def test_a_loss_that_is_not_finite_is_said(loss):
    for bad in (float("nan"), float("inf")):
        logits = torch.tensor([[0.0, bad, 3.0]])
        assert not loss(logits, torch.tensor([0])).isfinite().any()


def test_it_can_be_given_up_between_its_parts():
    hidden_states, matrix, targets = case()
    calls = []

    def check():
        calls.append(len(calls))
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HeadLoss(torch.float32)(hidden_states, targets, matrix, scale=1.0, check=check)


def test_the_memory_of_the_logits_is_taken_once():
    hidden_states, matrix, targets = case()
    head = HeadLoss(torch.float32)
    for rows in (R, 5, R):
        head(hidden_states[:rows], targets[:rows], matrix, scale=1.0, check=lambda: None)
    held = head._buffers["logits"]
    head(hidden_states, targets, matrix, scale=1.0, check=lambda: None)
    assert head._buffers["logits"] is held
