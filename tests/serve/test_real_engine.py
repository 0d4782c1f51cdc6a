"""With a real model: what is decoded beside others is what is decoded alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from decoding import decode

from gpt_pipeline.config import Sampling

ARGUMENTS = [
    {"prompt": "Once", "max_tokens": 40, "seed": 1},
    {"prompt": "A", "max_tokens": 3, "temperature": 0},
    {"prompt": "There was a bird", "max_tokens": 60, "seed": 2, "top_k": 20, "top_p": 0.9},
    {"max_tokens": 30, "seed": 3, "min_p": 0.05, "repetition_penalty": 1.2},
    {"prompt": ["", "A"], "max_tokens": 9, "seed": 3, "echo": True, "logprobs": 0},
    {"prompt": ["x", "yz"], "n": 2, "max_tokens": 25, "seed": 4, "temperature": 1.3},
    {"prompt": [1, 2, 3], "max_tokens": 50, "seed": 5, "logit_bias": {"256": -100}},
    {"prompt": "A", "n": 3, "max_tokens": 60, "seed": 7, "stop": ["\ufffd"]},
    {"prompt": "x" * 32, "max_tokens": 20, "seed": 6, "logprobs": 3},
]


def choices(server, arguments):
    answer = server.complete(**arguments)
    assert answer.status_code == 200, answer.text
    return [(c["text"], c["finish_reason"]) for c in answer.json()["choices"]]


def test_requests_beside_each_other_give_what_each_gives_alone(real):
    alone = [choices(real, arguments) for arguments in ARGUMENTS]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda a: choices(real, a), ARGUMENTS * 5))
    assert together == alone * 5


def test_the_same_seed_gives_what_the_command_line_gives(real, served):
    sampling = Sampling(temperature=0.9, top_k=40, top_p=0.95, max_new_tokens=50)
    expected = [
        served.tokenizer.decode(sample.tokens)
        for prompt_idx, prompt in enumerate(["Once", "One day"])
        for sample in decode(
            served.backend, [256, *served.tokenizer.encode(prompt)], sampling=sampling,
            eot_id=served.tokenizer.eot_id, seed=11, prompt_idx=prompt_idx, num_samples=3,
        )
    ]  # fmt: skip
    got = choices(
        real,
        {"prompt": ["Once", "One day"], "n": 3, "seed": 11, "temperature": 0.9, "top_k": 40,
         "top_p": 0.95, "max_tokens": 50},
    )  # fmt: skip
    assert [text for text, _ in got] == expected


@pytest.mark.parametrize("logprobs", [None, 1])
def test_best_of_gives_the_samples_of_the_highest_logprob_per_token(real, logprobs):
    arguments = {"prompt": ["Once", "A"], "max_tokens": 12, "seed": 9, "temperature": 1.5}
    arguments["stop"] = "e"  # samples of several lengths
    every = real.complete(**arguments, n=6, logprobs=0).json()
    ranked = []
    for first in (0, 6):
        of_prompt = every["choices"][first : first + 6]
        ranked += sorted(of_prompt, key=mean_logprob, reverse=True)[:2]
    made = real.complete(**arguments, n=2, best_of=6, logprobs=logprobs).json()
    assert [choice["index"] for choice in made["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in made["choices"]] == [best["text"] for best in ranked]
    assert all((choice["logprobs"] is None) == (logprobs is None) for choice in made["choices"])
    assert made["usage"] == every["usage"]  # all that was made


def mean_logprob(choice):
    values = choice["logprobs"]["token_logprobs"]
    return sum(values) / len(values)


def test_best_of_with_nothing_to_make(real):
    made = real.complete(prompt="A", n=2, best_of=5, max_tokens=0, echo=True).json()
    assert [choice["text"] for choice in made["choices"]] == ["A", "A"]


def test_a_stream_has_the_text_of_the_whole(real):
    for arguments in ARGUMENTS:
        texts = {}
        for event in real.events(**arguments):
            (choice,) = event["choices"]
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        assert [texts[index] for index in sorted(texts)] == [t for t, _ in choices(real, arguments)]


def test_an_echoed_prompt_is_scored(real):
    arguments = {"prompt": ["Hello", "x\u20ac"], "echo": True, "logprobs": 2, "max_tokens": 2}
    arguments["logit_bias"] = {"256": -100}
    for choice in real.complete(**arguments).json()["choices"]:
        told = choice["logprobs"]
        assert len(set(map(len, told.values()))) == 1
        assert len(told["tokens"]) == len(choice["prompt_token_ids"]) + 2
        assert told["token_ids"][:-2] == choice["prompt_token_ids"]
        assert told["token_logprobs"][0] is None  # nothing stands before it
        assert all(value <= 0 for value in told["token_logprobs"][1:])
        assert all(len(best) == 2 for best in told["top_token_ids"][1:])
    assert told["text_offset"][:4] == [0, 1, 1, 1]


def test_logprobs_of_what_was_made_equal_those_of_the_same_text_as_a_prompt(real):
    made = real.complete(prompt="On", max_tokens=20, logprobs=0, seed=1).json()["choices"][0]
    assert made["prompt_token_ids"] == [*b"On"]
    ids = [256, *made["prompt_token_ids"], *made["logprobs"]["token_ids"]]
    read = real.complete(prompt=ids, max_tokens=0, echo=True, logprobs=0).json()["choices"][0]
    assert read["logprobs"]["token_logprobs"][3:] == pytest.approx(
        made["logprobs"]["token_logprobs"], abs=1e-4
    )


def test_an_empty_prompt_begins_with_end_of_text(real):
    arguments = {"max_tokens": 8, "seed": 3, "echo": True, "logprobs": 1}
    nothing, empty, among_others = [
        real.complete(prompt=prompt, **arguments).json() for prompt in (None, "", ["", "x"])
    ]
    assert empty["choices"] == nothing["choices"]
    assert empty["usage"] == {"prompt_tokens": 0, "completion_tokens": 8, "total_tokens": 8}
    written_out = real.complete(prompt=[256], **{**arguments, "echo": False}).json()
    for answer in (among_others, written_out):
        assert answer["choices"][0]["text"] == empty["choices"][0]["text"]


@pytest.mark.parametrize("drawn", [{}, {"logit_bias": {"256": 100}}, {"stop": ["a", "\ufffd"]}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_and_its_next_token_have_a_logprob_each(real, drawn, stream):
    """What lm-evaluation-harness sends, and slices by the tokens that it sent."""
    prompts = [[84, 97], [84, 97, 108]]
    arguments = {"prompt": prompts, "max_tokens": 1, "echo": True, "logprobs": 1, "seed": 5}
    if stream:
        sizes = [0, 0]
        for event in real.events(**arguments, **drawn):
            (choice,) = event["choices"]
            sizes[choice["index"]] += len(choice["logprobs"]["token_logprobs"])
    else:
        answer = real.complete(**arguments, **drawn).json()
        sizes = [len(choice["logprobs"]["token_logprobs"]) for choice in answer["choices"]]
        assert answer["usage"]["completion_tokens"] == 2
    assert sizes == [3, 4]


def test_the_chosen_token_has_exactly_the_greatest_logprob_where_it_is_the_likeliest(real):
    """Clients tell a greedy token by comparing the two numbers."""
    made = real.complete(prompt="Once", max_tokens=12, temperature=0, logprobs=1).json()
    made = made["choices"][0]["logprobs"]
    prompt = [256, *b"Once", *made["token_ids"]]
    read = real.complete(prompt=prompt, max_tokens=0, echo=True, logprobs=3).json()
    read = read["choices"][0]["logprobs"]
    assert greedy(made) == [True] * 12
    assert greedy(read)[4:] == [True] * 12
    assert greedy(read)[:4] != [True] * 4  # the prompt's own are not the likeliest


def greedy(logprobs):
    """Which tokens a client takes for the likeliest, the first of a prompt left out."""
    rows = zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    return [own == max(top.values()) for own, top in rows if own is not None]
