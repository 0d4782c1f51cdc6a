"""What the server refuses to read, to wait for, and to do; and who may ask."""

import json
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from serving import running, wait_until
from test_refusals import error_of

from gpt_pipeline.serve import listen
from gpt_pipeline.serve import server as server_module

POST = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MIB = 1 << 20


def answer_to(server, *parts):
    """What comes back over one connection until the server closes it."""
    with server.connect() as connection:
        for part in parts:
            connection.sendall(part.encode() if isinstance(part, str) else part)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received.decode()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
@pytest.mark.parametrize("length", [True, False], ids=["with a length", "in chunks"])
def test_a_body_of_100_mb_is_refused_and_takes_no_memory(served, length):
    def body():
        for _ in range(100):
            yield b" " * MIB

    with running(served, FakeEngine()) as server:
        before = peak_kib(reset=True)
        headers = {"Content-Type": "application/json"}
        if length:
            headers["Content-Length"] = str(100 * MIB)
        began = time.monotonic()
        response = server.client.post("/v1/completions", content=body(), headers=headers)
        error = error_of(response, 400)
        assert error["code"] == "body_too_large"
        assert "1048576 bytes (serve.max_body_bytes)" in error["message"]
        assert time.monotonic() - began < 10
        assert peak_kib() - before < 20 * 1024
        assert server.text(max_tokens=1) == "a"


