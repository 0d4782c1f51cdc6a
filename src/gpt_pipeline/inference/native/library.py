"""decoder.c as a library: compiled once a machine, kept in the user's cache, loaded."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("decoder.c", "top_k.h", "products.h"))
_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-fopenmp", "-shared")
_COMPILING_S = 120
_COMPILING = "compiling-"
_ROOM_BYTES = 1 << 20
"""What the compiler's files take at most."""


class CompilerMissing(Exception):
    """The library cannot be had here; the message says why, as the end of a sentence."""


@cache
def load_library() -> ctypes.CDLL:
    """The library, from the user's cache or compiled now, which takes about a second.

    Where nothing can be kept in the cache, it is compiled again by each process.

    Raises:
        CompilerMissing: no compiler is there, or what it makes cannot be loaded.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux"):  # others' compilers were not tried
        raise CompilerMissing(f"on {sys.platform}, where it was not tried")
    if compiler is None:
        raise CompilerMissing("as there is no C compiler (gcc, cc) on the path")
    try:
        name = f"decoder-{_fingerprint(compiler)}.so"
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerMissing(f"as {compiler} does not run: {error}") from None
    folder = _cache_folder()
    if folder is not None:
        with suppress(OSError):  # not there yet, half of a file, or made for another system
            return _opened(folder / name)
    refused: list[str] = []
    for base in (folder, None) if folder else (None,):
        try:
            return _compiled(compiler, name, base)
        except OSError as error:  # no space or inodes, read-only, noexec, no temporary folder
            refused.append(str(error))
    raise CompilerMissing(f"as what {compiler} makes cannot be kept or loaded: {refused[-1]}")


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    library.panel.restype = ctypes.c_int64
    return library


def _cache_folder() -> Path | None:
    """Where the library is kept; None where nothing can be kept."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        folder = base / "gpt-pipeline"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _fingerprint(compiler: str) -> str:
    """Of all that the library depends on: a home may be shared by machines."""
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, check=False, timeout=_COMPILING_S
    ).stdout
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    parts = (
        *(source.read_bytes() for source in _SOURCES),
        *map(str.encode, _link_flags()), version, processor.encode(),
    )  # fmt: skip
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _link_flags() -> tuple[str, ...]:
    """With torch's own threads where they are: two teams on the same cores wait for each other."""
    there = hasattr(ctypes.CDLL(None), "GOMP_parallel")
    return (*_FLAGS, *(("-nodefaultlibs", "-lc") if there else ()), "-lm")


def _compiled(compiler: str, name: str, folder: Path | None) -> ctypes.CDLL:
    """Compile the library in a temporary folder; it is kept in `folder`, if there is one.

    Raises:
        CompilerMissing: the compiler fails.
        OSError: nothing can be written in the folder, or what is there cannot be loaded.
    """
    if folder is not None:
        _remove_stale(folder)
    with tempfile.TemporaryDirectory(
        prefix=_COMPILING, dir=folder, ignore_cleanup_errors=True
    ) as temporary:
        made = Path(temporary) / name
        _run(compiler, made)
        library = _opened(made)  # stays loaded when its file is gone
        if folder is not None:
            with suppress(OSError):
                made.replace(folder / name)  # whole or absent: nobody loads half of it
        return library


def _run(compiler: str, made: Path) -> None:
    words = [compiler, str(_SOURCES[0]), "-o", str(made), *_link_flags()]
    room = made.with_name("room")
    room.write_bytes(bytes(_ROOM_BYTES))  # a full disk is an OSError here, and no compiler's error
    room.unlink()
    here = os.environ | {"TMPDIR": str(made.parent)}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=_COMPILING_S,
            check=False, env=here,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerMissing(f"as {compiler} does not run: {error}") from None
    if done.returncode != 0:
        told = (done.stderr.strip().splitlines() or ["nothing"])[0]
        raise CompilerMissing(f"as {compiler} fails: {told}")


def _remove_stale(folder: Path) -> None:
    """Remove the temporary folders of processes that were killed while they compiled."""
    for left in folder.glob(f"{_COMPILING}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 2 * _COMPILING_S:
                shutil.rmtree(left, ignore_errors=True)
