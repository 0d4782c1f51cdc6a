"""The documents tell the truth: tables, file tree, links, commands."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

import gpt_pipeline
from gpt_pipeline.cli.main import COMMANDS
from gpt_pipeline.cli.readme import with_tables
from gpt_pipeline.config.compose import compose

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def shell_commands(path):
    for block in re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            yield re.sub(r"\s+#.*", "", line)


def words_of(line):
    """Words for the config in a `make TARGET ARGS=...` or `gpt-pipeline COMMAND ...` line."""
    words = shlex.split(line)
    if words[0] == "make":
        assert words[1] in TARGETS, line
        if words[1] in ("test", "lint", "format"):
            return []
        given = [word.removeprefix("ARGS=") for word in words[2:]]
        return shlex.split(given[0]) if given else []
    assert words[0] == "gpt-pipeline", line
    assert words[1] in COMMANDS, line
    return words[2:]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_documents_is_taken(path):
    for line in shell_commands(path):
        compose(words_of(line))


def test_the_commands_in_running_text_are_taken():
    inline = re.findall(r"`(gpt-pipeline \w+ [^`]*=[^`]*)`", README)
    assert len(inline) >= 1
    for line in inline:
        compose([word for word in words_of(line) if "=" in word])


def test_the_tables_of_the_readme_are_those_of_the_schema():
    assert with_tables(README) == README, "run: python -m gpt_pipeline.cli.readme"


def test_the_file_tree_of_the_readme_is_the_tree():
    package = Path(gpt_pipeline.__file__).parent
    parts = {
        path.name + ("/" if path.is_dir() else "")
        for path in package.iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }
    (tree,) = re.findall(r"src/gpt_pipeline/\n(.*?)tests/", README, re.DOTALL)
    assert {line.split()[0] for line in tree.splitlines()} == parts


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_the_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


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
