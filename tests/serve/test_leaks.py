"""What a thousand requests and two hundred clients that vanish leave behind: nothing."""

import gc
import json
import os
import socket
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from serving import running, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"stream": True, "max_tokens": 2000}).encode()
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


def test_memory_is_constant_over_a_thousand_requests(served):
    kinds = [
        {"prompt": "x", "max_tokens": 20},
        {"prompt": "x", "max_tokens": 20, "stream": True, "logprobs": 3},
        {"prompt": ["x", "y"], "n": 2, "max_tokens": 5, "stop": "d", "echo": True},
        {"prompt": [], "max_tokens": 5},
        {"prompt": "x" * 100},
    ]
    with running(served, FakeEngine()) as server:

        def ask(number):
            for turn in range(number):
                server.complete(**kinds[turn % len(kinds)])
            server.wait_until_idle()
            gc.collect()
            return len(gc.get_objects()), resident_bytes()

        ask(200)
        states = [ask(50), *(ask(300) for _ in range(3))]
    # a leak grows in every round, what something else here takes once does not
    growth = [(more - less for less, more in zip(a, b, strict=True)) for a, b in pairwise(states)]
    objects, resident = map(min, zip(*growth, strict=True))
    assert objects < 90
    assert resident < 1.2e6


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_clients_that_vanish_leave_nothing(served):
    """In every state of a request: unsent, half sent, asked, being answered, cut off."""
    with running(served, FakeEngine(step_s=0.001), queue=400) as server:
        server.text(max_tokens=1)
        threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for number in range(200):
            client = server.connect()
            client.sendall([b"", REQUEST[:60], REQUEST[:-5], REQUEST, REQUEST][number % 5])
            if number % 5 == 4:
                client.recv(100)
            if number % 2:  # a reset instead of an orderly end
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        server.wait_until_idle()
        assert server.text(max_tokens=1) == "a"
        server.client.close()
        for _ in range(100):
            gc.collect()
            if len(os.listdir("/proc/self/fd")) < files:  # noqa: PTH208
                break
            threading.Event().wait(0.05)
        assert len(os.listdir("/proc/self/fd")) < files  # noqa: PTH208 - our own has gone too
        wait_until(lambda: threading.active_count() <= threads)
        assert not server.scheduler._tickets
