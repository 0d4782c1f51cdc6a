"""Worker processes that end with the process that started them."""

import multiprocessing
import os
import signal
import threading


def set_up_worker() -> None:
    """Prepare a process that this package has started: call it first in the process.

    The worker ignores Ctrl-C, because its parent decides what an interrupt means, and it ends when
    its parent does. A parent that is killed cannot end its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
