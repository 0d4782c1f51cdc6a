"""Continuous batches: what is made side by side is what is made alone."""

import random
from dataclasses import replace

import pytest
import torch
from decoding import decode, finished

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import (
    Engine,
    Request,
    SampledToken,
    plain_backend,
    score,
)
from gpt_pipeline.inference.stop_texts import StopTexts
from gpt_pipeline.model import GPTModel

EOT = 66
SAMPLING = Sampling(temperature=1.0, top_k=20, top_p=0.95, max_new_tokens=30)


def alone(model, request):
    (sample,) = decode(
        model, request.prompt, sampling=request.sampling, eot_id=EOT, seed=request.seed,
        prompt_idx=request.prompt_idx,
    )  # fmt: skip
    return sample


def requests(number, seed=0):
    """Prompts and settings of all kinds, some of them alike."""
    rng = random.Random(seed)
    kinds = [
        SAMPLING, replace(SAMPLING, temperature=0.0), replace(SAMPLING, top_k=None, min_p=0.05),
        replace(SAMPLING, repetition_penalty=1.3, logit_bias=((5, 2.0),)),
        replace(SAMPLING, presence_penalty=1.0, frequency_penalty=0.5),
    ]  # fmt: skip
    for idx in range(number):
        prompt = tuple(rng.randrange(60) for _ in range(rng.choice([0, 1, 4, 4, 10])))
        length = rng.randrange(1, 40)
        yield Request(prompt, replace(rng.choice(kinds), max_new_tokens=length), idx % 3, idx)


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_samples_that_come_and_go_are_those_made_alone(model, slots):
    rng, engine = random.Random(slots), Engine(model, EOT, slots)
    waiting, running, done = list(requests(24)), {}, {}
    while waiting or running:
        while waiting and engine.free and rng.random() < 0.5:
            request = waiting.pop()
            running[engine.add(request)] = (request, [])
        for key, sampled in engine.step():
            running[key][1].append(sampled)
            if sampled.finish_reason:
                request, all_sampled = running.pop(key)
                done[request] = finished(all_sampled)
    assert engine.active == 0
    assert done == {request: alone(model, request) for request in done}
    assert len(done) == 24


def test_a_sample_that_is_taken_out_leaves_the_others_as_they_were(model):
    wanted = [each for each in requests(12, seed=3) if each.sampling.max_new_tokens > 8]
    engine = Engine(model, EOT, len(wanted))
    keys = {engine.add(request): request for request in wanted}
    drawn = {key: [] for key in keys}
    for step in range(45):
        for key, one in engine.step():
            drawn[key].append(one)
        if step in (0, 2, 5):
            out = next(key for key in drawn if not drawn[key][-1].finish_reason)
            engine.remove(out)
            del drawn[out]
    assert engine.active == 0
    engine.remove(10**6)  # one that it does not know
    for key, made in drawn.items():
        assert finished(made) == alone(model, keys[key])


def test_a_long_prompt_is_read_while_others_wait_only_for_a_step(model):
    engine = Engine(model, EOT, 3)
    first = engine.add(Request((1,), SAMPLING, 0))
    engine.step()
    late = [engine.add(Request((2, 3), SAMPLING, 0, idx)) for idx in (1, 2)]
    assert engine.free == 0
    with pytest.raises(RuntimeError, match="all 3 slots"):
        engine.add(Request((1,), SAMPLING, 0))
    assert [key for key, _ in engine.step()] == [first, *late]


def test_a_model_of_single_documents_goes_on_from_the_last_of_a_prompt(model):
    single = GPTModel(replace(model.config, attention="document", eot_id=EOT)).eval()
    single.load_state_dict(model.state_dict())
    whole, last = (1, 2, 3, EOT, 4, EOT, 7, 8), (EOT, 7, 8)
    assert alone(single, Request(whole, SAMPLING, 5)) == alone(model, Request(last, SAMPLING, 5))
    assert alone(model, Request(whole, SAMPLING, 5)) != alone(model, Request(last, SAMPLING, 5))


