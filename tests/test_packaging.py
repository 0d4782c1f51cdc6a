"""What is installed: the two lock files, the Makefile's choices, and the wheel."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gpt_pipeline"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK, DEV_LOCK = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
ENVIRONMENTS = [
    {
        "python_version": version, "python_full_version": f"{version}.4",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
        "sys_platform": system, "platform_system": name, "platform_machine": machine,
        "os_name": "nt" if system == "win32" else "posix", "extra": "",
    }
    for version in ("3.10", "3.11", "3.12", "3.13")
    for system, name, machine in (
        ("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"),
        ("darwin", "Darwin", "arm64"), ("win32", "Windows", "AMD64"),
    )
]  # fmt: skip
OWN_EXTRA = re.compile(r"gpt-pipeline\[(.*)\]")


@dataclass(frozen=True)
class Pin:
    """An entry of a lock file."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]
    parents: frozenset[str]

    def applies(self, environment: dict[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(environment)


def pins(text: str) -> Iterator[Pin]:
    for entry in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        requirement = Requirement(entry.partition("\\\n")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        parents = re.findall(r"^    #(?: via|  ) +(?!-c )([\w.-]+)", entry, re.MULTILINE)
        yield Pin(
            requirement.name, specifier.version, requirement.marker,
            frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", entry)), frozenset(parents),
        )  # fmt: skip


def required(extras: list[str]) -> list[Requirement]:
    """What pyproject.toml asks for, with what its extras name of each other."""
    found = list(PROJECT["dependencies"])
    while extras:
        for line in EXTRAS[extras.pop()]:
            own = OWN_EXTRA.fullmatch(line)
            extras += own[1].split(",") if own else []
            found += [] if own else [line]
    return [Requirement(line) for line in found]


@pytest.fixture(scope="module")
def locks() -> dict[Path, list[Pin]]:
    return {path: list(pins(path.read_text(encoding="utf-8"))) for path in (LOCK, DEV_LOCK)}


@pytest.mark.parametrize("path", [LOCK, DEV_LOCK], ids=lambda path: path.name)
def test_a_lock_file_has_hashes_and_names_no_host(locks, path):
    assert len(locks[path]) > 100
    assert [pin.name for pin in locks[path] if not pin.hashes] == []
    assert "://" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "extras"), [(LOCK, ["all"]), (DEV_LOCK, sorted(EXTRAS))], ids=["lock", "dev lock"]
)
def test_a_lock_file_agrees_with_pyproject(locks, path, extras):
    wanted = required(list(extras))
    for environment in ENVIRONMENTS:
        found = {pin.name: pin.version for pin in locks[path] if pin.applies(environment)}
        for requirement in wanted:
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = found[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), requirement
    direct = {pin.name for pin in locks[path] if "gpt-pipeline" in pin.parents}
    assert direct == {canonicalize_name(requirement.name) for requirement in wanted}


def test_the_second_lock_file_contains_the_first(locks):
    for environment in ENVIRONMENTS:
        runs, dev = (
            {(pin.name, pin.version, pin.hashes) for pin in locks[path] if pin.applies(environment)}
            for path in (LOCK, DEV_LOCK)
        )
        assert runs < dev


def imported() -> set[str]:
    """The top-level modules that the package imports, other than its own and the standard ones."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                (name,) = node.args
                names |= {name.value.split(".")[0]} if isinstance(name, ast.Constant) else set()
    return names - sys.stdlib_module_names - {"gpt_pipeline", "_typeshed"}


def test_requirements_lock_has_every_library_that_the_package_imports(locks):
    providers = importlib.metadata.packages_distributions()
    locked = {pin.name for pin in locks[LOCK]}
    absent = [
        name for name in imported()
        if not locked & {canonicalize_name(provider) for provider in providers.get(name, [name])}
    ]  # fmt: skip
    assert absent == []


def test_the_package_imports_every_library_that_it_requires():
    modules = {"hydra-core": "hydra", "pyyaml": "yaml"}
    for requirement in required(["all"]):
        name = canonicalize_name(requirement.name)
        assert modules.get(name, name.replace("-", "_")) in imported()


def test_messages_name_extras_that_make_install_installs():
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"how_to_install\(['\"](\w+)['\"]\)", sources))
    assert named == set(EXTRAS) - {"all", "dev"}
    assert EXTRAS["all"] == [f"gpt-pipeline[{','.join(sorted(named))}]"]
    assert sources.count("pip install") == 1  # in how_to_install


UV = """#!/usr/bin/env bash
set -eu
[[ $1 == pip ]] || exit 0                        # uv venv
echo "$*" >> calls
for word in "$@"; do
  [[ $word == - ]] && cat > "given-$(wc -l < calls)"
done
exit 0
"""
"""A uv that writes down what it is asked for, and installs nothing."""

PYTHON = """#!/usr/bin/env bash
case "$*" in
  *requires*) if grep -q cuda-index calls; then echo "error: no CPU build" >&2; exit 1; fi ;;
  *) echo 2.15.0+cpu ;;
