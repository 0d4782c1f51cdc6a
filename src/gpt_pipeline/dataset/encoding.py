"""Encodes a corpus in as many processes as wanted, in order and with few pieces in flight.

The result does not depend on the number of processes: a piece of work is the same everywhere.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from gpt_pipeline.dataset.corpus import Encoded, Work
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import Tokenizer

SMALL = 8
"""Up to this many pieces of work, starting processes costs more than they save."""

_tokenizer: Tokenizer | None = None  # of this worker process, set once when it starts


def encode_all(
    work: Iterator[Work], tokenizer: Tokenizer, num_workers: int | None
) -> Generator[Encoded, None, None]:
    """The ids of each piece of work, in order.

    Args:
        work: read only a few pieces ahead, so that memory stays constant.
        tokenizer: sent to each process once.
        num_workers: processes; None is one a core, 0 and 1 are none beside this one.

    Raises:
        DataError: from the work, or when a process dies.
    """
    processes = (os.cpu_count() or 1) if num_workers is None else num_workers
    first = list(itertools.islice(work, SMALL + 1))
    work = itertools.chain(first, work)
    if processes <= 1 or len(first) <= SMALL:
        for piece in work:
            yield piece.encode(tokenizer)
    else:
        yield from _encode_in_pool(work, tokenizer, processes)


def _encode_in_pool(
    work: Iterator[Work], tokenizer: Tokenizer, size: int
) -> Generator[Encoded, None, None]:
    pool = ProcessPoolExecutor(
        size,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tokenizer,),
    )
    waiting: deque[Future[Encoded]] = deque()
    try:
        for piece in work:
            with _interrupts_held():  # a process starts here, and inherits that
                waiting.append(pool.submit(_encode_here, piece))
            if len(waiting) > 2 * size:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that prepares token files was ended from outside, perhaps for want of "
            f"memory; got dataset.num_workers={size}; try dataset.num_workers=0"
        ) from error
    finally:
        with _interrupts_held():
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, and their queue would never close."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode_here(piece: Work) -> Encoded:
    if _tokenizer is None:
        raise RuntimeError("the worker was not started by _start_worker")
    return piece.encode(_tokenizer)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the block has ended; processes started inside never see it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
