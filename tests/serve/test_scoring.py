"""The log-probabilities of an echoed prompt: their limits, and a model that cannot give them."""

import dataclasses
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from fake_engine import FakeEngine
from serving import running, wait_until
from test_figures import LABEL, figures
from test_refusals import error_of

from gpt_pipeline.inference import SampledToken, plain_backend
from gpt_pipeline.model import GPTModel
from gpt_pipeline.serve import completions
from gpt_pipeline.serve.errors import ApiError

SCORED = {"echo": True, "logprobs": 1, "max_tokens": 0}


@pytest.fixture
def slow(monkeypatch):
    """A prompt takes 0.2 s; the list has those that were begun."""
    begun = []

    def score(model, tokens, *, logprobs):
        begun.append(tokens)
        time.sleep(0.2)
        return [SampledToken(token, None) for token in tokens]

    monkeypatch.setattr(completions, "score", score)
    return begun


@pytest.fixture
def stuck(monkeypatch):
    """A prompt takes until `go_on` is set; `begun` has the last character of those begun."""
    made = SimpleNamespace(begun=[], go_on=threading.Event())

    def score(model, tokens, *, logprobs):
        made.begun.append(chr(tokens[-1]))
        assert made.go_on.wait(30)
        return [SampledToken(token, None) for token in tokens]

    monkeypatch.setattr(completions, "score", score)
    yield made
    made.go_on.set()


@pytest.mark.parametrize("stream", [False, True])
def test_all_prompts_together_have_the_time_of_a_request(served, slow, stream):
    with running(served, FakeEngine(), timeout_s=0.5) as server:
        response = server.complete(prompt=["x"] * 20, stream=stream, **SCORED)
        assert error_of(response, 400)["code"] == "request_timeout"
        assert len(slow) < 10  # 3 of them fit into the time
        server.wait_until_idle()
        assert server.text(max_tokens=1) == "a"


def test_one_that_is_scored_and_one_that_waits_are_told_apart(served, stuck):
    with running(served, FakeEngine(), timeout_s=0.1) as server:
        answers = []
        scored = threading.Thread(
            target=lambda: answers.append(server.complete(prompt="x", **SCORED))
        )
        scored.start()
        wait_until(lambda: stuck.begun)
        waiting = server.complete(prompt="y", **SCORED)
        stuck.go_on.set()
        scored.join()
    assert error_of(answers[0], 400)["code"] == "request_timeout"
    assert error_of(waiting, 429)["code"] == "queue_timeout"


def test_a_request_that_scores_is_admitted_once_and_others_are_refused_at_once(served, stuck):
    with running(served, FakeEngine(slots=2), queue=2) as server, ThreadPoolExecutor(8) as pool:
        batch = pool.submit(server.complete, prompt=["x"] * 8, **{**SCORED, "max_tokens": 1})
        wait_until(lambda: stuck.begun)
        others = [pool.submit(server.complete, prompt=["y"] * 3, **SCORED) for _ in range(7)]
        wait_until(lambda: sum(each.done() for each in others) == 6)
        stuck.go_on.set()
        statuses = sorted(each.result().status_code for each in others)
        assert statuses == [200] + [429] * 6
        assert batch.result().status_code == 200
        assert "".join(sorted(stuck.begun)) == "x" * 8 + "y" * 3
        assert "y" not in stuck.begun[8:]  # they took turns
        server.wait_until_idle()
        assert server.complete(prompt=["x"] * 2, n=2, max_tokens=1).status_code == 200


def test_what_is_scored_and_waits_to_be_is_in_the_figures(served, stuck):
    def names():
        got = figures(server)
        return [got[f"num_requests_{name}{{{LABEL}}}"] for name in ("running", "waiting")]

    with running(served, FakeEngine(), timeout_s=1.0) as server, ThreadPoolExecutor(1) as pool:
        going = pool.submit(server.complete, prompt=["x"] * 20, **SCORED)
        wait_until(lambda: stuck.begun)
        assert names() == [1, 19]
        error_of(going.result(), 400)
        assert names()[1] == 0  # the one at work is let end
        stuck.go_on.set()
        wait_until(lambda: names() == [0, 0])
        server.wait_until_idle()


def test_the_servers_end_is_told_while_a_prompt_is_scored(served, slow):
    with running(served, FakeEngine()) as server:
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(server.complete(prompt=["x"] * 20, **SCORED))
        )
        asking.start()
        wait_until(lambda: slow)
        failure = ApiError(503, "the server is shutting down", code="shutting_down")
        server.scheduler._loop.call_soon_threadsafe(server.scheduler.fail_all, failure)
        asking.join(20)
        assert error_of(answers[0], 503)["code"] == "shutting_down"
    assert len(slow) < 20


def test_a_response_of_too_many_log_probabilities_is_refused_before_it_is_made(served, slow):
    with running(served, FakeEngine(slots=32), queue=1024) as server:
        arguments = {"prompt": ["x" * 32] * 96, "n": 11, **SCORED, "logprobs": 20, "max_tokens": 30}
        error = error_of(server.complete(**arguments), 400)
    assert error["code"] == "too_many_logprobs"
    assert "3072 tokens of prompts" in error["message"]
    assert slow == []


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_that_are_no_numbers_are_an_error(served, stream):
    model = GPTModel(served.backend.config)
    torch.nn.init.constant_(model.final_norm.weight, float("nan"))
    broken = dataclasses.replace(served, backend=plain_backend(model.eval()))
    with running(broken, FakeEngine()) as server:
        error = error_of(server.complete(prompt="xy", stream=stream, **SCORED), 500)
        assert error["code"] == "engine_error"
        assert "logits must be finite" in error["message"]


def test_what_some_clients_take_for_the_end_of_a_line_does_not_cut_an_event(server):
    prompt = "a\u2028b\u2029c\u0085d"
    events = server.events(prompt=prompt, echo=True, max_tokens=2)
    assert "".join(event["choices"][0]["text"] for event in events) == prompt + "ab"
    content = server.complete(prompt=prompt, echo=True, max_tokens=2).content
    assert json.loads(content.decode("ascii"))["choices"][0]["text"] == prompt + "ab"
