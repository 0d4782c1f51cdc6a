"""A run measured in a process of its own: memory that it takes there is given back at the end."""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from gpt_pipeline.cli.console import log, log_to_stderr
from gpt_pipeline.config import Config
from gpt_pipeline.display import count
from gpt_pipeline.errors import UserError
from gpt_pipeline.planning import MemoryBaseline, MemoryModel, MemoryReading, Probe, Speed
from gpt_pipeline.runtime.device import set_up_torch, should_compile
from gpt_pipeline.runtime.precision import training_precision
from gpt_pipeline.training import ran_out_of_memory

_ENDED_FROM_OUTSIDE = {0, -signal.SIGTERM, -getattr(signal, "SIGKILL", signal.SIGTERM)}
"""Exit codes after which what was measured so far counts; Windows has no SIGKILL."""

Answer = MemoryBaseline | MemoryReading | Speed | UserError | None


@dataclass(frozen=True)
class Question:
    """What to measure.

    Attributes:
        config: of the run, its vocabulary and micro-batch settled.
        most: the largest micro-batch that is worth a try.
        timed: whether to time steps too.
        available: memory for the run where the caller knows it; else None.
    """

    config: Config
    most: int
    timed: bool
    available: int | None


def measured(question: Question) -> MemoryModel | None:
    """The memory_model of a run; None where there is not enough memory for one window.

    Raises:
        UserError: from the machine's set-up; compile without a compiler, say.
    """
    baseline, readings, speed = None, list[MemoryReading](), None
    for answer in _answers(question):
        if isinstance(answer, UserError):
            raise answer
        if isinstance(answer, MemoryBaseline):
            baseline = answer
        elif isinstance(answer, MemoryReading):
            readings.append(answer)
            _say(answer)
        elif isinstance(answer, Speed):
            speed = answer
    return MemoryModel(baseline, readings, speed) if baseline and readings else None


def _say(reading: MemoryReading) -> None:
    most = max(reading.step_bytes, reading.evaluation_bytes)
    log.info(
        "measured: %d %s at once: %s, %.2g s forward and back",
        reading.windows, "window" if reading.windows == 1 else "windows", f"{count(most)}B",
        reading.step_s,
    )  # fmt: skip


def _answers(question: Question) -> Iterator[Answer]:
    """What the other process says until it ends, however it ends."""
    try:
        process, ours = _started(question)
    except (OSError, ImportError, RuntimeError) as error:
        log.warning("cannot start a process that measures (%s); measuring in this one", error)
        yield from _until_out_of_memory(question)
        return
    try:
        while True:
            yield ours.recv()
    except EOFError:  # done, or ended from outside: what was said counts
        pass
    finally:
        process.terminate()
        process.join()
        ours.close()
    # None: whoever started this program ignores SIGCHLD, and the code is lost
    if process.exitcode is not None and process.exitcode not in _ENDED_FROM_OUTSIDE:
        raise RuntimeError(f"the process that measures ended with exit code {process.exitcode}")


def _started(question: Question) -> tuple[SpawnProcess, "Connection[Answer, Answer]"]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process: SpawnProcess = spawn.Process(target=_work, args=(theirs, question), daemon=True)
    try:
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _work(answers: Connection, question: Question) -> None:
    """In the other process: measure, and say it piece by piece."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log_to_stderr()
    for answer in _until_out_of_memory(question):
        answers.send(answer)


def _until_out_of_memory(question: Question) -> Iterator[Answer]:
    """The measurements that there is memory for; an error of the user's is the last of them."""
    try:
        yield from _measurements(question)
    except UserError as error:
        yield error
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise


def _end_with_parent() -> None:
    """A killed parent cannot end this process, and a step may take long."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measurements(question: Question) -> Iterator[Answer]:
    import gpt_pipeline.cli.train  # noqa: F401  what a run has loaded takes memory too

    config = question.config
    device = set_up_torch(config.runtime)
    precision = training_precision(config.runtime, device)
    compiled = should_compile(config.runtime, device, flops=math.inf, minutes=None)
    running = Probe(config, precision, compiled, question.available).start()
    yield running.baseline
    last = None
    for last in running.readings(question.most):
        yield last
    if last is not None and question.timed:
        split = config.model.batch_split()
        yield running.speed(
            last,
            windows_per_step=split.windows_per_step,
            micro_batch_size=split.micro_batch_size,
        )
