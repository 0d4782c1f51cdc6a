"""GPT-2's tokenizer through the real hub client, from a hub on this machine's loopback."""

import hashlib
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from gpt_pipeline.tokenizer import byte_tokenizer, gpt2

FETCH = """
from gpt_pipeline.tokenizer import gpt2
tokenizer = gpt2(None)
print(tokenizer.sha256, tokenizer.vocab_size)
"""


class Hub(BaseHTTPRequestHandler):
    """Serves one file as the hub does: commit and ETag in the headers."""

    content = b""
    requests: list[str] = []  # noqa: RUF012

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        type(self).requests.append(f"{self.command} {self.path}")
        if self.path != "/openai-community/gpt2/resolve/main/tokenizer.json":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", f'"{hashlib.sha256(self.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.end_headers()
        if body:
            self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def fetch(endpoint, home):
    return subprocess.run(
        [sys.executable, "-c", FETCH],
        env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_it_is_fetched_once_and_kept(hub, tmp_path):
    Hub.content = byte_tokenizer().to_json().encode()
    (tmp_path / "tokenizer.json").write_bytes(Hub.content)
    expected = gpt2(str(tmp_path / "tokenizer.json"))
    first = fetch(hub, tmp_path / "home")
    assert first.returncode == 0, first.stderr
    assert first.stdout.split() == [expected.sha256, "257"]
    assert any(request.startswith("GET") for request in Hub.requests)
    unreachable = fetch("http://127.0.0.1:9", tmp_path / "home")
    assert unreachable.returncode == 0, unreachable.stderr
    assert unreachable.stdout == first.stdout


def test_a_hub_that_is_not_there_is_one_line_that_says_what_to_do(tmp_path):
    result = fetch("http://127.0.0.1:9", tmp_path / "home")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert "TokenizerError: cannot fetch GPT-2's tokenizer" in last
    assert "tokenizer.path=FOLDER with vocab.json and merges.txt works offline" in last
