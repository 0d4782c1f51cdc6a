"""What the API answers, with an engine that says the alphabet."""

import time

import pytest
from fake_engine import EOT, FakeEngine
from serving import running, wait_until

from gpt_pipeline.config import Sampling


def test_a_response_has_the_fields_of_openai(server):
    before = int(time.time())
    answer = server.complete(model="tiny", prompt="Once", max_tokens=3, seed=7).json()
    assert answer.pop("id").startswith("cmpl-")
    assert before <= answer.pop("created") <= time.time()
    assert answer == {
        "object": "text_completion",
        "model": "tiny",
        "choices": [{"index": 0, "text": "abc", "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7},
        "seed": 7,
    }


def test_defaults_are_those_of_openai(server):
    answer = server.complete(prompt="Once").json()
    request = server.engine.joined[-1]
    assert request.sampling == Sampling(
        temperature=1.0, top_k=None, top_p=1.0, max_new_tokens=16, logprobs=None
    )
    assert answer["choices"][0]["text"] == "abcdefghijklmnop"
    assert answer["seed"] == request.seed
    assert server.complete(prompt="Once").json()["seed"] != answer["seed"]


def test_null_means_the_default(server):
    names = "model prompt max_tokens temperature top_p n stream logprobs echo stop seed".split()
    names += "logit_bias presence_penalty frequency_penalty best_of suffix user top_k".split()
    nothing = dict.fromkeys([*names, "min_p", "repetition_penalty", "stream_options"])
    assert server.text(**nothing) == "abcdefghijklmnop"


def test_every_setting_reaches_the_engine(server):
    server.complete(
        prompt=[5, 6], max_tokens=2, temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, seed=-3,
        repetition_penalty=1.3, logit_bias={"12": -5, "3": 1.5}, logprobs=2, user="me", best_of=1,
        presence_penalty=0.5, frequency_penalty=-2,
    )  # fmt: skip
    request = server.engine.joined[-1]
    assert request.prompt == (5, 6)
    assert request.seed == -3
    assert request.sampling == Sampling(
        temperature=0.5, top_k=7, top_p=0.9, max_new_tokens=2, min_p=0.1, repetition_penalty=1.3,
        presence_penalty=0.5, frequency_penalty=-2.0, logit_bias=((3, 1.5), (12, -5.0)), logprobs=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("Hi", [(EOT, 72, 105)]),
        (["Hi", "\u00e9"], [(EOT, 72, 105), (EOT, 0xC3, 0xA9)]),
        ([72, EOT], [(72, EOT)]),
        ([[72], [1, 2]], [(72,), (1, 2)]),
        (None, [()]),
        ("", [()]),
        (["", "Hi"], [(), (EOT, 72, 105)]),
    ],
    ids=["text", "texts", "ids", "lists of ids", "none", "empty", "empty among others"],
)
def test_a_prompt_may_be_text_or_ids_or_several(server, prompt, ids):
    """Text begins a document, behind end-of-text that is not counted; ids are taken as they are."""
    answer = server.complete(prompt=prompt, max_tokens=1).json()
    assert [each.prompt for each in server.engine.joined[-len(ids) :]] == ids
    assert [each["index"] for each in answer["choices"]] == list(range(len(ids)))
    text = isinstance(prompt, str) or (prompt is not None and isinstance(prompt[0], str))
    own = [each[1:] if text else each for each in ids]
    assert answer["usage"]["prompt_tokens"] == sum(map(len, own))


def test_n_makes_samples_of_each_prompt_with_their_own_random_numbers(server):
    answer = server.complete(prompt=["x", "y"], n=3, max_tokens=2, seed=1).json()
    assert [each["index"] for each in answer["choices"]] == [0, 1, 2, 3, 4, 5]
    made = [(r.prompt, r.seed, r.prompt_idx, r.sample_idx) for r in server.engine.joined[-6:]]
    x, y = (EOT, ord("x")), (EOT, ord("y"))
    assert made == [
        (x, 1, 0, 0),
        (x, 1, 0, 1),
        (x, 1, 0, 2),
        (y, 1, 1, 0),
        (y, 1, 1, 1),
        (y, 1, 1, 2),
    ]
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 12, "total_tokens": 14}