esac
"""
"""A .venv/bin/python that finds a CPU build of torch, unless it came from `cuda-index`."""


class Checkout:
    """A folder with the Makefile and the lock files, and programs that install nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in (ROOT / "Makefile", ROOT / "pyproject.toml", LOCK, DEV_LOCK):
            (folder / path.name).write_bytes(path.read_bytes())
        for name, text in (("bin/uv", UV), (".venv/bin/python", PYTHON)):
            program = folder / name
            program.parent.mkdir(parents=True)
            program.write_text(text)
            program.chmod(0o755)
        for name in ("index", "cuda-index"):
            (folder / name).mkdir()

    def make(self, *words: str) -> tuple[int, str, list[str]]:
        """Exit code and output of `make`, and how it called uv."""
        calls = self.folder / "calls"
        calls.write_text("")
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "TORCH", "MFLAGS"))
        }
        done = subprocess.run(
            ["make", *words], cwd=self.folder, text=True, capture_output=True,
            env=kept | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    def installed(self, calls: list[str], number: int) -> set[str]:
        """The names that the call of that number was asked to install, all with hashes."""
        assert "--require-hashes -r -" in calls[number]
        assert calls[number].startswith("pip install ")
        return {pin.name for pin in pins((self.folder / f"given-{number + 1}").read_text())}


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


def test_install_takes_one_lock_file_and_install_dev_adds_the_other(checkout, locks):
    code, out, calls = checkout.make("install")
    assert (code, ".venv has " in out) == (0, True), out
    assert checkout.installed(calls, 0) == {pin.name for pin in locks[LOCK]}
    code, out, calls = checkout.make("install-dev")
    assert code == 0
    assert checkout.installed(calls, 0) == {pin.name for pin in locks[DEV_LOCK]}
    for target in ("install", "install-dev", "install"):  # nothing changed
        assert checkout.make(target)[2] == []
    (checkout.folder / "requirements.lock").touch()
    calls = checkout.make("install")[2]
    assert not any(word in call for call in calls for word in ("sync", "uninstall"))


def test_lint_test_and_bench_install_what_they_need(checkout):
    checkout.make("install")
    for target in ("lint", "test", "format", "bench"):
        assert "requirements-dev.lock" in checkout.make("-n", target)[1]
    for target in ("train", "inference", "serve", "evaluate"):
        assert "requirements-dev.lock" not in checkout.make("-n", target)[1]


def test_a_cpu_build_of_torch_comes_from_its_index_without_what_cuda_needs(checkout, locks):
    code, out, calls = checkout.make("install", "TORCH=cpu", "TORCH_INDEX=index")
    assert code == 0
    assert "torch 2.15.0+cpu from TORCH_INDEX, its hash not checked" in out
    assert "--no-index --find-links index" in calls[0]
    assert "--require-hashes" not in calls[0]
    kept = checkout.installed(calls, 2)
    left_out = [pin for pin in locks[LOCK] if pin.name not in kept]
    names = {pin.name for pin in left_out}
    assert {"torch", "triton", "nvidia-cudnn-cu13"} < names
    assert {"sympy", "jinja2", "networkx", "fsspec", "typing-extensions"} < kept
    for pin in left_out:  # nothing that another library needs
        assert pin.parents <= names | {"gpt-pipeline"}, pin.name
    # all that torch needs on Linux alone, which is where it has CUDA
    of_torch = {pin.name for pin in locks[LOCK] if pin.parents == {"torch"} and pin.marker}
    assert {name for name in of_torch if name not in kept} >= {"cuda-bindings", "triton"}
    assert calls[1].startswith("pip uninstall")  # a CUDA build may have been there


def test_the_choice_of_torch_is_kept_until_another_one_is_made(checkout):
    checkout.make("install", "TORCH=cpu", "TORCH_INDEX=index")
    assert checkout.make("install")[2] == []
    calls = checkout.make("install-dev")[2]
    assert "torch" not in checkout.installed(calls, 0)
    (checkout.folder / "requirements.lock").touch()
    calls = checkout.make("install")[2]
    assert "--find-links index" in calls[0]
    calls = checkout.make("install", "TORCH=locked")[2]
    assert "--reinstall-package torch" in calls[0]
    assert "torch" in checkout.installed(calls, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["TORCH=gpu"], "TORCH must be cpu or locked; got gpu"),
        (["TORCH=cpu"], "TORCH=cpu needs TORCH_INDEX=..., the URL of a package index or a folder"),
        (["TORCH=cpu", "TORCH_INDEX=none"], "got 'none'"),
        (["TORCH=cpu", "TORCH_INDEX=cuda-index"], "no CPU build"),
    ],
)
def test_a_choice_of_torch_that_cannot_be_is_an_error(checkout, words, message):
    code, out, _ = checkout.make("install", *words)
    assert code != 0
    assert message in out
    assert "requirements.lock" in checkout.make("-n", "install", "TORCH=locked")[1]


