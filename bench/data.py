"""Preparing data: speed beside tiktoken and tokenizers on the same text; cost and memory by size.

make bench ARGS=data                              both tables
make bench ARGS="data --sizes 10 100 1000"        MB of generated stories in the second
"""

import argparse
import json
import multiprocessing
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tiktoken
import tokenizers
from small_run import table

from gpt_pipeline.cli.data import prepare_data
from gpt_pipeline.config.compose import compose
from gpt_pipeline.dataset import read_sidecar
from gpt_pipeline.dataset.corpus import batched
from gpt_pipeline.dataset.encoding import encode_all
from gpt_pipeline.dataset.stories import StoryGenerator
from gpt_pipeline.tokenizer import END_OF_TEXT, Tokenizer, gpt2, train_bpe

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
STORY_BYTES = 720
STORIES_WITHOUT_SHARED = 19_500
POLL_S = 0.02

# GPT-2's published pattern, as tiktoken's gpt2 encoding has it.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

Encode = Callable[[], int]
"""Encodes the whole text; gives the number of ids, without end-of-text."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=int, help="used within: prepare this many stories")
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(_prepare_stories(given.one)))
        return
    if given.rounds:
        with tempfile.TemporaryDirectory() as folder:
            _speeds(Path(folder), given.rounds)
    if given.sizes:
        _sizes(given.sizes)


def _speeds(folder: Path, rounds: int) -> None:
    """The same documents through each encoder in turn, each time with nothing remembered."""
    source, documents, tokenizer, words = _text(folder)
    ways = _ways(documents, tokenizer, words, folder)
    size = sum(len(text.encode("utf-8")) for text in documents) / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    counts = set()
    for _ in range(rounds):
        for name, fresh in ways.items():
            encode = fresh()
            begin, spent = time.perf_counter(), _processor_s()
            counts.add(encode())
            seconds[name].append(time.perf_counter() - begin)
            processor[name].append(_processor_s() - spent)
    assert len(counts) == 1, f"the encoders differ: {counts}"
    table(
        f"{source}: {size:.1f} MB, {counts.pop():,} ids from each, {CORES} cores, "
        f"median of {rounds}",
        ["", "MB/s", "MB per second of a processor"],
        [
            [name, *(f"{size / statistics.median(s[name]):.1f}" for s in (seconds, processor))]
            for name in ways
        ],
    )


def _text(folder: Path) -> tuple[str, list[str], Tokenizer, list[str]]:
    """Its name, its documents, a tokenizer, and the words of a config that prepares it."""
    path = SHARED / "tinystories" / "tinystories-train.txt"
    if path.is_file():
        parts = path.read_text(encoding="utf-8").split(f"\n{END_OF_TEXT}\n")
        documents = [part.strip("\n") for part in parts if part.strip()]
        files = str(SHARED / "gpt2")
        words = ["tokenizer=gpt2", f"tokenizer.path={files}", f"dataset.path={path}"]
        return "TinyStories, GPT-2's vocabulary", documents, gpt2(files), words
    print("no ../shared/data: generated stories instead of TinyStories")
    generator = StoryGenerator(0, "train")
    documents = [generator.story(index).text for index in range(STORIES_WITHOUT_SHARED)]
    path = folder / "stories.txt"
    path.write_text(f"\n{END_OF_TEXT}\n".join(documents), encoding="utf-8")
    tokenizer = train_bpe(iter(documents), 4096)
    tokenizer.save(folder / "tokenizer.json")
    words = ["tokenizer=gpt2", f"tokenizer.path={folder}", f"dataset.path={path}"]
    return "Generated stories, a vocabulary trained on them", documents, tokenizer, words


def _ways(
    documents: list[str], tokenizer: Tokenizer, words: list[str], folder: Path
) -> dict[str, Callable[[], Encode]]:
    """Makers of encoders that remember nothing."""

    def theirs(method: str) -> Callable[[], Encode]:
        def fresh() -> Encode:
            inner = tokenizers.Tokenizer.from_str(tokenizer.to_json())
            inner.encode_special_tokens = True
            encode = getattr(inner, method)
            return lambda: sum(len(e.ids) for e in encode(documents, add_special_tokens=False))

        return fresh

    def in_processes(number: int) -> Callable[[], Encode]:
        def fresh() -> Encode:
            copy: Tokenizer = pickle.loads(pickle.dumps(tokenizer))
            return lambda: sum(
                len(piece.ids) - piece.documents
                for piece in encode_all(batched(documents), copy, number)
            )

        return fresh

    def fresh_tiktoken() -> Encode:
        encoding = _tiktoken(tokenizer)
        return lambda: sum(map(len, encoding.encode_ordinary_batch(documents, num_threads=CORES)))

    return {
        "`gpt-pipeline data` in the whole, files to synced files": lambda: _whole(words, folder),
        f"its encoding alone, {CORES} processes, with their start": in_processes(CORES),
        "its encoding alone, one process": in_processes(0),
        f"tiktoken {tiktoken.__version__} encode_ordinary_batch": fresh_tiktoken,
        f"tokenizers {tokenizers.__version__} encode_batch": theirs("encode_batch"),
        f"tokenizers {tokenizers.__version__} encode_batch_fast": theirs("encode_batch_fast"),
    }


def _whole(words: list[str], folder: Path) -> Encode:
    target = tempfile.mkdtemp(dir=folder)
    config = compose(
        ["dataset=text", "dataset.train_ratio=1", f"dataset.data_dir={target}", *words]
    ).config

    def encode() -> int:
        sidecar = read_sidecar(prepare_data(config).train)
        return sidecar.tokens - sidecar.documents

    return encode


def _tiktoken(tokenizer: Tokenizer) -> tiktoken.Encoding:
    ids = set(range(tokenizer.vocab_size)) - {tokenizer.eot_id}
    return tiktoken.Encoding(
        "the_same",
        pat_str=PATTERN,
        mergeable_ranks={tokenizer.token_bytes(token): token for token in ids},
        special_tokens={END_OF_TEXT: tokenizer.eot_id},
    )


def _sizes(sizes: Sequence[int]) -> None:
    rows = []
    for size in sizes:
        begin = time.perf_counter()
        command = [sys.executable, __file__, "--one", str(size * 1_000_000 // STORY_BYTES)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - begin
        found = json.loads(done.stdout)
        made = found["bytes"] / 1e6
        rows.append(
            [f"{made:.0f}", f"{seconds:.1f}", f"{made / seconds:.1f}", f"{found['cpu_s']:.1f}",
             f"{found['main'] / 1e6:.0f}", f"{found['worker'] / 1e6:.0f}"]
        )  # fmt: skip
    table(
        f"`gpt-pipeline data` with generated stories, {CORES} cores, from start-up to the exit",
        ["MB", "seconds", "MB/s", "processor seconds", "peak MB, main process", "largest worker"],
        rows,
    )


def _prepare_stories(number: int) -> dict[str, float]:
    """Prepare them as the command does; bytes of text, processor time, peak memory."""
    peak = _WorkersPeak()
    with tempfile.TemporaryDirectory() as folder:
        config = compose([f"dataset.num_stories={number}", f"dataset.data_dir={folder}"]).config
        sidecar = read_sidecar(prepare_data(config).train)
    return {
        "bytes": sidecar.bytes,
        "cpu_s": _processor_s(),
        "main": _peak_bytes(os.getpid()),
        "worker": peak.bytes,
    }


def _processor_s() -> float:
    """Processor seconds of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class _WorkersPeak:
    """Watches the worker processes: the system's own figure holds what they were forked from."""

    def __init__(self) -> None:
        self.bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            for process in multiprocessing.active_children():
                self.bytes = max(self.bytes, _peak_bytes(process.pid or 0))
            time.sleep(POLL_S)


def _peak_bytes(pid: int) -> int:
    """The most resident memory that a process has had, on Linux; 0 where that is not known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0


if __name__ == "__main__":
    main()