def test_log_probabilities_are_the_models_own_whatever_the_settings(model):
    sampling = replace(SAMPLING, temperature=3.0, logprobs=4, logit_bias=((7, 5.0),))
    (sample,) = decode(model, [9, 2], sampling=sampling, eot_id=EOT, seed=3)
    context = [9, 2, *sample.tokens][:10]
    with torch.inference_mode():
        table = model(torch.tensor([context]))[0].log_softmax(-1)
    for place, token in enumerate(sample.tokens[:8]):
        own, best = sample.logprobs[place]
        row = table[place + 1]
        assert own == pytest.approx(row[token].item(), abs=1e-4)
        assert [token for token, _ in best] == row.topk(4).indices.tolist()
        assert [value for _, value in best] == pytest.approx(row.topk(4).values.tolist(), abs=1e-4)


def test_a_text_is_scored_token_by_token(model):
    tokens = [4, 8, 15, 16]
    with torch.inference_mode():
        table = model(torch.tensor([tokens]))[0].log_softmax(-1)
    backend = plain_backend(model)
    first, *rest = score(backend, tokens, logprobs=2)
    assert (first.token, first.logprob) == (4, None)
    assert [one.token for one in rest] == tokens[1:]
    wanted = [table[place, token].item() for place, token in enumerate(tokens[1:])]
    assert [one.logprob for one in rest] == pytest.approx(wanted, abs=1e-4)
    assert score(backend, [], logprobs=2) == []
    assert score(backend, [3], logprobs=2) == [SampledToken(3, None)]


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_stop_text_ends_a_sample_however_it_is_cut_into_pieces(cut):
    text = "One day, a cat. The endless End. The end. Never seen."
    stops = StopTexts(["The end.", "xyz", ""])
    pieces = [text[first : first + cut] for first in range(0, len(text), cut)]
    assert "".join(map(stops.push, pieces)) == "One day, a cat. The endless End. "
    assert stops.stopped
    assert stops.finish() == ""


def test_what_only_looks_like_a_stop_text_goes_out_at_the_end():
    stops = StopTexts(["abcd", "bce"])
    assert [stops.push(piece) for piece in ("xa", "b", "c")] == ["x", "", ""]
    assert stops.push("x") == "abcx"
    assert stops.push("ab") + stops.finish() == "ab"
    assert not stops.stopped


def test_what_is_not_finite_spoils_no_sample_that_comes_after_it(model):
    """A mask leaves zero times infinity where a row is used again."""
    request = Request((9, 2), SAMPLING, seed=1)
    engine = Engine(model, EOT, slots=2)
    engine.add(request)
    engine.step()
    with torch.inference_mode():
        for layer in engine._cache.kv.layers:  # as an overflow leaves it
            layer.values[:] = float("inf")
    with pytest.raises(UserError, match="logits must be finite"):
        engine.step()
    assert engine.active == 0
    key, drawn = engine.add(request), []
    while engine.active:
        ((made, one),) = engine.step()
        assert made == key
        drawn.append(one)
    assert finished(drawn) == alone(model, request)


def test_presence_and_frequency_penalty_count_what_was_generated_and_not_the_prompt(model):
    """With a bias that nothing else could overcome, a token comes until it is too expensive."""
    bias = ((5, 100.0), (6, 99.0), (7, 98.4))
    plain = replace(SAMPLING, temperature=0.0, max_new_tokens=6, logit_bias=bias)
    flat = type(model)(model.config).eval()
    torch.nn.init.zeros_(flat.embedding.token.weight)  # the head too: all logits are equal
    for penalties, expected in (
        ({}, (5, 5, 5, 5, 5, 5)),
        ({"presence_penalty": 1.25}, (5, 6, 5, 5, 5, 5)),
        ({"frequency_penalty": 0.75}, (5, 5, 6, 5, 7, 6)),
        ({"presence_penalty": -1.0}, (5, 5, 5, 5, 5, 5)),
    ):
        request = Request((5, 5, 5, 5), replace(plain, **penalties), 0)
        assert alone(flat, request).tokens == expected, penalties
