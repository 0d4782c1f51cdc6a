"""Encodes a corpus in as many processes as wanted, in order and with few pieces in flight.

The result does not depend on the number of processes: a piece of work is the same everywhere. So
where processes cannot be had, or end, this one does the rest.
"""

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from gpt_pipeline.dataset.corpus import Encoded, Work
from gpt_pipeline.runtime import set_up_worker, usable_cores
from gpt_pipeline.tokenizer import Tokenizer

log = logging.getLogger(__name__)

SMALL = 8
"""Up to this many pieces of work, starting processes costs more than they save."""

_NO_PROCESSES = (OSError, ImportError, NotImplementedError, RuntimeError)
"""What the start of processes raises: EAGAIN, no semaphores, no more threads, for example."""

_tokenizer: Tokenizer | None = None  # of this worker process, set once when it starts


def encode_all(
    work: Iterator[Work], tokenizer: Tokenizer, num_workers: int | None
) -> Generator[Encoded, None, None]:
    """The ids of each piece of work, in order.

    Args:
        work: read only a few pieces ahead, so that memory stays constant.
        tokenizer: sent to each process once.
        num_workers: processes; None is one per usable core, 0 and 1 use this process alone.

    Raises:
        DataError: from the work.
    """
    processes = usable_cores() if num_workers is None else num_workers
    first = list(itertools.islice(work, SMALL + 1))
    work = itertools.chain(first, work)
    if processes <= 1 or len(first) <= SMALL:
        for piece in work:
            yield piece.encode(tokenizer)
        return
    pool = _Pool(tokenizer, processes)
    waiting: deque[tuple[Work, Future[Encoded] | None]] = deque()
    try:
        for piece in work:
            waiting.append((piece, pool.submit(piece)))
            if len(waiting) > 2 * processes:
                yield pool.result(*waiting.popleft())
        while waiting:
            yield pool.result(*waiting.popleft())
    finally:
        pool.close()


class _Pool:
    """Processes that encode pieces of work; where there are none, or they end, this one does it."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._before = set(multiprocessing.active_children())
        self._pool: ProcessPoolExecutor | None = None
        self._failed = False
        try:
            self._pool = ProcessPoolExecutor(
                size,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(tokenizer,),
            )
        except _NO_PROCESSES as error:  # a read-only /dev/shm has no semaphores
            self._fail(error)

    def submit(self, piece: Work) -> Future[Encoded] | None:
        """Submit a piece to a process; None without processes."""
        if self._pool is None or self._failed:
            return None
        try:
            with _interrupts_held():  # a process starts here, and inherits that
                return self._pool.submit(_encode_here, piece)
        except (BrokenProcessPool, *_NO_PROCESSES) as error:
            self._fail(error)
            return None

    def result(self, piece: Work, future: Future[Encoded] | None) -> Encoded:
        """The ids of a piece, from the process that has it or made here."""
        if future is not None:
            try:
                return future.result()
            except BrokenProcessPool as error:
                self._fail(error)
        return piece.encode(self._tokenizer)

    def close(self) -> None:
        """End the processes."""
        with _interrupts_held():
            if self._pool is not None:  # a thread of it that could not start cannot be waited for
                self._pool.shutdown(wait=not self._failed, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - self._before:
                process.terminate()  # started before the start of another one failed
                process.join()

    def _fail(self, error: BaseException) -> None:
        if not self._failed:
            reason = str(error) or type(error).__name__
            if isinstance(error, BrokenProcessPool):
                reason = "one was ended from outside, perhaps for want of memory"
            log.warning(
                "cannot use %d processes to prepare token files (%s); continuing in one, "
                "which takes longer (dataset.num_workers=0 asks for that)",
                self._size, reason,
            )  # fmt: skip
        self._failed = True


def _start_worker(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    set_up_worker()


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
