"""The application behind real sockets, in a thread of the test's process."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fake_engine import FakeEngine

from gpt_pipeline.config.compose import compose
from gpt_pipeline.serve import create_app, listen, url_of
from gpt_pipeline.serve.server import configured

CONFIG = compose([]).config.serve
SIZES = """
model=tiny tokenizer=bytes model.vocab_size=257 model.embed_dim=24 model.ff_hidden_dim=48
model.num_heads=2 model.num_layers=1 model.max_length=32
""".split()


@dataclass
class Running:
    """A server at work, and a client of it."""

    url: str
    app: Any
    engine: FakeEngine
    client: httpx.Client = field(repr=False)

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    @property
    def scheduler(self):
        return self.app.state.scheduler

    def complete(self, **arguments):
        """The response of POST /v1/completions."""
        return self.client.post("/v1/completions", json=arguments)

    def text(self, **arguments):
        """The only text that comes of some arguments."""
        response = self.complete(**arguments)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["text"]

    def events(self, **arguments):
        """The events of a stream, without the last line."""
        with self.client.stream("POST", "/v1/completions", json={"stream": True, **arguments}) as r:
            assert r.status_code == 200, r.read()
            assert r.headers["content-type"].startswith("text/event-stream")
            return parsed(list(r.iter_lines()))

    def wait_until_idle(self, within_s=5.0):
        wait_until(lambda: self.scheduler.held == 0 and self.engine.active == 0, within_s)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


def parsed(lines):
    """The JSON of the lines of a whole stream."""
    lines = [line for line in lines if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def wait_until(condition, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)


@contextmanager
def running(served, engine=None, *, body_timeout_s=5.0, files=None, **limits):
    """A server with these limits; `engine` has as many slots as it has."""
    if engine is not None:
        limits = {"slots": engine.slots, **limits}
    config = CONFIG.model_copy(update={"port": 0, **limits})
    app = create_app(served, config, engine=engine, body_timeout_s=body_timeout_s)
    listener = listen("127.0.0.1", 0, patience_s=30)
    server = uvicorn.Server(configured(app, grace_s=1.0, files=files))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    url = url_of(listener)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        with httpx.Client(base_url=url, timeout=20) as client:
            yield Running(url, app, engine or app.state.scheduler._engine, client)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()
