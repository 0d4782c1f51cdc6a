"""decoder.c as a shared library: compiled once per machine and kept in the user's cache."""

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
"""The most that the compiler's files take."""


class CompilerMissing(Exception):
    """The library cannot be compiled or loaded on this machine; the message says why."""


@cache
def load_library() -> ctypes.CDLL:
    """The library from the user's cache, or compiled now, which takes about a second.

    If the cache cannot be written, each process compiles it again.

    Raises:
        CompilerMissing: there is no compiler, or its result cannot be loaded.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux"):
        raise CompilerMissing(f"it is not tested on {sys.platform}")
    if compiler is None:
        raise CompilerMissing("there is no C compiler (gcc, cc) on the path")
    try:
        name = f"decoder-{_fingerprint(compiler)}.so"
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerMissing(f"{compiler} does not run: {error}") from None
    folder = _cache_folder()
    if folder is not None:
        with suppress(OSError):  # absent, incomplete, or of another system
            return _opened(folder / name)
    refused: list[str] = []
    for base in (folder, None) if folder else (None,):
        try:
            return _compiled(compiler, name, base)
        except OSError as error:  # no space or inodes, read-only, noexec, no temporary folder
            refused.append(str(error))
    raise CompilerMissing(f"the library cannot be written or loaded: {refused[-1]}")


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    library.panel.restype = ctypes.c_int64
    return library


def _cache_folder() -> Path | None:
    """The folder of the library; None if it cannot be written."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        folder = base / "gpt-pipeline"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _fingerprint(compiler: str) -> str:
    """A hash of all that the library depends on: several machines may share a home."""
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
    """With torch's OpenMP if it is loaded: two thread pools on the same cores slow each other."""
    loaded = hasattr(ctypes.CDLL(None), "GOMP_parallel")
    return (*_FLAGS, *(("-nodefaultlibs", "-lc") if loaded else ()), "-lm")


def _compiled(compiler: str, name: str, folder: Path | None) -> ctypes.CDLL:
    """Compile the library in a temporary folder, and keep it in `folder` if that is given.

    Raises:
        CompilerMissing: the compiler fails.
        OSError: the folder cannot be written, or the library cannot be loaded.
    """
    if folder is not None:
        _remove_stale(folder)
    with tempfile.TemporaryDirectory(
        prefix=_COMPILING, dir=folder, ignore_cleanup_errors=True
    ) as temporary:
        output = Path(temporary) / name
        _run(compiler, output)
        library = _opened(output)  # stays loaded when its file is removed
        if folder is not None:
            with suppress(OSError):
                output.replace(folder / name)  # atomic: no process loads half of it
        return library


def _run(compiler: str, output: Path) -> None:
    command = [compiler, str(_SOURCES[0]), "-o", str(output), *_link_flags()]
    room = output.with_name("room")
    room.write_bytes(bytes(_ROOM_BYTES))  # a full disk is an OSError here, not a compiler's error
    room.unlink()
    environment = os.environ | {"TMPDIR": str(output.parent)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_COMPILING_S,
            check=False, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerMissing(f"{compiler} does not run: {error}") from None
    if done.returncode != 0:
        reported = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise CompilerMissing(f"{compiler} fails: {reported}")


def _remove_stale(folder: Path) -> None:
    """Remove temporary folders of processes that were killed while compiling."""
    for left in folder.glob(f"{_COMPILING}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 2 * _COMPILING_S:
                shutil.rmtree(left, ignore_errors=True)
