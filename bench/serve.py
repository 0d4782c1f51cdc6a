"""Tokens a second of `gpt-pipeline serve` with 1, 8 and 32 clients: make bench ARGS="serve".

make bench ARGS="serve --model laptop --clients 4 16 --tokens 100"

Each client asks again as soon as it was answered. The engine alone, with a batch of 16 in a process
of its own before and after each measurement, is what a server could reach. Weights are random.
"""

import argparse
import asyncio
import itertools
import json
import re
import signal
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import torch
from small_run import table

from gpt_pipeline.checkpoint import CheckpointStore, TrainingPart, open_checkpoint
from gpt_pipeline.cli.main import spin_briefly
from gpt_pipeline.config import Config, Sampling
from gpt_pipeline.config.compose import compose
from gpt_pipeline.inference import Engine, Request, prepare_as_configured
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.device import choose_device, set_up_torch
from gpt_pipeline.tokenizer import END_OF_TEXT, Tokenizer
from gpt_pipeline.tokenizer.byte_alphabet import byte_to_char
from gpt_pipeline.tokenizer.train import byte_level

PROMPT = "Once upon a time"
BATCH = 16


@dataclass
class Measured:
    """What the clients saw, in seconds."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    tokens: int = 0
    answered: int = 0
    lost: list[str] = field(default_factory=list)


def main() -> None:
    """Print the table, or be the engine alone."""
    args = _arguments()
    if args.engine:
        print(_engine_rate(args.engine, args.tokens))
        return
    spin_briefly()  # the engine alone shares the cores as the server does
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(args.model, Path(folder))
        seen: dict[int, list[tuple[Measured, float, float]]] = defaultdict(list)
        with _Server(checkpoint) as server:
            asyncio.run(_load(server.url, 1, 1, 8))  # the first step makes the caches
            alone = [_engine_alone(checkpoint, args.tokens)]
            for _round, number in itertools.product(range(args.rounds), args.clients):
                measured, seconds = _seen(server, number, args)
                alone.append(_engine_alone(checkpoint, args.tokens))  # the server waits meanwhile
                seen[number].append((measured, seconds, (alone[-2] + alone[-1]) / 2))
            peak = server.peak_bytes()
    print(f"engine alone, batch of {BATCH}: {statistics.median(alone):.0f} tokens/s")
    print(f"server's largest memory: {peak / 1e6:.0f} MB")
    table(
        f"{args.model}, {args.tokens} tokens a request, {_device()}; {args.rounds} rounds",
        ["clients", "tokens/s", "first token ms (median, p95)", "between tokens ms (median, p95)",
         "requests", "lost", "of the engine"],
        [_row(number, rounds) for number, rounds in seen.items()],
    )  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="tokens a second of the server")
    parser.add_argument("--model", default="gpt_30m")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=200, help="of each request")
    parser.add_argument("--requests", type=int, default=2, help="of each client")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _device() -> str:
    device = choose_device("auto")
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{device.type}{threads}"


def _seen(server: "_Server", number: int, args: argparse.Namespace) -> tuple[Measured, float]:
    """What so many clients saw, and the seconds that it took."""
    begin = time.perf_counter()
    measured = asyncio.run(_load(server.url, number, args.requests, args.tokens))
    for reason in measured.lost[:3]:
        print(f"lost: {reason}", file=sys.stderr)
    return measured, time.perf_counter() - begin


def _row(number: int, rounds: list[tuple[Measured, float, float]]) -> list[object]:
    rate = statistics.median(measured.tokens / seconds for measured, seconds, _ in rounds)
    share = statistics.median(seen.tokens / seconds / alone for seen, seconds, alone in rounds)
    first = [each for measured, _, _ in rounds for each in measured.first]
    between = [each for measured, _, _ in rounds for each in measured.between]
    return [
        number, f"{rate:.0f}", _ms(first), _ms(between),
        sum(measured.answered for measured, _, _ in rounds),
        sum(len(measured.lost) for measured, _, _ in rounds), f"{100 * share:.0f} %",
    ]  # fmt: skip


def _ms(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "-"
    p95 = statistics.quantiles(seconds, n=20)[-1]
    return f"{1000 * statistics.median(seconds):.1f}, {1000 * p95:.1f}"


async def _load(url: str, num_clients: int, num_requests: int, num_tokens: int) -> Measured:
    measured = Measured()

    async def client(number: int) -> None:
        for turn in range(num_requests):
            try:
                await _ask(url, num_tokens, 1000 * number + turn, measured)
                measured.answered += 1
            except (OSError, ValueError) as error:
                measured.lost.append(f"{type(error).__name__}: {error}")

    await asyncio.gather(*(client(number) for number in range(num_clients)))
    return measured


async def _ask(url: str, num_tokens: int, seed: int, measured: Measured) -> None:
    """One streamed request."""
    place, sampling = urlsplit(url), _sampling(num_tokens)
    assert place.hostname is not None
    assert place.port is not None
    body = json.dumps({
        "prompt": PROMPT, "max_tokens": num_tokens, "seed": seed,
        "stream": True, "stream_options": {"include_usage": True},
        "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias},
    }).encode()  # fmt: skip
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    _, answer = await loop.create_connection(
        lambda: _Answer(head.encode() + body, measured), place.hostname, place.port
    )
    tokens = await answer.tokens
    measured.tokens += tokens
    if tokens != num_tokens:
        raise ValueError(f"{tokens} tokens instead of {num_tokens}")


class _Answer(asyncio.Protocol):
    """What comes back on one connection, looked through as it comes. It does little for each
    token: the clients share the server's cores.
    """

    _TOKEN = b'"choices":[{'

    def __init__(self, request: bytes, measured: Measured) -> None:
        self._request, self._measured = request, measured
        self._come, self._begun = bytearray(), False
        self.tokens: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._last = time.perf_counter()
        cast(asyncio.WriteTransport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now, begin = time.perf_counter(), max(len(self._come) - len(self._TOKEN) + 1, 0)
        self._come += data
        for _ in range(self._come.count(self._TOKEN, begin)):
            seen = self._measured.between if self._begun else self._measured.first
            seen.append(now - self._last)
            self._last, self._begun = now, True

    def connection_lost(self, exc: Exception | None) -> None:
        usage = re.search(rb'"completion_tokens":(\d+)', self._come)
        if exc is not None:
            self.tokens.set_exception(exc)
        elif usage is None:  # an error, or cut off
            self.tokens.set_exception(ValueError(self._come[-300:].decode(errors="replace")))
        else:
            self.tokens.set_result(int(usage[1]))


@cache
def _sampling(num_tokens: int) -> Sampling:
    """As the config has it, but that no text ends before its length; to read it takes long."""
    model = compose([]).config.model
    return Sampling(
        temperature=model.temperature,
        top_k=model.top_k,
        top_p=model.top_p,
        max_new_tokens=num_tokens,
        logit_bias=((0, -100.0),),
    )


class _Server:
    """The real command as a process."""

    def __init__(self, checkpoint: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpt_pipeline", "serve", f"checkpoint.load={checkpoint}",
             "serve.port=0"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"^serving \S+ on (\S+)", line):
                self.url = found[1]
                return
        sys.exit("the server did not start")

    def __enter__(self) -> "_Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=60)

    def peak_bytes(self) -> int:
        """Most memory that it had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return 1024 * int(found[1]) if found else 0


