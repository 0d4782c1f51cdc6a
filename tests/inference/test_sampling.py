import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference.penalties import adjusted, biased, lowered, penalized
from gpt_pipeline.inference.sampling import (
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_tokens,
    probabilities,
    sample_columns,
    sample_uniforms,
)
from gpt_pipeline.inference.top_k import topk_in_blocks

BELOW_ONE = 1 - 2**-53  # the topk float64 below 1


@pytest.fixture(autouse=True)
def stable_sort(monkeypatch):
    """transformers leaves the order of equal logits to torch.sort, which varies by device."""
    monkeypatch.setattr(torch, "sort", partial(torch.sort, stable=True))


def settings(temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> Sampling:
    return Sampling(temperature=temperature, top_k=top_k, top_p=top_p, max_new_tokens=1)


def random_logits(ties: bool = False) -> torch.Tensor:
    logits = torch.randn(5, 67, generator=torch.Generator().manual_seed(2)).double() * 3
    return logits.round() if ties else logits


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("k", [1, 2, 7, 66, 67, 68, 1000])
def test_top_k_equals_that_of_transformers(k, ties):
    falling = random_logits(ties).sort(descending=True).values
    assert torch.equal(keep_top_k(falling, k), TopKLogitsWarper(k)(None, falling))


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("p", [1e-20, 1e-12, 0.01, 0.3, 0.5, 0.9, 0.95, 0.9999, 1.0])
def test_top_p_equals_that_of_transformers(p, ties):
    logits = random_logits(ties)
    assert torch.equal(keep_top_p(logits, p), TopPLogitsWarper(p)(None, logits))


@pytest.mark.parametrize("p", [0.25, 0.5, 0.6, 0.75])
def test_top_p_of_equal_logits_equals_that_of_transformers(p):
    logits = torch.zeros(2, 4, dtype=torch.float64)
    assert torch.equal(keep_top_p(logits, p), TopPLogitsWarper(p)(None, logits))


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("temperature", [0.1, 0.8, 1.0, 1.2, 5.0])
@pytest.mark.parametrize("top_k", [None, 1, 5, 50, 1000])
@pytest.mark.parametrize("top_p", [1e-9, 0.5, 0.95, 1.0])
def test_probabilities_equal_those_of_transformers_in_its_order(temperature, top_k, top_p, ties):
    logits = random_logits(ties)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(None, logits).softmax(-1)
    got = probabilities(logits, settings(temperature, top_k, top_p))
    assert torch.equal(got == 0, expected == 0)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("top_k", [None, 1, 50])
@pytest.mark.parametrize("top_p", [1e-9, 0.5, 1.0])
def test_temperature_zero_is_greedy(top_k, top_p):
    logits = random_logits()
    got = probabilities(logits, settings(0.0, top_k, top_p))
    assert torch.equal(got.argmax(-1), logits.argmax(-1))
    assert torch.equal(got.amax(-1), torch.ones(5, dtype=torch.float64))
    assert (got > 0).sum() == 5


def test_greedy_takes_the_first_of_equal_logits():
    logits = torch.tensor([[0.0, 2.0, 1.0, 2.0]])
    assert probabilities(logits, settings(0.0)).tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_a_tiny_temperature_is_greedy_and_does_not_overflow():
    logits = random_logits()
    got = probabilities(logits, settings(1e-320))
    assert torch.equal(got, probabilities(logits, settings(0.0)))


def test_probabilities_are_float64_whatever_the_logits_are():
    logits = random_logits().bfloat16()
    got = probabilities(logits, settings(0.8, 50, 0.95))
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, probabilities(logits.double(), settings(0.8, 50, 0.95)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_refused(value, temperature):
    logits = random_logits()
    logits[3, 5] = value
    with pytest.raises(UserError, match=rf"logits must be finite; got {value}:"):
        probabilities(logits, settings(temperature))


@pytest.mark.parametrize("temperature", [-1.0, math.nan])
def test_a_negative_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match=rf"temperature .* got {temperature}"):
        apply_temperature(random_logits(), temperature)


def test_a_top_k_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"top_k .* got 0"):
        keep_top_k(random_logits(), 0)


@pytest.mark.parametrize("p", [0.0, -0.5, 1.01, math.nan])
def test_a_top_p_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match=rf"top_p .* got {p}"):
        keep_top_p(random_logits(), p)


def test_sampling_inverts_the_cumulative_distribution():
    table = torch.tensor([[0.25, 0.0, 0.5, 0.25]], dtype=torch.float64)
    uniforms = {0.0: 0, 0.2499: 0, 0.25: 2, 0.7499: 2, 0.75: 3, BELOW_ONE: 3}
    for uniform, token in uniforms.items():
        columns = sample_columns(table, torch.tensor([uniform], dtype=torch.float64))
        assert columns.tolist() == [token]


