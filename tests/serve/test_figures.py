"""The figures under the names that vLLM has for them, and the log line of each request."""

import logging
import re
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from serving import running, wait_until

LABEL = 'model_name="tiny"'
SERVING = Path(__file__).parents[2] / "docs" / "serving.md"
OF_VLLM = {
    "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total",
    "generation_tokens_total", "request_success_total", "time_to_first_token_seconds",
    "inter_token_latency_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds",
}  # fmt: skip


def figures(server):
    """Every sample of /metrics by name and labels."""
    lines = server.client.get("/metrics").text.splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("gpt_pipeline_")]
    return {name.removeprefix("gpt_pipeline_"): float(value) for name, value in pairs}


def test_tokens_and_times_of_samples_are_counted(served):
    with running(served, FakeEngine(eot_after=3)) as server:
        server.complete(prompt=["ab", "c"], n=2, max_tokens=2)
        server.complete(prompt="abc", max_tokens=9)  # ends by end-of-text, the fourth token
        server.complete(prompt="x", max_tokens=9, stop="b")
        server.complete(prompt="x", max_tokens=0, echo=True)
        got = figures(server)
    assert got[f"prompt_tokens_total{{{LABEL}}}"] == 3 + 3 + 1 + 1
    assert got[f'request_success_total{{finished_reason="length",{LABEL}}}'] == 4
    assert got[f'request_success_total{{finished_reason="stop",{LABEL}}}'] == 2
    # the sample that met its stop text may have drawn more before it could leave
    assert 8 + 4 + 2 <= got[f"generation_tokens_total{{{LABEL}}}"] <= 8 + 4 + 4
    for name in ("time_to_first_token", "e2e_request_latency", "request_queue_time"):
        assert got[f"{name}_seconds_count{{{LABEL}}}"] == 6
    between = got[f"inter_token_latency_seconds_count{{{LABEL}}}"]
    assert between == got[f"generation_tokens_total{{{LABEL}}}"] - 6


def test_what_runs_and_waits_and_is_left_is_counted(served):
    engine = FakeEngine(slots=2, step_s=0.01)
    with running(served, engine) as server:
        arguments = {"stream": True, "n": 5, "max_tokens": 2000}
        with server.client.stream("POST", "/v1/completions", json=arguments) as going:
            lines = going.iter_lines()
            next(lines)
            wait_until(lambda: engine.active == 2)
            got = figures(server)
            assert got[f"num_requests_running{{{LABEL}}}"] == 2
            assert got[f"num_requests_waiting{{{LABEL}}}"] == 3
            assert got[f"kv_cache_usage_perc{{{LABEL}}}"] == 1.0
        server.wait_until_idle()
        got = figures(server)
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert got[f"{name}{{{LABEL}}}"] == 0
    assert got[f'request_success_total{{finished_reason="abort",{LABEL}}}'] == 5


def test_the_share_of_the_cache_is_that_of_its_positions(served):
    from gpt_pipeline.config import Sampling
    from gpt_pipeline.inference import Engine, Request

    engine = Engine(served.backend, served.tokenizer.eot_id, slots=4)
    assert engine.cache_usage == 0
    sampling = Sampling(0.0, None, 1.0, max_new_tokens=50, logit_bias=((256, -100.0),))
    engine.add(Request(tuple(b"abcdefg"), sampling, 0))
    engine.step()
    assert engine.cache_usage == 8 / (4 * 32)
    for _ in range(40):  # the context fills up, and its last half is kept
        engine.step()
    assert 16 / 128 <= engine.cache_usage <= 33 / 128


def test_the_documented_table_is_the_metrics_that_there_are(served):
    text = SERVING.read_text(encoding="utf-8")
    assert "have vLLM's names with another prefix" in text
    assert {*re.findall(r"^\| `gpt_pipeline_(\w+)` \|", text, re.MULTILINE)} == OF_VLLM
    with running(served, FakeEngine()) as server:
        server.text(max_tokens=2)
        names = {re.sub(r"\{.*", "", name) for name in figures(server)}
    there = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names if "_created" not in name}
    assert there == OF_VLLM | {"requests_total"}


@pytest.fixture
def lines(caplog):
    """What the log has of requests, without their durations."""
    caplog.set_level(logging.INFO, logger="gpt_pipeline")

    def found():
        texts = [r.getMessage() for r in caplog.records if r.name.endswith("serve.metrics")]
        return [re.sub(r"\d+\.\d{3} s", "T", text) for text in texts]

    return found


def test_each_request_is_a_line_where_it_is_asked_for(served, lines):
    with running(served, FakeEngine(), log="requests") as server:
        server.complete(prompt="Once", n=2, max_tokens=3)
        server.events(prompt="Once", max_tokens=5)
        server.complete(prompt="Once", n=0)
        server.client.get("/v1/models?key=secret")
        server.client.head("/health")
        server.client.post("/nothing")
        server.client.get("/two%0alines%1b[31m%00")
    assert lines() == [
        "POST /v1/completions 200 T, 4 prompt tokens, 6 generated tokens",
        "POST /v1/completions 200 T, 4 prompt tokens, 5 generated tokens",
        "POST /v1/completions 400 T",
        "GET /v1/models 200 T",
        "HEAD /health 200 T",
        "POST /nothing 404 T",
        "GET /two\\nlines\\x1b[31m\\x00 404 T",
    ]


def test_the_line_of_a_client_that_goes_says_how_far_it_came(served, lines):
    with running(served, FakeEngine(step_s=0.01), log="requests") as server:
        arguments = {"stream": True, "max_tokens": 2000, "prompt": "x"}
        with server.client.stream("POST", "/v1/completions", json=arguments) as going:
            next(going.iter_lines())
        wait_until(lines)
    assert re.fullmatch(
        r"POST /v1/completions 200 T, 1 prompt tokens, [1-9]\d{0,2} generated tokens", lines()[0]
    )


def test_the_key_never_comes_into_the_log(served, lines, caplog):
    with running(served, FakeEngine(), log="requests", api_key="s3cret") as server:
        headers = {"Authorization": "Bearer s3cret"}
        server.client.get("/v1/s3cret", headers=headers)
        server.client.get("/v1/models", headers={"Authorization": "Bearer wrong"})
        server.client.get("/" + "x" * 5000, headers=headers)
    assert lines()[:2] == ["GET /v1/*** 404 T", "GET /v1/models 401 T"]
    assert len(lines()[2]) < 250
    assert "s3cret" not in caplog.text


def test_a_key_is_masked_whatever_white_space_and_encoding_it_has(served, lines, caplog):
    with running(served, FakeEngine(), log="requests", api_key=" s3cret\n") as server:
        headers = {"Authorization": "Bearer s3cret"}
        for path in ("/s3cret", "/%733cret", "/%25%37%333cret", "/%2525%3237333cret", "/100%25"):
            server.client.get(path, headers=headers)
        assert server.client.get("/v1/models", headers=headers).status_code == 200
    assert [line.removesuffix(" T") for line in lines()] == [
        "GET /*** 404", "GET /*** 404", "*** 404", "*** 404", "GET /100% 404", "GET /v1/models 200",
    ]  # fmt: skip
    assert "3cret" not in caplog.text


def test_no_request_is_a_line_otherwise(served, lines):
    with running(served, FakeEngine()) as server:
        server.text(max_tokens=1)
        server.client.get("/nothing")
    assert lines() == []
