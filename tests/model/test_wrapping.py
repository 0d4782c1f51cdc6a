"""What wraps any module wraps this one, and gives the gradients of the plain model."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from gpt_pipeline.model import GPTModel

EMBEDDING = "embedding.token.weight"
SEEDS = torch.tensor([5, 17, 2**62, -3])
RATES = dict.fromkeys(["emb_dropout_rate", "mha_dropout_rate", "ffn_dropout_rate"], 0.2)


@pytest.fixture(params=["no_dropout", "dropout"])
def seeds(request):
    return SEEDS if request.param == "dropout" else None


@pytest.fixture
def plain(gpt_config, large_weights, seeds):
    """A model in training mode; with dropout where it gets seeds."""
    rates = RATES if seeds is not None else dict.fromkeys(RATES, 0.0)
    return large_weights(replace(gpt_config, **rates), 0.2).train()


@pytest.fixture
def one_process(tmp_path):
    """A process group of this process alone, over gloo."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def batch():
    generator = torch.Generator().manual_seed(1)
    tokens, targets = torch.randint(37, (2, 4, 11), generator=generator)
    targets[2, 5:] = -100
    return tokens, targets


def gradients(module, model, seeds, times=1):
    """Gradients of the model's parameters after `times` micro-batches through the module."""
    for _ in range(times):
        tokens, targets = batch()
        loss = module(tokens, targets, seeds) / (targets >= 0).sum()
        loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        bound = 1e-6 * gradient.abs().max().item()
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=bound, msg=name)


def test_distributed_data_parallel(plain, seeds, one_process):
    model = copy.deepcopy(plain)
    wrapped = DistributedDataParallel(model)
    assert_same(gradients(wrapped, model, seeds, times=2), gradients(plain, plain, seeds, times=2))


def test_fully_shard(plain, seeds, one_process):
    model = copy.deepcopy(plain)
    mesh = init_device_mesh("cpu", (1,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    found = gradients(model, model, seeds, times=2)
    whole = {name: gradient.full_tensor() for name, gradient in found.items()}
    assert_same(whole, gradients(plain, plain, seeds, times=2))


@pytest.mark.slow
def test_torch_compile(plain, seeds, needs_cpp_compiler):
    if seeds is not None:
        pytest.skip("compiled dropout hashes the seeds, as test_dropout.py checks")
    model = copy.deepcopy(plain)
    wrapped = torch.compile(model, fullgraph=True)
    found, wanted = gradients(wrapped, model, seeds), gradients(plain, plain, seeds)
    for name, gradient in wanted.items():  # its kernels sum in another order
        bound = 1e-5 * gradient.abs().max().item()
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=bound, msg=name)


def test_activation_checkpointing_of_the_blocks(plain, seeds):
    """With seeds the recomputation draws the same dropout without torch's saved states."""
    model = copy.deepcopy(plain)
    calls = []

    def recomputed(forward, *args):
        calls.append(1)
        return forward(*args)

    for block in model.blocks:
        run = partial(recomputed, block.forward)
        block.forward = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
    assert_same(gradients(model, model, seeds), gradients(plain, plain, seeds))
    assert len(calls) == 4  # two blocks, forward and again


def test_activation_checkpointing_without_seeds_repeats_torchs_draws(gpt_config, large_weights):
    plain = large_weights(replace(gpt_config, **RATES), 0.2).train()
    model = copy.deepcopy(plain)
    for block in model.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    torch.manual_seed(8)
    found = gradients(model, model, None)
    torch.manual_seed(8)
    assert_same(found, gradients(plain, plain, None))


class LowRank(nn.Module):
    """A frozen linear layer with a trainable product of two small matrices added, as LoRA has."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, 2, bias=False)
        self.up = nn.Linear(2, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


def test_a_low_rank_adapter_over_a_linear_layer(plain, seeds):
    """Its gradients follow from those of a plain model with the sum of the weights."""
    model = copy.deepcopy(plain).requires_grad_(False)
    attention = model.blocks[0].attention
    attention.qkv = adapter = LowRank(attention.qkv)
    with torch.no_grad():
        merged = plain.blocks[0].attention.qkv.weight
        merged += adapter.up.weight @ adapter.down.weight
    gradients(plain, plain, seeds)
    found = gradients(model, model, seeds)
    wanted = {
        "blocks.0.attention.qkv.down.weight": adapter.up.weight.T @ merged.grad,
        "blocks.0.attention.qkv.up.weight": merged.grad @ adapter.down.weight.T,
    }
    for name, gradient in found.items():
        if name not in wanted:
            assert gradient is None, name
            continue
        bound = 2e-6 * wanted[name].abs().max().item()
        torch.testing.assert_close(gradient, wanted[name], rtol=2e-6, atol=bound)


@pytest.mark.parametrize(
    "frozen",
    [(EMBEDDING,), ("blocks.1.",), ("embedding.", "blocks.0.")],
    ids=["tied embedding and head", "block", "bottom"],
)
def test_frozen_parameters_get_no_gradient_and_the_others_theirs(plain, seeds, frozen):
    """The embedding's weight is the head's: to freeze one is to freeze both."""
    model = copy.deepcopy(plain)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    found, wanted = gradients(model, model, seeds), gradients(plain, plain, seeds)
    dropped = {name for name, gradient in found.items() if gradient is None}
    assert dropped == {name for name in wanted if name.startswith(frozen)}
    assert dropped
    trained = {name: gradient for name, gradient in wanted.items() if name not in dropped}
    assert_same({name: found[name] for name in trained}, trained)


def test_a_frozen_head_of_its_own_leaves_the_embedding_trainable(plain, seeds):
    """Untied, by a head whose weight is a constant: the embedding's gradient is of its input."""

    class Untied(GPTModel):
        lm_head_weight = property(lambda self: self.embedding.token.weight.detach())

    model = copy.deepcopy(plain)
    model.__class__ = Untied
    found = gradients(model, model, seeds)
    wanted = gradients(plain, plain, seeds)
    torch.testing.assert_close(found["blocks.0.attention.qkv.weight"],
                               wanted["blocks.0.attention.qkv.weight"])  # fmt: skip
    tokens, targets = batch()
    read = torch.zeros(37, dtype=torch.bool)
    read[tokens[targets >= 0]] = True  # the others come after the last target of their row
    assert found[EMBEDDING][read].any(1).all()
    assert not found[EMBEDDING][~read].any()
    assert wanted[EMBEDDING][~read].any(1).all()
