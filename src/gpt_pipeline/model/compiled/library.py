"""decoder.c as a library: compiled once a machine, kept in the user's cache, loaded."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_SOURCES = tuple(
    Path(__file__).with_name(name) for name in ("decoder.c", "greatest.h", "products.h")
)
_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-fopenmp", "-shared")
_COMPILING_S = 120


class CompilerMissing(Exception):
    """The library cannot be had here; the message says why, as the end of a sentence."""


@cache
def load_library() -> ctypes.CDLL:
    """The library, from the cache or compiled now, which takes about a second.

    Raises:
        CompilerMissing: no compiler is there, or what it makes cannot be loaded.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux"):  # others' compilers were not tried
        raise CompilerMissing(f"on {sys.platform}, where it was not tried")
    if compiler is None:
        raise CompilerMissing("as there is no C compiler (gcc, cc) on the path")
    path = _folder() / f"decoder-{_fingerprint(compiler)}.so"
    if path.exists():
        try:
            return _opened(path)
        except OSError:
            pass  # half of a file, or made for another system: made anew
    _compile(compiler, path)
    try:
        return _opened(path)
    except OSError as error:
        raise CompilerMissing(f"as what {compiler} makes cannot be loaded: {error}") from None


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    library.panel.restype = ctypes.c_int64
    return library


def _folder() -> Path:
    """Where the library is kept; a folder of this process alone where nothing can be kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = base / "gpt-pipeline"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="gpt-pipeline-"))


def _fingerprint(compiler: str) -> str:
    """Of all that the library depends on: a home may be shared by machines."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
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


def _compile(compiler: str, path: Path) -> None:
    """Beside its place first, then moved there: nobody loads half of it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        words = [compiler, str(_SOURCES[0]), "-o", str(made), *_link_flags()]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=_COMPILING_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompilerMissing(f"as {compiler} does not run: {error}") from None
        if done.returncode != 0:
            told = (done.stderr.strip().splitlines() or ["nothing"])[0]
            raise CompilerMissing(f"as {compiler} fails: {told}")
        made.replace(path)