@pytest.mark.parametrize("scale", [1.0, 1 - 1e-15, 1 + 1e-15, 3.7])
@pytest.mark.parametrize("uniform", [0.0, 5e-324, 0.5, BELOW_ONE])
def test_sampling_never_picks_a_token_of_probability_zero(uniform, scale):
    generator = torch.Generator().manual_seed(4)
    table = torch.rand(500, 67, dtype=torch.float64, generator=generator)
    table[:, :9] = 0
    table[:, 40:] = 0
    table[torch.rand(500, 67, generator=generator) < 0.5] = 0
    table[:, 20] += 1e-3
    table = table / table.sum(-1, keepdim=True) * scale
    picked = sample_columns(table, torch.full((500,), uniform, dtype=torch.float64))
    assert (table.gather(1, picked[:, None]) > 0).all()


@pytest.mark.parametrize("uniform", [0.0, BELOW_ONE])
def test_sampling_at_the_extremes_stays_within_top_k_and_top_p(uniform):
    logits = random_logits()
    table = probabilities(logits, settings(1.3, 8, 0.9))
    picked = sample_columns(table, torch.full((5,), uniform, dtype=torch.float64))
    kept = keep_top_p(TopKLogitsWarper(8)(None, logits / 1.3), 0.9)
    assert kept.gather(1, picked[:, None]).isfinite().all()


def test_samples_follow_the_probabilities():
    table = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64).expand(20000, -1)
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(20000, dtype=torch.float64, generator=generator)
    shares = sample_columns(table, uniforms).bincount(minlength=4) / 20000
    torch.testing.assert_close(shares, table[0].float(), atol=0.015, rtol=0)


def test_next_tokens_samples_each_row_by_its_own_number():
    logits, uniforms = random_logits()[:1].expand(3, -1), [0.1, 0.5, 0.9]
    rows = next_tokens(logits, settings(5.0), uniforms)
    assert rows == [next_tokens(logits[:1], settings(5.0), [each])[0] for each in uniforms]
    assert len(set(rows)) == 3


def test_seed_prompt_and_sample_all_tell_the_numbers_apart():
    triples = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 10, 0), (11, 0, 0), (2**70, 0, 0)]
    assert len({next(sample_uniforms(*each)) for each in triples}) == len(triples)


def test_the_documented_numbers_of_a_sample_are_frozen():
    generator = torch.Generator()
    generator.manual_seed(5617460814315976734)  # the first bytes of SHA-256 of "1337 0 2"
    one_by_one = [
        torch.rand((), generator=generator, dtype=torch.float64).item() for _ in range(150)
    ]
    assert list(itertools.islice(sample_uniforms(1337, 0, 2), 150)) == one_by_one
    assert one_by_one[0] == 0.25245890299006124


def large_logits(kind):
    """[3, 5000] of a kind that a hasty look takes for what it is not, or does not."""
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(1)) * 4
    if kind == "many equal":
        logits[1] = 1.0
    elif kind == "flat":
        logits[2] /= 1000
    elif kind != "plain":
        logits[1, 7] = float(kind)
    return logits


@pytest.mark.parametrize("kind", ["plain", "many equal", "flat"])
@pytest.mark.parametrize(
    "sampling",
    [
        settings(0.0),
        settings(1.0, 50, 0.95),
        settings(1.0, 3),
        settings(0.9, top_p=0.95),
        settings(3.0),
    ],
    ids=str,
)
def test_a_device_that_is_not_waited_for_gives_the_same_tokens(sampling, kind):
    logits, uniforms = large_logits(kind), [0.0, 0.37, BELOW_ONE]
    expected = next_tokens(logits, sampling, uniforms, wait=True)
    assert next_tokens(logits, sampling, uniforms, wait=False) == expected


