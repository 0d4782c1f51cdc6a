"""Disks that are full, read-only or gone while a run goes on. Needs the right to mount a tmpfs."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from small_run import LONG, corpus, finish, start, steps_done

WORDS = [*LONG, "schedule.max_steps=600", "checkpoint.retry_after_s=0.2",
         "model.checkpoint_path=disk/checkpoints", "logging.sample_tokens=0"]  # fmt: skip
_SIZE = "3m"  # of the disk; a checkpoint of the small run takes 0.3 MB


def can_mount(folder: Path) -> bool:
    """Whether this process may mount: root on Linux, most containers not."""
    (folder / "disk").mkdir(parents=True, exist_ok=True)
    mounted = _mount("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder / "disk"))
    if mounted:
        subprocess.run(["umount", str(folder / "disk")], check=True)
    return mounted


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A small file system of its own at `disk`, and a corpus beside it."""
    place = folder / "disk"
    place.mkdir(parents=True, exist_ok=True)
    (folder / "stories.txt").write_text(corpus(), encoding="utf-8")
    assert _mount("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place))
    try:
        yield place
    finally:
        while subprocess.run(["umount", "-l", str(place)], capture_output=True).returncode == 0:
            pass


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True).returncode == 0


def _fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def _empty(place: Path) -> None:
    (place / "filler").unlink()


def _read_only(place: Path) -> None:
    """A second mount over the first: the first has a file open (the lock) and would refuse."""
    assert _mount("--bind", str(place), str(place))
    assert _mount("-o", "remount,bind,ro", str(place))


def _vanish(place: Path) -> None:
    """As when a network disk goes: what is mounted there now is empty and takes nothing."""
    assert _mount("-t", "tmpfs", "-o", "size=4k,ro", "tmpfs", str(place))


def _uncover(place: Path) -> None:
    subprocess.run(["umount", str(place)], check=True)


TROUBLES: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "disk full": (_fill, _empty),
    "read-only": (_read_only, _uncover),
    "mount vanished": (_vanish, _uncover),
}


def trouble(folder: Path, name: str, *, passes: bool) -> list[object]:
    """A run whose disk of checkpoints goes bad in mid-run, and comes back or not.

    Returns:
        A row: the trouble, whether it passed, warnings, exit code, the last line, what verify says.
    """
    begin, end = TROUBLES[name]
    with disk(folder) as place:
        process = start("train", *WORDS, folder=folder)
        while steps_done(folder) < 100 and process.poll() is None:
            time.sleep(0.05)
        begin(place)
        if passes:
            at = steps_done(folder)
            while steps_done(folder) < at + 100 and process.poll() is None:
                time.sleep(0.05)
            end(place)
        code, text = finish(process)
        if not passes:
            end(place)
        warnings = len(re.findall("training continues, retrying after", text))
        said = next((x for x in text.splitlines() if x.startswith(("error:", "checkpoint:"))), "?")
        verified, listing = finish(start("verify", "disk/checkpoints", folder=folder))
        good = listing.count("ok  ")
        return [
            name, "yes" if passes else "no", warnings, code, said[:150],
            f"{good} checkpoints good" if verified == 0 else listing,
        ]  # fmt: skip