def _engine_alone(checkpoint: Path, num_tokens: int) -> float:
    program = [sys.executable, __file__, "--engine", str(checkpoint), "--tokens", str(num_tokens)]
    return float(subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _engine_rate(checkpoint: Path, num_tokens: int) -> float:
    opened = open_checkpoint(checkpoint)
    runtime = compose([]).config.runtime
    device = set_up_torch(runtime)
    backend = prepare_as_configured(opened.load_model(device), runtime)
    tokenizer = opened.tokenizer()
    prompt = tuple(tokenizer.encode(PROMPT))
    engine = Engine(backend, eot_id=tokenizer.eot_id, slots=BATCH)

    def run(number: int) -> float:
        begin = time.perf_counter()
        for idx in range(BATCH):
            engine.add(Request(prompt, _sampling(number), 0, sample_idx=idx))
        while engine.active:
            engine.step()
        return BATCH * number / (time.perf_counter() - begin)

    run(8)
    return run(num_tokens)


def _checkpoint(name: str, folder: Path) -> Path:
    """Random weights under the given sizes."""
    words = [f"model={name}", "block.eot_id=0"]
    if compose(words).config.model.vocab_size is None:
        words.append("model.vocab_size=4096")
    config: Config = compose(words).config
    tokenizer = _tokenizer(config.gpt_config().vocab_size)
    model = GPTModel(config.gpt_config())
    store = CheckpointStore(folder, name, config, tokenizer, "0" * 64)
    part = TrainingPart(0, 0, None, None, {"none": torch.zeros(1)}, {})
    return store.save(model.state_dict(), part).path


def _tokenizer(vocab_size: int) -> Tokenizer:
    """End-of-text is 0; after the bytes come words that no text has, up to the size."""
    vocab = {END_OF_TEXT: 0}
    letters = itertools.product(string.ascii_lowercase, repeat=4)
    for entry in itertools.chain(byte_to_char().values(), map("".join, letters)):
        vocab.setdefault(entry, len(vocab))
        if len(vocab) == vocab_size:
            break
    return byte_level(vocab, [])


if __name__ == "__main__":
    main()