def test_echo_gives_the_prompt_back(server):
    assert server.text(prompt="Once ", echo=True, max_tokens=2) == "Once ab"
    assert server.text(prompt=[72, 105], echo=True, max_tokens=0) == "Hi"


def test_no_tokens_are_no_samples(server):
    made = len(server.engine.joined)
    answer = server.complete(prompt="x", max_tokens=0).json()
    assert answer["choices"][0]["text"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"
    assert len(server.engine.joined) == made


def test_end_of_text_ends_a_choice(served):
    with running(served, FakeEngine(eot_after=3)) as server:
        answer = server.complete(prompt="x").json()
    assert answer["choices"][0]["text"] == "abc"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 4


def whole(server, *, stream, **arguments):
    """The text, the log-probabilities and the usage of the only choice, streamed or not."""
    if not stream:
        answer = server.complete(**arguments).json()
        return answer["choices"][0]["text"], answer["choices"][0]["logprobs"], answer["usage"]
    *events, last = server.events(**arguments, stream_options={"include_usage": True})
    pieces = [event["choices"][0] for event in events]
    parts = [piece["logprobs"] for piece in pieces]
    logprobs = {key: [entry for part in parts for entry in part[key]] for key in parts[0]}
    return "".join(piece["text"] for piece in pieces), logprobs, last["usage"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "text", "tokens", "offsets"),
    [
        (None, "ab", ["a", "b", "<|endoftext|>"], [0, 1, 2]),
        ("b", "a", ["a", "b"], [0, 1]),
        ("ab", "", ["a", "b"], [0, 0]),
        ("bz", "ab", ["a", "b", "<|endoftext|>"], [0, 1, 2]),
    ],
)
def test_every_token_that_was_drawn_has_its_logprobs_and_is_counted(
    served, stream, stop, text, tokens, offsets
):
    """Also end-of-text, and the tokens of a stop text, which are not part of the text."""
    with running(served, FakeEngine(eot_after=2)) as server:
        made = whole(server, stream=stream, prompt="x", logprobs=2, stop=stop)
    assert made[0] == text
    assert made[1]["tokens"] == tokens
    assert made[1]["text_offset"] == offsets
    assert made[1]["token_ids"] == [EOT if each[0] == "<" else ord(each) for each in tokens]
    assert set(map(len, made[1].values())) == {len(tokens)}
    assert made[2]["completion_tokens"] == len(tokens)


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        ("ef", "abcd", "stop"),
        (["xy", "c"], "ab", "stop"),
        ("a", "", "stop"),
        ("ba", "abcdefghijklmnop", "length"),
        ([], "abcdefghijklmnop", "length"),
    ],
)
def test_a_stop_text_ends_a_choice_and_is_not_part_of_it(server, stop, text, reason):
    choice = server.complete(prompt="x", stop=stop).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (text, reason)
    streamed = [event["choices"][0] for event in server.events(prompt="x", stop=stop)]
    assert "".join(piece["text"] for piece in streamed) == text
    assert streamed[-1]["finish_reason"] == reason


def test_a_stopped_choice_leaves_its_slot_to_others(served):
    with running(served, FakeEngine(slots=2, step_s=0.005)) as server:
        assert server.text(prompt="x", stop="c", max_tokens=2000) == "ab"
        server.wait_until_idle(1.0)
        wait_until(lambda: server.engine.removed == [0], 1.0)


def test_a_stream_is_a_token_an_event(server):
    events = server.events(prompt="Hi", max_tokens=3, seed=5)
    assert len({event["id"] for event in events}) == 1
    first, second, third = events
    assert first["object"] == "text_completion"
    assert first["model"] == "tiny"
    assert first["seed"] == 5
    assert "usage" not in first
    assert first["choices"] == [
        {"index": 0, "text": "a", "logprobs": None, "finish_reason": None,
         "prompt_token_ids": [72, 105]}
    ]  # fmt: skip
    assert second["choices"] == [{"index": 0, "text": "b", "logprobs": None, "finish_reason": None}]
    assert third["choices"][0]["finish_reason"] == "length"


def test_a_stream_tells_the_usage_where_it_is_asked_to(server):
    events = server.events(prompt="Hi", max_tokens=2, stream_options={"include_usage": True})
    assert [event["usage"] for event in events[:-1]] == [None, None]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


