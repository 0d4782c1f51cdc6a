"""A batch of more samples than there are slots is fed in turn, and keeps nobody out."""

import threading

import pytest
from fake_engine import FakeEngine
from serving import running, wait_until
from test_refusals import error_of

from gpt_pipeline.config import Sampling
from gpt_pipeline.inference import Request

pytest.importorskip("fastapi", reason="needs FastAPI: make install-dev")
from gpt_pipeline.serve import errors, ticket, turns

SAMPLING = Sampling(temperature=1.0, top_k=None, top_p=1.0, max_new_tokens=1)


def request_of(number):
    made = ticket.Ticket(lambda samples: None)
    request = Request((), SAMPLING, 0)
    made.samples += [ticket.Sample(made, place, request, 0.0) for place in range(number)]
    return made


def taken(queue, names):
    """The requests whose samples come next."""
    order = []
    while (sample := queue.next()) is not None:
        order.append(f"{names[id(sample.ticket)]}{sample.index}")
    return order


def test_requests_take_turns_whichever_came_first():
    queue = turns.Turns(slots=2, places=6)
    batch, small, other = request_of(5), request_of(2), request_of(1)
    for each in (batch, small, other):
        queue.admit(each)
    names = {id(batch): "batch", id(small): "small", id(other): "other"}
    assert taken(queue, names) == [
        "batch0", "small0", "other0", "batch1", "small1", "batch2", "batch3", "batch4"
    ]  # fmt: skip


def test_a_request_takes_as_many_places_as_there_are_slots_at_most():
    queue = turns.Turns(slots=2, places=5)
    batch = request_of(100)
    queue.admit(batch)
    queue.admit(request_of(2))
    with pytest.raises(errors.ApiError, match="needs 2 places, 1 are free"):
        queue.admit(request_of(50))
    for _ in range(98):
        queue.ended(batch)
    with pytest.raises(errors.ApiError):
        queue.admit(request_of(2))
    queue.ended(batch)
    queue.admit(request_of(2))


def test_prompts_to_be_scored_take_places_beside_samples_that_are_fewer():
    queue = turns.Turns(slots=2, places=3)
    scored = request_of(1)
    scored.unscored = 3
    queue.admit(scored)
    assert (scored.places, queue.held, queue.unscored) == (2, 1, 3)
    with pytest.raises(errors.ApiError, match="needs 2 places, 1 are free"):
        queue.admit(request_of(2))
    queue.ended(queue.next().ticket)
    assert scored.places == 2
    queue.scored(scored)
    queue.scored(scored)
    assert scored.places == 1
    queue.scored(scored, scored.unscored)
    queue.scored(scored)  # the one that was at work when the request left
    assert (scored.places, queue.held, queue.unscored) == (0, 0, 0)
    queue.admit(request_of(2))


def test_a_request_that_leaves_takes_all_its_samples_along():
    queue = turns.Turns(slots=2, places=4)
    batch, small = request_of(1000), request_of(1)
    queue.admit(batch)
    queue.admit(small)
    running_sample = queue.next()
    assert running_sample.ticket is batch
    for sample in batch.samples[1:]:
        assert queue.leave(sample)
    assert not queue.leave(running_sample)
    assert (queue.waiting, queue.held) == (1, 2)
    queue.ended(batch)
    assert (len(batch.waiting), queue.held) == (0, 1)
    assert queue.next().ticket is small
    assert queue.next() is None


def test_a_batch_larger_than_all_places_is_answered_whole_and_in_its_order(served):
    prompts = [chr(97 + number % 26) + str(number) for number in range(100)]
    with running(served, FakeEngine(slots=2), queue=3) as server:
        answer = server.complete(prompt=prompts, n=2, echo=True, max_tokens=3).json()
        server.wait_until_idle()
    texts = [choice["text"] for choice in answer["choices"]]
    assert texts == [f"{prompt}abc" for prompt in prompts for _ in range(2)]
    assert [choice["index"] for choice in answer["choices"]] == [*range(200)]
    assert answer["usage"]["completion_tokens"] == 600


def test_a_large_batch_may_be_streamed(served):
    with running(served, FakeEngine(slots=2), queue=3) as server:
        events = server.events(prompt=["x"] * 100, max_tokens=2)
    texts = [""] * 100
    for event in events:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == ["ab"] * 100


def test_others_are_answered_beside_a_large_batch_and_refused_where_the_queue_is_full(served):
    engine = FakeEngine(slots=2, step_s=0.005)
    with running(served, engine, queue=1) as server:
        done = []
        arguments = {"prompt": ["x"] * 200, "max_tokens": 20}
        batch = threading.Thread(target=lambda: done.append(server.complete(**arguments)))
        batch.start()
        wait_until(lambda: engine.active == 2)
        for _ in range(3):
            assert server.text(prompt="y", max_tokens=5) == "abcde"
        error_of(server.complete(prompt="y", n=2), 429)
        assert not done  # the batch takes 10 s
        server.engine.step_s = 0.0
        batch.join()
        server.wait_until_idle()
    assert len(done[0].json()["choices"]) == 200


def test_the_client_of_a_large_batch_that_goes_leaves_at_once(served):
    engine = FakeEngine(slots=2, step_s=0.01)
    with running(served, engine, queue=1) as server:
        arguments = {"stream": True, "prompt": ["x"] * 1000, "n": 16, "max_tokens": 2000}
        with server.client.stream("POST", "/v1/completions", json=arguments) as going:
            lines = going.iter_lines()
            next(lines)
            assert server.scheduler.held == 16_000
        server.wait_until_idle()
