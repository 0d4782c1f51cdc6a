"""Samples of one prompt: what the cache, the moving context and the end of a sample must give."""

from dataclasses import replace

import pytest
import torch
from decoding import Sample, decode, decoding_steps, finished_samples

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import SampledToken
from gpt_pipeline.inference.sampling import next_tokens, sample_uniforms
from gpt_pipeline.model import GPTModel

EOT = 66
GREEDY = Sampling(temperature=0.0, top_k=None, top_p=1.0, max_new_tokens=47)
SETTINGS = {
    "greedy": GREEDY,
    "temperature": replace(GREEDY, temperature=1.0),
    "top_k": replace(GREEDY, temperature=1.0, top_k=20),
    "top_p": replace(GREEDY, temperature=1.0, top_p=0.95),
    "all": replace(GREEDY, temperature=1.2, top_k=30, top_p=0.9),
}
PROMPTS = {"empty": [], "one": [17], "full": [3, 1, 4, 1, 5, 9, 2, 6, 5, 35]}


def run(model, prompt, sampling, **options) -> list[Sample]:
    options = {"eot_id": EOT, "seed": 1, **options}
    return decode(model, prompt, sampling=sampling, **options)


def without_cache(model, prompt, sampling, sample_idx=0, seed=1) -> Sample:
    """The rules, written out: the whole context is read again for each token."""
    max_length, tokens, drawn = model.config.max_length, list(prompt) or [EOT], []
    uniforms = sample_uniforms(seed, 0, sample_idx)
    while len(drawn) < sampling.max_new_tokens:
        if len(tokens) > max_length:
            tokens = tokens[-max(max_length // 2, 1) :]
        with torch.inference_mode():
            logits = model(torch.tensor([tokens]))[:, -1]
        (token,) = next_tokens(logits, sampling, [next(uniforms)])
        if token == EOT:
            return Sample(tuple(drawn), "stop")
        tokens.append(token)
        drawn.append(token)
    return Sample(tuple(drawn), "length")


@pytest.mark.parametrize("num_samples", [1, 3])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("sampling", SETTINGS.values(), ids=SETTINGS)
def test_cache_changes_no_token_far_past_max_length(model, sampling, prompt, num_samples):
    cached = run(model, prompt, sampling, num_samples=num_samples)
    assert cached == [without_cache(model, prompt, sampling, idx) for idx in range(num_samples)]
    # far past the context of 10, through several moves of the window
    assert max(len(sample.tokens) for sample in cached) > 30


def greedy_by_the_rule(model: GPTModel, prompt: list[int], num_tokens: int) -> list[int]:
    """The window's rule, written out: a context over max_length shrinks to its last half."""
    max_length = model.config.max_length
    context, result = list(prompt), []
    for _ in range(num_tokens):
        if len(context) > max_length:
            context = context[len(context) - max(max_length // 2, 1) :]
        with torch.no_grad():
            token = model(torch.tensor([context]))[0, -1].argmax().item()
        context.append(token)
        result.append(token)
    return result


@pytest.mark.parametrize("max_length", [1, 2, 7, 10])
def test_a_full_context_moves_on_by_half(model, max_length):
    weights = model.state_dict()
    weights["embedding.position.weight"] = weights["embedding.position.weight"][:max_length]
    shorter = GPTModel(replace(model.config, max_length=max_length)).eval()
    shorter.load_state_dict(weights)
    for prompt in ([17], PROMPTS["full"][:max_length]):
        tokens = run(shorter, prompt, GREEDY)[0].tokens
        assert list(tokens) == greedy_by_the_rule(shorter, prompt, 47)


def test_greedy_tokens_are_golden(model):
    expected = (46, 46, 46, 46, 46, 49, 46, 46, 46, 46, 46, 27, 15, 49, 65, 22)
    assert run(model, [17], replace(GREEDY, max_new_tokens=16)) == [Sample(expected, "length")]


def test_a_sample_does_not_depend_on_those_beside_it(model):
    sampling = SETTINGS["temperature"]
    alone = run(model, [17, 4], sampling)
    beside = run(model, [17, 4], sampling, num_samples=3)
    assert alone[0] == beside[0]
    assert len(set(beside)) == 3


def test_seed_and_prompt_idx_change_the_samples(model):
    sampling = SETTINGS["temperature"]
    runs = [(1, 0), (2, 0), (1, 1), (1, 0)]
    samples = [run(model, [17], sampling, seed=s, prompt_idx=idx)[0] for s, idx in runs]
    assert samples[0] == samples[3]
    assert len(set(samples)) == 3


def test_the_global_random_state_is_neither_read_nor_moved(model):
    torch.manual_seed(8)
    before = torch.get_rng_state()
    first = run(model, [17], SETTINGS["all"], num_samples=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(9)
    assert run(model, [17], SETTINGS["all"], num_samples=3) == first


def test_an_empty_prompt_starts_from_end_of_text(model):
    sampling = SETTINGS["temperature"]
    assert run(model, [], sampling) == run(model, [EOT], sampling)


def test_end_of_text_ends_a_sample_and_is_not_part_of_it(model):
    tokens = run(model, [17], GREEDY)[0].tokens
    eot_id = next(token for token in tokens if token != tokens[0])
    before = tokens[: tokens.index(eot_id)]
    steps = [*decoding_steps(model, [17], sampling=GREEDY, eot_id=eot_id, seed=1)]
    assert [one.token for (one,) in steps] == [*before, None]
    assert [one.finish_reason for (one,) in steps] == [None] * len(before) + ["stop"]
    assert finished_samples(steps) == [Sample(before, "stop")]


def test_samples_that_ended_stay_ended_while_others_go_on(model):
    sampling = replace(SETTINGS["temperature"], temperature=3.0)
    steps = [*decoding_steps(model, [17], sampling=sampling, eot_id=EOT, seed=3, num_samples=40)]
    samples = finished_samples(steps)
    assert {sample.finish_reason for sample in samples} == {"stop", "length"}
    for idx, sample in enumerate(samples):
        after = [step[idx] for step in steps[len(sample.tokens) :]]
        if sample.finish_reason == "stop":
            assert after.pop(0) == SampledToken(None, "stop")
        assert set(after) <= {None}
        assert EOT not in sample.tokens
        assert (len(sample.tokens) == 47) == (sample.finish_reason == "length")


def test_generation_stops_when_every_sample_has_ended(model):
    first = run(model, [17], GREEDY)[0].tokens[0]
    steps = [*decoding_steps(model, [17], sampling=GREEDY, eot_id=first, seed=1, num_samples=3)]
    assert steps == [(SampledToken(None, "stop"),) * 3]


def test_a_sample_ends_for_length_with_its_last_token(model):
    two = replace(GREEDY, max_new_tokens=2)
    steps = [*decoding_steps(model, [17], sampling=two, eot_id=EOT, seed=1)]
    assert [one.finish_reason for (one,) in steps] == [None, "length"]
    assert steps[1][0].token is not None


def test_evaluation_without_gradients_while_computing_and_training_again_between(model):
    expected = run(model, [17], GREEDY)
    modes = []
    record = model.blocks[0].feed_forward.register_forward_hook(
        lambda *_: modes.append((model.training, torch.is_inference_mode_enabled()))
    )
    model.train()
    steps = []
    try:
        for step in decoding_steps(model, [17], sampling=GREEDY, eot_id=EOT, seed=1):
            assert model.training
            assert model.blocks[0].attention.training
            assert not torch.is_inference_mode_enabled()
            steps.append(step)
    finally:
        record.remove()
        model.eval()
    assert len(modes) >= len(steps)  # and one for each context that is read again
    assert set(modes) == {(False, True)}
    assert finished_samples(steps) == expected  # with dropout of 0.3 it would not be


def test_the_models_own_mode_stays_in_evaluation(model):
    run(model, [17], GREEDY)
    assert not model.training


def test_a_prompt_longer_than_the_context_is_refused_at_once(model):
    with pytest.raises(UserError, match=r"at most 10 tokens \(model.max_length\); got 11; shorten"):
        decoding_steps(model, [1] * 11, sampling=GREEDY, eot_id=EOT, seed=1)


@pytest.mark.parametrize(
    ("prompt", "eot_id", "got"), [([5, 67], 66, 67), ([-1], 66, -1), ([], 90, 90)]
)
def test_ids_outside_the_vocabulary_are_refused(model, prompt, eot_id, got):
    with pytest.raises(ValueError, match=f"from 0 to 66; got {got}"):
        decoding_steps(model, prompt, sampling=GREEDY, eot_id=eot_id, seed=1)


def test_a_sample_of_no_tokens_is_refused(model):
    none = replace(GREEDY, max_new_tokens=0)
    with pytest.raises(ValueError, match=r"max_new_tokens .* got 0"):
        decoding_steps(model, [1], sampling=none, eot_id=EOT, seed=1)


def test_a_diverged_model_is_refused_with_what_to_do(model):
    torch.manual_seed(0)
    broken = GPTModel(model.config)
    with torch.no_grad():
        broken.final_norm.bias.fill_(torch.nan)
    with pytest.raises(UserError, match=r"got nan: .* load another checkpoint"):
        run(broken, [1], GREEDY)
    assert broken.training