def peak_kib(reset=False):
    """Most memory of this process so far, or since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_the_answer_to_a_large_body_comes_before_its_end(server):
    with server.connect() as connection:
        connection.sendall(f"{POST}Content-Length: {100 * MIB}\r\n\r\n".encode())
        received = b""
        while data := connection.recv(65536):
            received += data
            if b"body_too_large" in received:
                break
        assert received.endswith(b"}}")


def test_a_body_at_the_limit_is_read(server):
    body = json.dumps({"prompt": "x", "max_tokens": 1}).encode().ljust(MIB)
    for content, status in ((body, 200), (body + b" ", 400)):
        response = server.client.post(
            "/v1/completions", content=content, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == status


@pytest.mark.parametrize("head", ["Content-Length: 20\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_body_that_does_not_come_is_not_waited_for(served, head):
    with running(served, FakeEngine(), body_timeout_s=0.2) as server:
        answer = answer_to(server, POST, head, "\r\n")
    assert answer.startswith("HTTP/1.1 408 ")
    assert '"code": "body_timeout"' in answer


def test_a_body_that_trickles_is_not_waited_for(served):
    with running(served, FakeEngine(), body_timeout_s=0.3) as server, server.connect() as slow:
        slow.sendall(f"{POST}Content-Length: 1000\r\n\r\n".encode())
        slow.settimeout(0.05)
        answer, sent = b"", 0
        while not answer and sent < 200:  # 10 s at most; the whole body would take 50
            slow.sendall(b" ")
            sent += 1
            with suppress(TimeoutError):
                answer = slow.recv(65536)
    assert b"408" in answer


@pytest.mark.parametrize("sent", ["", "GET / HT"], ids=["silent", "half a head"])
def test_a_connection_without_a_request_is_closed(served, monkeypatch, sent):
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_S", 0.2)
    with running(served, FakeEngine()) as server:
        assert answer_to(server, sent) == ""


def test_small_pieces_are_not_held_back():
    """The system would hold them for 40 ms; asyncio stops it where it knows the protocol."""
    with listen("127.0.0.1", 0, patience_s=1) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_what_is_no_http_has_the_error_body(server):
    answer = answer_to(server, "hello\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400 ")
    assert json.loads(answer.split("\r\n\r\n")[1])["error"]["code"] == "invalid_http"


def test_more_tokens_than_allowed(served):
    with running(served, FakeEngine(), max_tokens=20) as server:
        assert len(server.text(max_tokens=20)) == 20
        error = error_of(server.complete(max_tokens=21), 400)
    assert error["code"] == "max_tokens_exceeded"
    assert "at most 20 (serve.max_tokens); got 21" in error["message"]


def test_more_prompts_than_a_request_may_have(server):
    assert len(server.complete(prompt=["x"] * 1024, max_tokens=1).json()["choices"]) == 1024
    error = error_of(server.complete(prompt=["x"] * 1025, max_tokens=1), 400)
    assert "at most 1024 of them" in error["message"]


def test_more_log_probabilities_than_there_is_memory_for(server):
    arguments = {"prompt": ["x"] * 3, "n": 16, "max_tokens": 2048}
    error = error_of(server.complete(**arguments, logprobs=10), 400)
    assert error["code"] == "too_many_logprobs"
    assert error["param"] == "logprobs"


def test_a_full_queue_is_refused_until_there_is_a_place(served):
    with running(served, FakeEngine(slots=2, step_s=0.01), queue=1) as server:
        with server.client.stream(
            "POST", "/v1/completions", json={"stream": True, "n": 2, "max_tokens": 2000}
        ) as going:
            lines = going.iter_lines()
            next(lines)
            response = server.complete(prompt="x", n=2)
            error = error_of(response, 429)
            assert "needs 2 places, 1 are free" in error["message"]
            assert error["code"] == "queue_full"
            assert error["type"] == "rate_limit_error"
            assert "serve.queue" in error["message"]
            assert int(response.headers["retry-after"]) >= 1
        server.wait_until_idle()
        assert server.text(max_tokens=1) == "a"


def test_a_request_that_takes_too_long(served):
    with running(served, FakeEngine(slots=1, step_s=0.01), timeout_s=0.3) as server:
        error = error_of(server.complete(max_tokens=2000), 400)
        assert error["code"] == "request_timeout"
        assert "0.3 s (serve.timeout_s)" in error["message"]
        server.wait_until_idle()


def test_a_request_that_waits_too_long_for_its_turn(served):
    engine = FakeEngine(slots=1, step_s=0.6)
    with running(served, engine, timeout_s=0.3) as server:
        error = error_of(server.complete(max_tokens=10), 429)
        assert error["code"] == "queue_timeout"
        server.wait_until_idle()


def test_a_stream_that_takes_too_long_ends_with_the_error(served):
    with running(served, FakeEngine(slots=1, step_s=0.01), timeout_s=0.3) as server:
        arguments = {"stream": True, "max_tokens": 2000}
        with server.client.stream("POST", "/v1/completions", json=arguments) as response:
            lines = [line for line in response.iter_lines() if line]
        assert json.loads(lines[-1][6:])["error"]["code"] == "request_timeout"
        assert len(lines) > 5
        server.wait_until_idle()


def test_a_key_is_asked_for_where_there_is_one(served):
    with running(served, FakeEngine(), api_key="s3cret \u00e9") as server:
        for given in (None, "Bearer wrong", "s3cret", "Bearer s3cret", "Basic s3cret \u00e9"):
            headers = {} if given is None else {"Authorization": given.encode()}
            for method, path in (
                ("POST", "/v1/completions"), ("GET", "/v1/models"), ("GET", "/v1/models/tiny"),
                ("GET", "/v1/nothing"), ("GET", "/metrics"), ("POST", "/tokenize"),
                ("POST", "/detokenize"), ("GET", "/tokenizer_info"),
            ):  # fmt: skip
                response = server.client.request(method, path, headers=headers)
                assert error_of(response, 401)["code"] == "invalid_api_key"
                assert response.headers["www-authenticate"] == "Bearer"
        assert server.engine.joined == []
        for scheme in ("Bearer", "bearer"):
            server.client.headers = {"Authorization": f"{scheme} s3cret \u00e9".encode()}
            assert server.text(max_tokens=1) == "a"
        assert server.client.get("/metrics").status_code == 200


OTHER_NAMES = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io:80",
    "[::2]",
    "10.0.0.1",
    "[",
]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_another_name_that_leads_here_is_not_answered_to(server, name):
    """A page of that name would be of one origin with the server: DNS rebinding."""
    for path in ("/", "/health", "/v1/models"):
        error = error_of(server.client.get(path, headers={"Host": name}), 403)
        assert error["code"] == "wrong_host"
        assert repr(name) in error["message"]


def test_this_machines_own_names_are_answered_to(server):
    for name in (
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "127.8.9.1:1",
        "[::1]:80",
        "a.localhost",
    ):
        assert server.client.get("/health", headers={"Host": name}).status_code == 200
    assert answer_to(server, "GET /health HTTP/1.0\r\n\r\n").startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("limits", [{"api_key": "s3cret"}, {"host": "0.0.0.0"}], ids=["key", "all"])
def test_with_a_key_or_for_other_machines_any_name_is_answered_to(served, limits):
    with running(served, FakeEngine(), **limits) as server:
        assert server.client.get("/health", headers={"Host": "my.host"}).status_code == 200


def test_connections_that_are_too_many_are_refused_and_the_others_answered(served):
    with running(served, FakeEngine(), files=16) as server, ExitStack() as idle:  # 8 connections
        first, *_ = [idle.enter_context(server.connect()) for _ in range(7)]
        assert server.text(max_tokens=1) == "a"  # over the eighth, which the client keeps
        for _ in range(30):
            head, body = answer_to(server).split("\r\n\r\n")
            assert head.startswith("HTTP/1.1 503 ")
            assert json.loads(body)["error"]["code"] == "too_many_connections"
        assert server.text(max_tokens=1) == "a"
        first.close()
        wait_until(lambda: is_answered(server))


def is_answered(server):
    try:
        return answer_to(server, "GET /health HTTP/1.0\r\n\r\n").startswith("HTTP/1.1 200 ")
    except ConnectionError:  # refused before it was read
        return False


def test_page_and_health_need_no_key(served):
    with running(served, FakeEngine(), api_key="s3cret") as server:
        assert server.client.get("/health").status_code == 200
        assert server.client.get("/").status_code == 200


def test_a_client_that_does_not_read_holds_no_slot(served):
    engine = FakeEngine(slots=1)
    limits = {"max_tokens": 20_000, "timeout_s": 60}
    with running(served, engine, **limits) as server, server.connect() as deaf:
        body = json.dumps({"stream": True, "max_tokens": 20_000, "logprobs": 4})
        deaf.sendall(f"{POST}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_until(lambda: engine.joined)
        server.wait_until_idle(30)
        assert server.text(max_tokens=1) == "a"