class Operators(TorchDispatchMode):
    """The names of what torch computes meanwhile; `_local_scalar_dense` waits for a GPU."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, given=(), named=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*given, **(named or {}))


@pytest.mark.parametrize("sampling", [settings(0.0), settings(1.0, 50, 0.95),
                                      settings(0.9, top_p=0.95)], ids=str)  # fmt: skip
def test_a_device_is_waited_for_only_where_it_is_said(sampling):
    for wait in (True, False):
        with Operators() as seen:
            next_tokens(large_logits("plain"), sampling, [0.1, 0.5, 0.9], wait=wait)
        assert ("_local_scalar_dense" in seen.names) == wait
        assert "nonzero" not in seen.names


@pytest.mark.parametrize("kind", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "sampling", [settings(0.0), settings(1.0, 50, 0.95), settings(1.0)], ids=str
)
def test_logits_that_are_not_finite_are_refused_without_waiting_too(sampling, kind):
    with pytest.raises(UserError, match=rf"logits must be finite; got {kind}:"):
        next_tokens(large_logits(kind), sampling, [0.0, 0.5, BELOW_ONE], wait=False)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("min_p", [0.0, 0.01, 0.2, 0.999, 1.0])
def test_min_p_equals_that_of_transformers(min_p, ties):
    logits = random_logits(ties)
    expected = logits if min_p == 0 else MinPLogitsWarper(min_p)(None, logits)
    assert torch.equal(keep_min_p(logits, min_p) == -math.inf, expected == -math.inf)


@pytest.mark.parametrize("penalty", [0.5, 1.2, 2.0])
def test_repetition_penalty_equals_that_of_transformers(penalty):
    logits, texts = random_logits().float(), torch.randint(67, (5, 9))
    expected = RepetitionPenaltyLogitsProcessor(penalty)(texts, logits)
    torch.testing.assert_close(penalized(logits, texts.tolist(), penalty), expected)
    assert torch.equal(penalized(logits, [[]] * 5, penalty), logits)


@pytest.mark.parametrize(("presence", "frequency"), [(0.5, 0.0), (0.0, -1.5), (2.0, 0.25)])
def test_presence_and_frequency_penalty_are_openais_formula(presence, frequency):
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence."""
    logits, drawn = random_logits().float(), [[], [3], [3, 3, 9], [66, 3, 66, 66], [0]]
    counts = torch.tensor([[text.count(token) for token in range(67)] for text in drawn])
    expected = logits - counts * frequency - (counts > 0) * presence
    got = lowered(logits, drawn, presence=presence, frequency=frequency)
    torch.testing.assert_close(got, expected)


def test_penalties_and_bias_come_in_the_documented_order():
    """The repetition penalty, which divides, is the first."""
    logits = torch.zeros(1, 67)
    logits[0, 7] = 6.0
    sampling = replace(
        settings(1.0), repetition_penalty=2.0, presence_penalty=1.0, frequency_penalty=0.5,
        logit_bias=((7, 0.25),),
    )  # fmt: skip
    got = adjusted(logits, sampling, [[7, 7, 7]], [[7, 7]])
    assert got[0, 7].item() == 6.0 / 2 - 1.0 - 2 * 0.5 + 0.25
    assert adjusted(logits, settings(1.0), [[7]], [[7]]) is logits


def test_a_bias_moves_its_tokens_alone_and_passes_over_unknown_ones():
    logits = random_logits().float()
    moved = biased(logits, ((3, 2.5), (66, -100.0), (67, 9.0), (-1, 9.0)))
    assert set((moved != logits).nonzero()[:, 1].tolist()) == {3, 66}
    torch.testing.assert_close(moved[:, 3], logits[:, 3] + 2.5)
    greedy = replace(settings(0.0), logit_bias=((11, 1000.0),))
    assert probabilities(logits, greedy).argmax(-1).tolist() == [11] * 5


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("top_p", [0.1, 0.9, 0.999])
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_top_p_of_a_large_vocabulary_needs_no_sort_of_all(temperature, top_p, ties):
    logits = torch.randn(3, 5000, generator=torch.Generator().manual_seed(1)) * 4
    logits = logits.round() if ties else logits
    whole = keep_top_p(apply_temperature(logits.double(), temperature), top_p).softmax(-1)
    got = probabilities(logits, settings(temperature, top_p=top_p))
    assert torch.equal(got == 0, whole == 0)
    torch.testing.assert_close(got, whole, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("min_p", [-0.1, 1.1, math.nan])
def test_a_min_p_outside_its_range_is_refused(min_p):
    with pytest.raises(ValueError, match=rf"min_p .* got {min_p}"):
        keep_min_p(random_logits(), min_p)


@pytest.mark.parametrize("size", [300, 64 * 40, 64 * 40 + 17])
def test_the_greatest_are_found_in_blocks_as_in_the_whole(size):
    torch.manual_seed(0)
    logits = torch.randn(5, size)
    logits[1] = logits[1].round()  # many equal ones
    logits[2, :-3] = -torch.inf
    logits[3] = 0.0
    logits[4, -1] = 100.0
    values, ids = topk_in_blocks(logits, 14)
    assert torch.equal(values, logits.topk(14).values)
    assert torch.equal(logits.gather(1, ids), values)
    assert all(len(set(row)) == 14 for row in ids.tolist())
