"""Values that ask for nothing are taken, as vLLM's and other clients send them."""

import pytest

NEUTRAL = [
    {"top_k": -1}, {"top_k": 0}, {"skip_special_tokens": True}, {"ignore_eos": False},
    {"min_tokens": 0}, {"stop_token_ids": []}, {"stop_token_ids": None}, {"stop": ""},
    {"stop": [""]}, {"stop": []}, {"logprobs": False},
]  # fmt: skip


@pytest.mark.parametrize("arguments", NEUTRAL, ids=str)
def test_a_value_that_asks_for_nothing_changes_nothing(real, arguments):
    asked = {"prompt": "x", "max_tokens": 8, "seed": 5, "temperature": 1.5}
    answers = [real.complete(**asked).json(), real.complete(**asked, **arguments).json()]
    assert answers[0]["choices"] == answers[1]["choices"]
    assert answers[1]["choices"][0]["logprobs"] is None


def test_counts_of_every_piece_that_are_not_wanted_change_nothing(server):
    options = {"include_usage": True, "continuous_usage_stats": False}
    events = server.events(prompt="x", max_tokens=3, stream_options=options)
    assert [event["usage"] is None for event in events] == [True, True, True, False]


def test_no_alternatives_are_not_no_log_probabilities(server):
    choice = server.complete(prompt="x", max_tokens=2, logprobs=0).json()["choices"][0]
    assert len(choice["logprobs"]["token_logprobs"]) == 2
