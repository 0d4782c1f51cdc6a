"""Samples of all requests are decoded together; they come and go between two tokens."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_engine import FakeEngine
from serving import running, wait_until
from test_refusals import error_of

from gpt_pipeline.errors import UserError


def test_requests_that_arrive_together_are_decoded_together(served):
    engine = FakeEngine(slots=8)
    engine.keep_batches = True
    engine.may_step.clear()
    with running(served, engine) as server, ThreadPoolExecutor(8) as pool:
        texts = [pool.submit(server.text, max_tokens=10) for _ in range(8)]
        wait_until(lambda: server.scheduler.held == 8)
        engine.may_step.set()
        assert [text.result() for text in texts] == ["abcdefghij"] * 8
    assert max(map(len, engine.batches)) == 8
    assert len(engine.batches) <= 11  # the first step may have been asked for before all had come


def test_a_request_joins_between_two_tokens_of_another(served):
    engine = FakeEngine(slots=4, step_s=0.01)
    engine.keep_batches = True
    arguments = {"stream": True, "max_tokens": 1000}
    with (
        running(served, engine) as server,
        server.client.stream("POST", "/v1/completions", json=arguments) as going,
    ):
        lines = going.iter_lines()
        next(lines)
        assert server.text(max_tokens=5) == "abcde"
        assert 0 in engine.rows  # the other one takes 10 s
        engine.step_s = 0.0
        rest = list(lines)
    assert len([line for line in rest if line]) == 1000
    both = [batch for batch in engine.batches if len(batch) == 2]
    assert len(both) == 5
    assert engine.batches[0] == engine.batches[-1] == (0,)


def test_more_samples_than_slots_take_turns_in_their_order(served):
    engine = FakeEngine(slots=2)
    with running(served, engine) as server:
        answer = server.complete(prompt=list("uvwxyz"), echo=True, max_tokens=3).json()
    assert [choice["text"] for choice in answer["choices"]] == [f"{p}abc" for p in "uvwxyz"]
    assert [chr(each.prompt[-1]) for each in engine.joined] == list("uvwxyz")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_goes_away_leaves_at_once(served, stream):
    engine = FakeEngine(slots=2, step_s=0.01)
    with running(served, engine) as server:
        with server.connect() as client:
            body = f'{{"stream": {str(stream).lower()}, "n": 3, "max_tokens": 2000}}'
            head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            head += "Content-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            wait_until(lambda: engine.active == 2)
            assert server.scheduler.held == 3
        server.wait_until_idle()  # to the end of its text it would take 20 s
        assert len(engine.joined) == 2  # the third one left the queue
        metrics = server.client.get("/metrics").text
    assert stream or 'path="/v1/completions",status="499"} 1.0' in metrics


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (RuntimeError("secret"), "the model failed; see the server's log"),
        (UserError("logits must be finite"), "logits must be finite"),
    ],
    ids=["a bug", "for the user"],
)
def test_an_engine_that_fails_ends_its_requests_and_not_the_server(
    served, caplog, failure, message, stream
):
    engine = FakeEngine(slots=2)
    engine.failures = [failure]
    with running(served, engine) as server:
        error = error_of(server.complete(n=2, stream=stream), 500)
        assert error["message"] == message
        assert error["type"] == "server_error"
        server.wait_until_idle()
        assert server.text(max_tokens=3) == "abc"
        assert server.client.get("/health").status_code == 200
    assert "the engine failed" in caplog.text


def test_an_engine_that_fails_in_mid_stream_ends_the_stream_with_the_error(served):
    engine = FakeEngine(slots=2, step_s=0.005)
    with running(served, engine) as server:
        arguments = {"stream": True, "max_tokens": 2000}
        with server.client.stream("POST", "/v1/completions", json=arguments) as response:
            lines = response.iter_lines()
            next(lines)
            engine.failures = [RuntimeError("broken")]
            last = [line for line in lines if line][-1]
        assert last.startswith('data: {"error": {"message": "the model failed')
        assert server.text(max_tokens=3) == "abc"


def test_an_engine_that_refuses_a_sample_fails_that_request_alone(served):
    engine = FakeEngine(slots=2, step_s=0.005)
    add = engine.add

    def refuse_one(request):
        if request.prompt[-1:] == (ord("!"),):
            raise RuntimeError("no")
        return add(request)

    engine.add = refuse_one
    with running(served, engine) as server, ThreadPoolExecutor(1) as pool:
        going = pool.submit(server.text, max_tokens=50)
        wait_until(lambda: engine.active)
        error_of(server.complete(prompt="!"), 500)
        assert len(going.result()) == 50
        server.wait_until_idle()


def test_a_bug_in_the_server_is_a_500_and_it_goes_on(served, monkeypatch, caplog):
    with running(served, FakeEngine()) as server:
        with monkeypatch.context() as broken:
            broken.setattr(server.scheduler, "submit", None)
            error = error_of(server.complete(), 500)
        assert error["code"] == "bug"
        assert "NoneType" not in error["message"]
        assert server.text(max_tokens=1) == "a"
        metrics = server.client.get("/metrics").text
    assert 'path="/v1/completions",status="500"} 1.0' in metrics
    assert "Exception in ASGI application" in caplog.text


def test_a_thread_that_ended_is_told_of(served, monkeypatch, recwarn):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with running(served, FakeEngine()) as server:
        monkeypatch.setattr(server.scheduler, "_drop_all", None)
        server.engine.failures = [RuntimeError("broken")]
        error_of(server.complete(), 503)
        error_of(server.client.get("/health"), 503)
        error_of(server.complete(), 503)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="no clocks of threads here")
def test_an_idle_server_does_nothing(served):
    others = {*threading.enumerate()}
    with running(served, FakeEngine()) as server:
        server.text(max_tokens=1)
        server.wait_until_idle()
        time.sleep(0.1)
        threads = {*threading.enumerate()} - others

        def cpu_seconds():
            clocks = [time.pthread_getcpuclockid(thread.ident) for thread in threads]
            return sum(map(time.clock_gettime, clocks))

        before = cpu_seconds()
        time.sleep(0.5)
        assert cpu_seconds() - before < 0.1
    assert len(threads) >= 2  # of the event loop and of the engine
