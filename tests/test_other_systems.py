"""Windows and macOS by simulation: what they lack is taken away, and everything is imported."""

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest

WITHOUT = {
    "windows": """
        for name in ("resource", "fcntl", "termios", "pwd", "grp", "readline"):
            sys.modules[name] = None
        for name in ("sysconf", "sched_getaffinity", "getuid", "fork", "mkfifo", "statvfs"):
            delattr(os, name)
        for name in ("SIGKILL", "SIGHUP", "pthread_sigmask"):
            delattr(signal, name)
        sys.platform = "win32"
        sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *_: None)
        peak = 7_000_000  # what psutil says
    """,
    "macos": """
        delattr(os, "sched_getaffinity")
        sys.platform = "darwin"
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes
    """,
}


EVERYTHING = """
    import importlib, json, os, pkgutil, signal, sys, traceback, types
    import torch, numpy, matplotlib.figure, datasets, uvicorn, schemathesis, psutil
    import multiprocessing.connection, concurrent.futures.process, prometheus_client
    from pathlib import Path
    import hydra, filelock, transformers, tqdm, subprocess, asyncio
    import fastapi.staticfiles, tokenizers, safetensors.torch, pydantic, yaml, tempfile
    import uvicorn.protocols.http.h11_impl
"""
CHECKS = """
    import gpt_pipeline
    for module in pkgutil.walk_packages(gpt_pipeline.__path__, "gpt_pipeline."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    from gpt_pipeline.checkpoint.lock import run_lock
    from gpt_pipeline.cli.signals import stop_signals
    from gpt_pipeline.runtime.memory import available_bytes, held_bytes
    from gpt_pipeline.runtime import memory
    from gpt_pipeline.runtime.memory import peak_memory_bytes
    from gpt_pipeline.inference.backends.native import CompilerMissing, load_library
    from gpt_pipeline.runtime import usable_cores

    memory._MEMINFO = memory._STATUS = memory._CLEAR = Path("nothing")
    known = types.SimpleNamespace(rss=5_000_000, peak_wset=7_000_000)
    psutil.Process = lambda: types.SimpleNamespace(memory_info=lambda: known)
    cpu = torch.device("cpu")
    assert peak <= peak_memory_bytes(cpu) < 2 * peak
    assert 10_000_000 < available_bytes(cpu) < 1 << 50
    assert held_bytes(cpu) > 0
    assert usable_cores() >= 1
    with stop_signals() as request:
        assert not request.stop()
    with run_lock(Path(sys.argv[1]), "small"):
        pass
    try:
        load_library()
    except CompilerMissing as error:
        assert "not tested" in str(error)
    else:
        raise AssertionError
    print(system, "has all", flush=True)
"""
FORKS = """
    for system, without in json.loads(sys.argv[2]).items():
        if os.fork() == 0:  # what is imported so far is imported once for all systems
            code = 1
            try:
                exec(without)
                exec(checks)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.wait()
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Standard output and error of one process that becomes each system in turn."""
    code = dedent(EVERYTHING) + f"checks = {dedent(CHECKS)!r}\n" + dedent(FORKS)
    systems = json.dumps({system: dedent(without) for system, without in WITHOUT.items()})
    words = [sys.executable, "-c", code, str(tmp_path_factory.mktemp("run")), systems]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    return done.stdout.splitlines(), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system's processes cannot fork")
@pytest.mark.parametrize("system", WITHOUT)
def test_every_module_imports_and_reads_the_machine(system, outputs):
    lines, errors = outputs
    assert f"{system} has all" in lines, errors[-4000:]
