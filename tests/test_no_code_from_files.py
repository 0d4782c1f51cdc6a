"""Nothing that the pipeline reads can run code: held over its source, and tried with a pickle."""

import ast
import pickle
from pathlib import Path

import pytest

import gpt_pipeline
from gpt_pipeline.cli.main import run
from gpt_pipeline.errors import UserError

FILES = sorted(Path(gpt_pipeline.__file__).parent.rglob("*.py"))

MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "runpy",
    "pty",
}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *(f"torch.{name}" for name in ("load", "jit.load", "hub.load", "package.PackageImporter")),
    *(f"{numpy}.load" for numpy in ("np", "numpy")),
    *(f"yaml.{name}" for name in ("load", "load_all", "unsafe_load", "full_load", "full_load_all",
                                  "unsafe_load_all", "Loader", "FullLoader", "UnsafeLoader")),
    *(f"os.{name}" for name in ("system", "popen", "execv", "execve", "execvp", "execl", "execlp",
                                "spawnv", "spawnl", "startfile")),
    "importlib.util.spec_from_file_location",
}  # fmt: skip
KEYWORDS = {"allow_pickle", "trust_remote_code", "shell"}


def dotted(node):
    """`a.b.c` of an attribute; empty where its root is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    root = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{root}.{node.attr}" if root else ""


def is_false(node):
    return isinstance(node, ast.Constant) and node.value is False


def found_in(source):
    """What the source has that could run code from a file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name.split(".")[0] in MODULES or name in ATTRIBUTES}
        elif isinstance(node, ast.Name) and node.id in BUILTINS and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and dotted(node) in ATTRIBUTES:
            found.add(dotted(node))
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS and not is_false(node.value):
            found.add(node.arg)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_of_the_package_can_run_code_that_it_reads(path):
    assert found_in(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from marshal import loads",
        "import shelve",
        "import torch\ntorch.load('a')",
        "from torch import load",
        "import numpy as np\nnp.load('a')",
        "np.fromfile('a', allow_pickle=True)",
        "eval('1')",
        "exec('1')",
        "f = eval",
        "yaml.load('a', Loader=yaml.SafeLoader)",
        "yaml.unsafe_load('a')",
        "yaml.full_load('a')",
        "from yaml import full_load",
        "os.system('a')",
        "subprocess.run('a', shell=True)",
        "load_dataset('a', trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert len(found_in(source)) >= 1


@pytest.mark.parametrize(
    "source", ["model.eval()", "trainer.compile()", "yaml.safe_load('a')", "f(shell=False)"]
)
def test_the_search_lets_harmless_names_pass(source):
    assert found_in(source) == set()


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "you ran me")


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    """A pickle that works, and the file that it would write."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "mark"
    content = pickle.dumps(Bomb(mark))
    pickle.loads(content)
    assert mark.exists()  # or the test would prove nothing
    mark.unlink()
    return content, mark


@pytest.mark.parametrize("command", ["inference", "evaluate", "verify"])
@pytest.mark.parametrize("name", ["model.pth", "model.pkl", "model.pt", "model.bin"])
def test_a_pickle_given_as_a_checkpoint_is_refused_and_not_run(bomb, command, name, capsys):
    content, mark = bomb
    Path(name).write_bytes(content)
    words = [name] if command == "verify" else [f"checkpoint.load={name}"]
    lines = refusal(command, words, capsys)
    assert len(lines) == 1
    assert name.split(".")[0] in lines[0]
    assert not mark.exists()


@pytest.mark.parametrize("command", ["inference", "evaluate", "verify"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "manifest.json"])
def test_a_pickle_in_a_folder_is_refused_and_not_run(bomb, command, file, capsys):
    content, mark = bomb
    folder = Path("small-step-00000001")
    (folder / "training").mkdir(parents=True)
    (folder / file).write_bytes(content)
    words = [str(folder)] if command == "verify" else [f"checkpoint.load={folder}"]
    lines = refusal(command, words, capsys)
    assert len(lines) == 1
    assert str(folder) in lines[0]
    assert not mark.exists()


@pytest.mark.parametrize("key", ["dataset.adopt", "dataset.path", "tokenizer.path", "prompts"])
def test_a_pickle_given_to_another_key_is_not_run(bomb, key, capsys):
    content, mark = bomb
    Path("model.pkl").write_bytes(content)
    words = [f"{key}=model.pkl", "tokenizer=gpt2", "dataset.num_workers=0"]
    words += ["dataset=text"] if key.startswith("dataset") else []
    command = "inference" if key == "prompts" else "data"
    assert len(refusal(command, words, capsys)) == 1
    assert not mark.exists()


def refusal(command, words, capsys):
    """The error lines of a command that must not succeed."""
    try:
        assert run([command, *words]) == 2
    except UserError as error:
        return str(error).splitlines()
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
