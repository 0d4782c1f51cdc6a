"""Measures a run in a process of its own, whose memory is returned to the system at its end."""

import logging
import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from gpt_pipeline.config import Config
from gpt_pipeline.display import count
from gpt_pipeline.errors import UserError
from gpt_pipeline.planning.memory_model import (
    MemoryBaseline,
    MemoryModel,
    MemoryReading,
    StepTiming,
)
from gpt_pipeline.planning.probe import Probe
from gpt_pipeline.runtime import set_up_worker
from gpt_pipeline.runtime.device import set_up_torch, should_compile
from gpt_pipeline.runtime.precision import training_precision
from gpt_pipeline.training import ran_out_of_memory

log = logging.getLogger(__name__)

_ENDED_FROM_OUTSIDE = {0, -signal.SIGTERM, -getattr(signal, "SIGKILL", signal.SIGTERM)}
"""Exit codes after which the results so far are used; Windows has no SIGKILL."""

Answer = MemoryBaseline | MemoryReading | StepTiming | UserError | None


@dataclass(frozen=True)
class Question:
    """What to measure.

    Attributes:
        config: the run's, with vocabulary and micro-batch filled in.
        max_micro_batch_size: the largest micro-batch to try.
        timed: whether to time steps too.
        available_bytes: memory for the run if the caller knows it better than the measuring
            process; else None.
    """

    config: Config
    max_micro_batch_size: int
    timed: bool
    available_bytes: int | None


def measured(question: Question, set_up: Callable[[], None]) -> MemoryModel | None:
    """Measure a run; None if there is not enough memory for one window.

    Args:
        question: what to measure.
        set_up: called in the measuring process, a function of a module. Importing that module
            there must load what a run has loaded, because that takes memory too.

    Raises:
        UserError: from setting up the machine, e.g. compile=true without a compiler.
    """
    baseline, readings, timing = None, list[MemoryReading](), None
    for answer in _answers(question, set_up):
        if isinstance(answer, UserError):
            raise answer
        if isinstance(answer, MemoryBaseline):
            baseline = answer
        elif isinstance(answer, MemoryReading):
            readings.append(answer)
            _log(answer)
        elif isinstance(answer, StepTiming):
            timing = answer
    return MemoryModel(baseline, readings, timing) if baseline and readings else None


def _log(reading: MemoryReading) -> None:
    peak = max(reading.step_bytes, reading.evaluation_bytes)
    log.info(
        "measured: micro-batch of %d %s: %s, %.2g s forward and backward",
        reading.windows, "window" if reading.windows == 1 else "windows", f"{count(peak)}B",
        reading.step_s,
    )  # fmt: skip


def _answers(question: Question, set_up: Callable[[], None]) -> Iterator[Answer]:
    """What the measuring process sends until it ends, for whatever reason."""
    try:
        process, ours = _started(question, set_up)
    except (OSError, ImportError, RuntimeError) as error:
        log.warning("cannot start a process to measure in (%s); measuring in this one", error)
        yield from _until_out_of_memory(question)
        return
    try:
        while True:
            yield ours.recv()
    except EOFError:  # done, or killed: what it has sent is used
        pass
    finally:
        process.terminate()
        process.join()
        ours.close()
    # None: whoever started this program ignores SIGCHLD, and the code is lost
    if process.exitcode is not None and process.exitcode not in _ENDED_FROM_OUTSIDE:
        raise RuntimeError(f"the measuring process ended with exit code {process.exitcode}")


def _started(
    question: Question, set_up: Callable[[], None]
) -> tuple[SpawnProcess, "Connection[Answer, Answer]"]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process: SpawnProcess = spawn.Process(
        target=_work, args=(theirs, question, set_up), daemon=True
    )
    try:
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _work(answers: Connection, question: Question, set_up: Callable[[], None]) -> None:
    """In the measuring process: send the answers one by one."""
    set_up_worker()
    set_up()
    for answer in _until_out_of_memory(question):
        answers.send(answer)


def _until_out_of_memory(question: Question) -> Iterator[Answer]:
    """The measurements until memory runs out; a user error is yielded as the last one."""
    try:
        yield from _measurements(question)
    except UserError as error:
        yield error
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise


def _measurements(question: Question) -> Iterator[Answer]:
    config = question.config
    device = set_up_torch(config.runtime)
    precision = training_precision(config.runtime, device)
    compiled = should_compile(config.runtime, device, flops=math.inf, minutes=None)
    running = Probe(config, precision, compiled, question.available_bytes).start()
    yield running.baseline
    last = None
    for last in running.readings(question.max_micro_batch_size):
        yield last
    if last is not None and question.timed:
        split = config.model.batch_split()
        yield running.timing(
            last,
            windows_per_step=split.windows_per_step,
            micro_batch_size=split.micro_batch_size,
        )