def test_a_stream_of_several_choices_tells_them_apart(server):
    events = server.events(prompt=["x", "y"], n=2, max_tokens=3, echo=True)
    texts = [""] * 4
    for event in events:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == ["xabc", "xabc", "yabc", "yabc"]
    firsts = [e["choices"][0] for e in events if "prompt_token_ids" in e["choices"][0]]
    assert [each["prompt_token_ids"] for each in firsts] == [[120], [120], [121], [121]]


def test_a_stream_passes_proxies_as_it_comes(server):
    with server.client.stream("POST", "/v1/completions", json={"stream": True}) as response:
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        response.read()


def test_a_character_is_sent_when_it_is_whole(served):
    with running(served, FakeEngine(text="\u20ac1".encode())) as server:
        events = server.events(prompt="x", max_tokens=6)
        assert [event["choices"][0]["text"] for event in events] == ["\u20ac", "1", "\ufffd"]


def test_logprobs_have_a_list_entry_for_each_token(server):
    choice = server.complete(prompt="Hi", max_tokens=2, logprobs=4).json()["choices"][0]
    assert choice["prompt_token_ids"] == [72, 105]
    assert choice["logprobs"] == {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [
            {"a": -0.5, "<|endoftext|>": -1.5, "bytes:\\xe2": -2.5, "z": -9999.0},
            {"b": -0.5, "<|endoftext|>": -1.5, "bytes:\\xe2": -2.5, "z": -9999.0},
        ],
        "text_offset": [0, 1],
        "token_ids": [97, 98],
        "top_token_ids": [[97, EOT, 0xE2, 122], [98, EOT, 0xE2, 122]],
        "top_token_logprobs": [[-0.5, -1.5, -2.5, -9999.0]] * 2,
        "top_token_texts": [
            ["a", "<|endoftext|>", "bytes:\\xe2", "z"],
            ["b", "<|endoftext|>", "bytes:\\xe2", "z"],
        ],
    }


def test_logprobs_of_none_beside_the_tokens_own(server):
    logprobs = server.complete(max_tokens=1, logprobs=0).json()["choices"][0]["logprobs"]
    assert logprobs["top_logprobs"] == [{"a": -0.5}]
    assert logprobs["top_token_ids"] == [[]]


def test_streamed_logprobs_join_to_those_of_the_whole(server):
    arguments = {"prompt": "Hi", "max_tokens": 12, "logprobs": 2, "stop": "hi"}
    whole = server.complete(**arguments).json()["choices"][0]["logprobs"]
    assert whole["tokens"] == list("abcdefghi")
    parts = [event["choices"][0]["logprobs"] for event in server.events(**arguments)]
    for key, values in whole.items():
        assert [entry for part in parts for entry in part[key]] == values


def test_the_model_is_told_with_what_a_page_needs(server, served):
    listed = server.client.get("/v1/models").json()
    (card,) = listed["data"]
    assert listed["object"] == "list"
    assert card == server.client.get("/v1/models/tiny").json()
    assert card == {
        "id": "tiny", "object": "model", "created": 1_700_000_000, "owned_by": "gpt-pipeline",
        "context_length": 32, "vocab_size": 257, "eot_id": EOT, "add_bos_token": True,
        "parameters": served.backend.model.num_parameters(),
        "defaults": {
            "prompt": "Once", "temperature": 0.8, "top_k": 50, "top_p": 0.95, "min_p": 0.0,
            "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "max_tokens": 250,
        },
    }  # fmt: skip


def test_health_and_metrics(served):
    with running(served, FakeEngine()) as server:
        assert server.client.get("/health").json() == {"status": "ok"}
        server.text(prompt="x", max_tokens=5)
        server.complete(prompt=[])
        server.client.get("/v1/nothing")
        text = server.client.get("/metrics").text
    assert 'gpt_pipeline_requests_total{path="/v1/completions",status="200"} 1.0' in text
    assert 'gpt_pipeline_requests_total{path="/v1/completions",status="400"} 1.0' in text
    assert 'gpt_pipeline_requests_total{path="other",status="404"} 1.0' in text


def test_best_of_is_ignored_where_no_token_is_made(server):
    events = server.events(prompt="x", max_tokens=0, best_of=3, echo=True)
    assert [event["choices"][0]["text"] for event in events] == ["x"]