def build(target: str, source: Path, folder: Path) -> Path:
    """What hatchling builds of a tree; it needs no network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built from the source distribution, as `uv build` builds it."""
    pytest.importorskip("hatchling", reason="needs hatchling: make install-dev")
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(build("sdist", ROOT, folder / "sdist")) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.glob("gpt_pipeline-*")
    return zipfile.ZipFile(build("wheel", source, folder / "wheel"))


def test_the_wheel_has_every_file_of_the_package_and_the_shipped_model(wheel):
    wanted = {
        f"gpt_pipeline/{path.relative_to(PACKAGE).as_posix()}": path
        for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }  # fmt: skip
    models = ROOT / "models"
    for path in (*(models / "laptop-tinystories").iterdir(), models / "README.md"):
        wanted[f"gpt_pipeline/shipped/{path.relative_to(models).as_posix()}"] = path
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == set(wanted)
    assert {Path(name).suffix for name in found} >= {".yaml", ".c", ".h", ".html", ".js", ".css"}
    for name, path in wanted.items():
        assert wheel.read(name) == path.read_bytes(), name


def test_the_metadata_of_the_wheel_are_ready_for_an_index(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(wheel.read(name).decode("utf-8"))
    assert metadata["Name"] == "gpt-pipeline"
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()
    allowed = Requirement(f"python{metadata['Requires-Python']}").specifier
    classified = re.findall(r"Python :: (3\.\d+)", str(metadata.get_all("Classifier")))
    possible = [f"3.{minor}" for minor in range(20)]
    assert classified == [
        v for v in possible if Requirement(f"python{allowed}").specifier.contains(v)
    ]
    assert set(EXTRAS) == set(metadata.get_all("Provides-Extra"))
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_the_installed_wheel_generates_with_the_shipped_model_in_any_folder(wheel, tmp_path):
    """A new environment has the wheel; the libraries are those of this one."""
    environment, elsewhere = tmp_path / "env", tmp_path / "elsewhere"
    venv.create(environment, symlinks=os.name != "nt")
    python = environment / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    wheel.extractall(site)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere.mkdir()
    script = (
        "import importlib.metadata as m\n"
        "(script,) = m.distribution('gpt-pipeline').entry_points\n"
        "raise SystemExit(script.load()())\n"
    )
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", script, "inference", "model.max_new_tokens=4", "format=json"],
        cwd=elsewhere, env=kept, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"checkpoint: {site / 'gpt_pipeline' / 'shipped' / 'laptop-tinystories'}" in done.stderr
    assert len(json.loads(done.stdout)["tokens"]) == 4
