"""`gpt-pipeline serve` as a process: its lines, its mistakes, and how it ends."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import torch
from serving import CONFIG, SIZES, parsed, wait_until

import gpt_pipeline
from gpt_pipeline.checkpoint import CheckpointStore, TrainingPart
from gpt_pipeline.cli.main import main, run
from gpt_pipeline.cli.serve import _check, command
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.serve import listen, url_of
from gpt_pipeline.tokenizer import byte_tokenizer

WITH_USAGE = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "logit_bias": {"256": -100},
}
LONG = ["serve.max_tokens=100000"]
WIDER = ["model.max_length=256", "model.embed_dim=64", "model.num_layers=2"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model that never ends a text of itself."""
    config = compose([*SIZES, *WIDER]).config
    torch.manual_seed(5)
    model = GPTModel(config.gpt_config())
    store = CheckpointStore(
        tmp_path_factory.mktemp("b"), "tiny", config, byte_tokenizer(), "f" * 64
    )
    part = TrainingPart(7, 70, None, None, {"x": torch.zeros(1)}, {"step": 7})
    return store.save(model.state_dict(), part).path


def start(checkpoint, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "gpt_pipeline", "serve", f"checkpoint.load={checkpoint}",
         "runtime.num_threads=1", "serve.port=0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextmanager
def serving(checkpoint, *words):
    process = start(checkpoint, *words)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr))
    reader.start()
    try:
        found = None
        deadline = time.monotonic() + 60
        while found is None and process.poll() is None and time.monotonic() < deadline:
            found = re.search(r"^serving tiny on (\S+) \(Ctrl-C ends\)$", "".join(lines), re.M)
            time.sleep(0.02)
        assert found, lines
        with httpx.Client(base_url=found[1], timeout=60) as client:
            yield process, client, lines
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()


def ended(process):
    began = time.monotonic()
    return process.wait(60), time.monotonic() - began


@pytest.mark.slow
def test_it_answers_as_the_command_line_and_sigterm_lets_a_request_end(checkpoint, capsys):
    with serving(checkpoint) as (process, client, lines):
        assert str(client.base_url).startswith("http://127.0.0.1:")
        assert client.get("/v1/models").json()["data"][0]["context_length"] == 256
        answer = client.post("/v1/completions", json={"prompt": "Once", "seed": 0, "n": 2}).json()
        assert [choice["text"] for choice in answer["choices"]] == inferred(checkpoint, capsys)

        arguments = {"max_tokens": 1500, **WITH_USAGE}
        with client.stream("POST", "/v1/completions", json=arguments) as response:
            stream = response.iter_lines()
            first = [next(stream), next(stream)]
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: any("SIGTERM" in line for line in lines))
            time.sleep(0.3)
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{client.base_url}/health")
            events = parsed([*first, *stream])
        assert events[-1]["usage"]["completion_tokens"] == 1500
        assert ended(process)[0] == 0
    assert len(lines) == 3, lines  # which checkpoint, where, and the signal


def inferred(checkpoint, capsys):
    """Two texts of `gpt-pipeline inference` with the API's defaults."""
    words = ["model.prompt=Once", "num_samples=2", "format=json", "model.max_new_tokens=16",
             "model.temperature=1.0", "model.top_k=null", "model.top_p=1.0"]  # fmt: skip
    assert run(["inference", f"checkpoint.load={checkpoint}", *words]) == 0
    return [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]


@contextmanager
def told_to_end(checkpoint, grace_s):
    """SIGTERM in a long stream: gives the process, its lines, and the rest of the stream."""
    arguments = {"max_tokens": 100_000, **WITH_USAGE}
    with (
        serving(checkpoint, f"serve.grace_s={grace_s}", *LONG) as (process, client, lines),
        client.stream("POST", "/v1/completions", json=arguments) as response,
    ):
        stream = response.iter_lines()
        next(stream)
        process.send_signal(signal.SIGTERM)
        yield process, lines, stream


@pytest.mark.slow
def test_sigterm_waits_no_longer_than_the_grace(checkpoint):
    with told_to_end(checkpoint, 0.5) as (process, lines, stream):
        last = [line for line in stream if line][-1]
        code, seconds = ended(process)
    assert code == 0
    assert seconds < 3
    assert json.loads(last[6:])["error"]["code"] == "shutting_down"
    assert "Traceback" not in "".join(lines)


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(checkpoint):
    with told_to_end(checkpoint, 60) as (process, lines, _):
        wait_until(lambda: any("SIGTERM" in line for line in lines))
        process.send_signal(signal.SIGTERM)
        code, seconds = ended(process)
    assert code == 0
    assert seconds < 5


def test_a_port_in_use_is_one_line_and_code_2(checkpoint, monkeypatch, capsys):
    with listen("127.0.0.1", 0, patience_s=1) as taken:
        port = taken.getsockname()[1]
        words = ["serve", f"checkpoint.load={checkpoint}", f"serve.port={port}"]
        monkeypatch.setattr(sys, "argv", ["gpt-pipeline", *words])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"error: serve.port={port} is in use on 127.0.0.1; ")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("serve.host=203.0.113.9", "serve.host=203.0.113.9 serve.port=0 cannot be listened on"),
        (
            "serve.host=256.256.256.256",
            "256.256.256.256 is not an address of this machine",
        ),
        ("serve.api_key=''", "serve.api_key must not be empty"),
        ("serve.port=99999", "serve.port must be"),
        ("serve.slots=0", "serve.slots must be"),
        ("checkpoint.load=nowhere", "nowhere is not a folder"),
    ],
)
def test_a_mistake_is_named(checkpoint, word, message):
    with pytest.raises(UserError, match=re.escape(message)):
        command([f"checkpoint.load={checkpoint}", "serve.port=0", word])


def test_a_damaged_checkpoint_is_not_served(checkpoint, tmp_path):
    damaged = tmp_path / checkpoint.name
    shutil.copytree(checkpoint, damaged)
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        command([f"checkpoint.load={damaged}", "serve.port=0"])


def test_without_its_libraries_it_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("gpt_pipeline.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(gpt_pipeline, "serve")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(UserError) as told:
        command([])
    assert str(told.value) == (
        "gpt-pipeline serve needs fastapi; "
        "run `make install` in a clone, or pip install 'gpt-pipeline[serve]'"
    )


def test_another_address_than_this_machines_own_is_warned_of(caplog):
    for host, key, warned in (
        ("127.0.0.1", None, False), ("::1", None, False), ("localhost", None, False),
        ("0.0.0.0", None, True), ("0.0.0.0", "key", False), ("::", None, True),
    ):  # fmt: skip
        caplog.clear()
        _check(CONFIG.model_copy(update={"host": host, "api_key": key}))
        assert bool(caplog.records) == warned


def test_a_second_listener_at_a_port_is_refused_at_once():
    with listen("127.0.0.1", 0, patience_s=1) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"serve.port={port} is in use on 127.0.0.1"):
            listen("127.0.0.1", port, patience_s=1)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_address_of_ipv6_is_written_as_browsers_read_it():
    try:
        listener = listen("::1", 0, patience_s=1)
    except Exception:  # noqa: BLE001
        pytest.skip("this machine has no ::1")
    with listener:
        assert re.fullmatch(r"http://\[::1\]:\d+", url_of(listener))
