"""The documents are correct: commands, keys, tables, modules, tests and links that they name."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from configuration_tables import with_tables

import gpt_pipeline
from gpt_pipeline.cli.commands import COMMANDS
from gpt_pipeline.config import Config, keys
from gpt_pipeline.config.compose import compose

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
FILE_SUFFIXES = (".py", ".yaml", ".json", ".jsonl", ".md", ".sh", ".lock", ".toml", ".safetensors")
each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def document(name):
    return (ROOT / name).read_text(encoding="utf-8")


def section(name, heading):
    """The text of a document below a heading of level 2, up to the next one."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", document(name), re.M | re.S)
    return text


def commands(path):
    """Commands in shell blocks, and those with an override in running text and tables."""
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            yield re.sub(r"\s+#.*", "", line)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"`!?((?:gpt-pipeline|make) [a-z]+ [^`]*=[^`]*)`", prose)


def check_benchmark(name, *words):
    """A benchmark exists, and its source has the options."""
    source = (ROOT / "bench" / f"{name}.py").read_text(encoding="utf-8")
    for word in words:
        if word.startswith("--"):
            assert f'"{word}"' in source, f"bench/{name}.py has no {word}"


def check_command(line):
    """Check one line of a document as far as possible without running it."""
    words = shlex.split(line)
    if words[0] == ".venv/bin/python":
        assert (ROOT / words[1]).is_file(), line
        return
    if words[0] == "make":
        target, arguments = words[1], []
        assert target in TARGETS, line
        for word in words[2:]:
            name, _, value = word.partition("=")
            assert f"$({name})" in MAKEFILE, line
            if name == "ARGS":
                arguments = shlex.split(value)
        if target == "bench":
            check_benchmark(*arguments)
        elif target == "test":
            assert all((ROOT / word).exists() for word in arguments if "/" in word), line
        elif target in COMMANDS:
            compose(arguments)
        elif target != "lock":  # which gives them to uv
            assert not arguments, line
        return
    assert words[0] == "gpt-pipeline", line
    assert words[1] in COMMANDS, line
    compose([word for word in words[2:] if "=" in word])


@each_document
def test_every_command_in_the_documents_is_accepted(path):
    for line in commands(path):
        check_command(line)


def test_the_readme_shows_how_to_use_every_command():
    used = {shlex.split(line)[1] for line in commands(ROOT / "README.md")}
    assert {"train", "inference", "serve", "plan"} <= used


@each_document
def test_every_key_in_the_documents_exists(path):
    if path.name == "python-api.md":
        return  # there, model.config is an attribute
    known = {key.name for key in keys(Config)}
    sections = {name.split(".")[0] for name in known if "." in name}
    prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    words = [word for code in re.findall(r"`([^`]+)`", prose) for word in code.split()]
    names = [word.partition("=")[0] for word in words if not word.endswith(FILE_SUFFIXES)]
    for name in names:
        if re.fullmatch(r"[a-z_]+\.[a-z_]+", name) and name.split(".")[0] in sections:
            assert name in known, f"{path.name} names {name}"


def test_the_tables_of_the_configuration_are_those_of_the_schema():
    text = document("docs/configuration.md")
    assert with_tables(text) == text, "run: make docs"
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == {"commands", "groups", "keys"}


def test_the_modules_of_the_architecture_are_those_of_the_package():
    package = Path(gpt_pipeline.__file__).parent
    parts = {
        path.name + ("/" if path.is_dir() else "")
        for path in package.iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }
    rows = re.findall(r"^\| `([^`]+)` \|", section("docs/architecture.md", "Modules"), re.M)
    assert sorted(rows) == sorted(parts)


def test_every_file_that_the_documents_name_exists():
    package = Path(gpt_pipeline.__file__).parent
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|sh))`", text):
            places = (ROOT / name, package / name)
            assert any(place.is_file() for place in places), f"{path.name} names {name}"


def test_every_guarantee_names_its_tests():
    text = document("docs/guarantees.md").split("## Not guaranteed")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    rows = [line for line in rows if not line.startswith(("| ---", "| guarantee |"))]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[^`]+)`", row.rsplit(" | ", 1)[1])
        assert named, row
        for name in named:
            assert re.search(r"^def test_", (ROOT / name).read_text(encoding="utf-8"), re.M), name


def test_the_error_codes_and_metrics_of_the_server_are_documented():
    package = Path(gpt_pipeline.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in (package / "serve").glob("*.py"))
    text = document("docs/serving.md")
    codes = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| \d{3} .*$", text, re.M)))
    assert set(codes) == set(re.findall(r'(?:code=|TOO_LONG = )"([a-z_]+)"', source))
    metrics = re.findall(r"`gpt_pipeline_([a-z0-9_]+?)(?:_total|_seconds)?`", text)
    assert len(metrics) > 10
    for name in metrics:
        assert f'"{name}"' in source or f'"gpt_pipeline_{name}"' in source, name


@each_document
def test_links_between_the_documents_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text):
        linked = path.parent / target if target else path
        assert linked.exists(), f"{path.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings}
            assert anchor in slugs, f"{path.name} links to {target}#{anchor}"


def test_make_help_lists_every_target():
    described = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert described == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_what_make_runs_may_keep_its_bytecode(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    words = ["make", "--silent", "--eval=seen: ; @env", "seen"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "PATH=" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout


def test_make_clean_never_touches_a_checkpoint():
    (recipe,) = re.findall(r"^clean:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    lines = [line.split() for line in recipe.splitlines() if line.startswith("\trm -rf")]
    removed = {word for line in lines for word in line}
    assert {"rm", "data", "outputs"} <= removed
    assert not removed & {"checkpoints", "checkpoints/", "models", "*", "."}
