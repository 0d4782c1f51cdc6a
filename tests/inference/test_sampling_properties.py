"""Sampling against a reference in plain Python: what is excluded is never drawn."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference.sampling import (
    apply_temperature,
    keep_top_k,
    keep_top_p,
    next_tokens,
    probabilities,
    sample_columns,
    sample_uniforms,
)

BELOW_ONE = math.nextafter(1, 0)
EDGE = 1e-9  # a nucleus that ends this close to top_p may end on either side by rounding

TIED = st.integers(-3, 3).map(float)  # ties of all kinds
LOGITS = st.lists(st.floats(-50, 50) | TIED, min_size=1, max_size=30)
TEMPERATURES = st.sampled_from([0.0, 1e-320, 0.01, 0.5, 1.0, 1.2, 100.0]) | st.floats(0, 10)
TOP_K = st.none() | st.integers(1, 40)
TOP_P = st.sampled_from([1.0, 0.95, 0.5, 1e-9]) | st.floats(1e-12, 1)


def reference(logits, temperature, top_k, top_p):
    """Tokens that may be drawn, and whether rounding decides over the last of them."""
    best = max(logits)
    if temperature == 0:
        return {logits.index(best)}, False
    scaled = [(logit - best) / temperature for logit in logits]
    kept = list(range(len(logits)))
    if top_k is not None and top_k < len(logits):
        weakest = sorted(scaled, reverse=True)[top_k - 1]
        kept = [token for token in kept if scaled[token] >= weakest]
    kept = [token for token in kept if scaled[token] > -math.inf]
    if top_p == 1:
        return set(kept), False
    # Most probable first; of equal ones the later token first, as the nucleus keeps the later.
    order = sorted(kept, key=lambda token: (scaled[token], token), reverse=True)
    weights = [math.exp(scaled[token]) for token in order]
    total, before, nucleus, close = math.fsum(weights), [], set(), False
    for token, weight in zip(order, weights, strict=True):
        held = math.fsum(before) / total
        close = close or abs(held - top_p) < EDGE
        if nucleus and held >= top_p:
            break
        nucleus.add(token)
        before.append(weight)
    return nucleus, close


def settings_of(temperature, top_k, top_p):
    return Sampling(temperature=temperature, top_k=top_k, top_p=top_p, max_new_tokens=1)


def row(logits):
    return torch.tensor([logits], dtype=torch.float64)


@settings(max_examples=500, deadline=None)
@given(LOGITS, TEMPERATURES, TOP_K, TOP_P)
def test_only_what_the_reference_keeps_has_probability(logits, temperature, top_k, top_p):
    allowed, close = reference(logits, temperature, top_k, top_p)
    assume(not close)
    (got,) = probabilities(row(logits), settings_of(temperature, top_k, top_p)).tolist()
    likely = {token for token, p in enumerate(got) if p > 0}
    assert likely <= allowed
    # What is kept and has none is below the smallest float beside the best one.
    scaled = {token: (logits[token] - max(logits)) / (temperature or 1) for token in allowed}
    assert all(scaled[token] < -700 for token in allowed - likely)
    assert sum(got) == pytest.approx(1, abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(LOGITS, TEMPERATURES, TOP_K, TOP_P, st.integers(0, 2**64))
def test_no_draw_ever_yields_an_excluded_token(logits, temperature, top_k, top_p, seed):
    allowed, close = reference(logits, temperature, top_k, top_p)
    assume(not close)
    sampling, number = settings_of(temperature, top_k, top_p), 16
    uniforms = [next(sample_uniforms(seed, 0, idx)) for idx in range(number)]
    drawn = next_tokens(row(logits).expand(number, -1), sampling, uniforms)
    assert set(drawn) <= allowed
    table = probabilities(row(logits), sampling)
    for uniform in (0.0, 5e-324, 0.5, BELOW_ONE):
        (token,) = sample_columns(table, torch.tensor([uniform], dtype=torch.float64)).tolist()
        assert token in allowed


@settings(max_examples=200, deadline=None)
@given(LOGITS, TOP_K, TOP_P)
def test_temperature_zero_is_the_argmax(logits, top_k, top_p):
    drawn = next_tokens(row(logits), settings_of(0.0, top_k, top_p), [0.5])
    assert drawn == [logits.index(max(logits))]


@settings(max_examples=200, deadline=None)
@given(LOGITS, st.floats(0.01, 10), TOP_P, st.floats(0, BELOW_ONE))
def test_top_k_of_one_is_greedy_up_to_ties(logits, temperature, top_p, uniform):
    (token,) = next_tokens(row(logits), settings_of(temperature, 1, top_p), [uniform])
    scaled = [(logit - max(logits)) / temperature for logit in logits]
    assert scaled[token] == 0
    if scaled.count(0) == 1:
        assert token == logits.index(max(logits))


MASKED = st.lists(st.just(-math.inf) | TIED | st.floats(-50, 50), min_size=1, max_size=30)


@settings(max_examples=300, deadline=None)
@given(MASKED, TOP_K, TOP_P)
def test_a_logit_of_minus_infinity_is_never_brought_back(logits, top_k, top_p):
    assume(max(logits) > -math.inf)
    allowed, close = reference(logits, 1.0, top_k, top_p)
    assume(not close)
    scaled = apply_temperature(row(logits), 1.0)
    falling, ids = scaled.sort(descending=True)
    kept = falling if top_k is None else keep_top_k(falling, top_k)
    kept = torch.empty_like(kept).scatter_(1, ids, kept)
    (got,) = keep_top_p(kept, top_p).softmax(-1).tolist()
    assert {token for token, p in enumerate(got) if p > 0} == allowed
    assert sum(got) == pytest.approx(1, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(LOGITS, st.sampled_from([-math.inf, math.inf, math.nan]), TEMPERATURES, TOP_K, TOP_P)
def test_a_model_that_gives_such_logits_is_refused(logits, bad, temperature, top_k, top_p):
    with pytest.raises(UserError, match="logits must be finite"):
        probabilities(row([*logits, bad]), settings_of(temperature, top_k, top_p))
