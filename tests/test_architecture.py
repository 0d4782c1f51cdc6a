"""Which part may import which, by docs/architecture.md; and what starting up may load."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from textwrap import dedent

import pytest

import gpt_pipeline

PACKAGE = Path(gpt_pipeline.__file__).parent
DOCUMENT = PACKAGE.parents[1] / "docs" / "architecture.md"
FILES = sorted(PACKAGE.rglob("*.py"))
ALL = "all"
ENTRY_POINTS = {"__init__", "__main__"}
"""Files that may import every part: the public API and `python -m gpt_pipeline`."""


@dataclass(frozen=True)
class Source:
    """The modules of a package and what each imports, except for type checking.

    Attributes:
        modules: names relative to the package, such as "cli.main"; a folder is its __init__.py.
        outside: top-level names of other packages that each module imports.
    """

    modules: dict[str, set[str]]
    outside: dict[str, set[str]]

    @classmethod
    def read(cls, package: Path) -> "Source":
        files = {}
        for path in package.rglob("*.py"):
            parts = path.relative_to(package).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)
            files[name] = path
        inside, outside = {}, {}
        for module, path in files.items():
            inside[module], outside[module] = set(), set()
            for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
                top, *rest = name.split(".")
                if top != package.name:
                    outside[module].add(top)
                    continue
                while rest and ".".join(rest) not in files:
                    rest.pop()  # the name of a function, or of a class
                if rest:  # else the package itself, for its version or its folder
                    inside[module].add(".".join(rest))
        return cls(inside, outside)

    def parts(self) -> dict[str, set[str]]:
        """The parts that each part imports."""
        result: dict[str, set[str]] = {}
        for module, targets in self.modules.items():
            own = module.split(".")[0]
            others = {target.split(".")[0] for target in targets} - {own}
            result[own] = result.get(own, set()) | others
        return result

    def users(self, name: str) -> set[str]:
        """The modules that import another package."""
        return {module for module, names in self.outside.items() if name in names}


def imported(tree: ast.AST) -> list[str]:
    """Full names of all imports, those in functions and by importlib included."""
    names = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            names += [name for other in node.orelse for name in imported(other)]
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import: {ast.unparse(node)}"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [each.value for each in node.args if isinstance(each, ast.Constant)]
        names += imported(node)
    return names


def table(text: str, heading: str) -> dict[str, set[str]]:
    """The names in the second column for each name in the first, below a heading of level 2."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    rows = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.strip().startswith("|") or len(cells) < 2 or "`" not in cells[0]:
            continue
        (name,) = re.findall(r"`([^`]+)`", cells[0])
        assert name not in rows, f"{heading} has two rows for {name}"
        listed = set(re.findall(r"`([^`]+)`", cells[1])) or ({ALL} & {cells[1]})
        leftover = re.sub(r"`[^`]+`|[,\s]|\ball\b", "", cells[1])
        assert not leftover, f"{heading}, {name}: cannot read {leftover!r}"
        rows[name.removesuffix(".py").rstrip("/")] = listed
    assert rows, f"no table below {heading}"
    return rows


def import_problems(source: Source, allowed: dict[str, set[str]]) -> list[str]:
    """Parts that are not in the table, imports that exceed it, and permissions without use."""
    actual = {part: names for part, names in source.parts().items() if part not in ENTRY_POINTS}
    problems = [f"{part} has no row" for part in actual.keys() - allowed.keys()]
    problems += [f"{part} does not exist" for part in allowed.keys() - actual.keys()]
    for part in sorted(actual.keys() & allowed.keys()):
        if allowed[part] == {ALL}:
            continue
        problems += [f"{part} imports {name}" for name in sorted(actual[part] - allowed[part])]
        problems += [f"{part} need not import {n}" for n in sorted(allowed[part] - actual[part])]
    return problems


def package_problems(source: Source, places: dict[str, set[str]]) -> list[str]:
    """Other packages that are imported outside their place, are not in the table, or are unused."""
    used = set().union(*source.outside.values()) - sys.stdlib_module_names
    problems = [f"{name} has no row" for name in sorted(used - places.keys())]
    problems += [f"{name} is not imported" for name in sorted(places.keys() - used)]
    for name in sorted(used & places.keys()):
        if places[name] == {ALL}:
            continue
        users = source.users(name)
        for place in places[name]:
            inside = {user for user in users if f"{user}.".startswith(f"{as_module(place)}.")}
            problems += [] if inside else [f"{place} does not import {name}"]
            users = users - inside
        problems += [f"{user} imports {name}" for user in sorted(users)]
    return problems


def as_module(place: str) -> str:
    return place.removesuffix(".py").rstrip("/").replace("/", ".")


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The names of one cycle; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def source() -> Source:
    return Source.read(PACKAGE)


def test_parts_import_what_the_document_allows(source):
    allowed = table(DOCUMENT.read_text(encoding="utf-8"), "Imports")
    assert import_problems(source, allowed) == []


def test_other_packages_are_imported_where_the_document_allows(source):
    places = table(DOCUMENT.read_text(encoding="utf-8"), "Other packages")
    assert package_problems(source, places) == []


def test_no_import_cycle_among_parts_and_none_among_modules(source):
    assert len(source.modules) > 100
    assert cycle(source.modules) == []
    parts = {part: names for part, names in source.parts().items() if part not in ENTRY_POINTS}
    assert cycle(parts) == []


@pytest.fixture
def sample(tmp_path):
    """A package of four parts, whose files a test may add to."""
    package = tmp_path / "gpt"

    def write(**files):
        for name, text in files.items():
            path = package / f"{name.replace('__', '/', 1)}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        return Source.read(package)

    return write


def test_the_checks_find_what_they_look_for(sample):
    source = sample(
        low="import numpy",
        mid__one="from gpt.low import thing\nfrom gpt.mid.two import thing",
        mid__two="def late():\n    from gpt.mid import one",
        top="import importlib\nimportlib.import_module('psutil')\nimport gpt.mid.one",
    )
    assert sorted(cycle(source.modules)) == ["mid.one", "mid.one", "mid.two"]
    rows = {"low": set(), "mid": {"low"}, "top": {"mid"}}
    assert import_problems(source, rows) == []
    assert import_problems(source, {**rows, "mid": set()}) == ["mid imports low"]
    assert import_problems(source, {**rows, "top": {"mid", "low"}}) == ["top need not import low"]
    assert import_problems(source, {**rows, "gone": set()}) == ["gone does not exist"]
    assert import_problems(source, {"low": set(), "mid": {ALL}}) == ["top has no row"]
    places = {"numpy": {ALL}, "psutil": {"top.py"}}
    assert package_problems(source, places) == []
    assert package_problems(source, {"numpy": {"mid"}, "psutil": {"top"}}) == [
        "mid does not import numpy",
        "low imports numpy",
    ]
    assert package_problems(source, {"numpy": {ALL}}) == ["psutil has no row"]


def test_imports_for_type_checking_are_no_cycle(sample):
    source = sample(
        one="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gpt.two import B",
        two="from gpt.one import A",
    )
    assert source.modules == {"one": set(), "two": {"one"}}
    assert cycle(source.modules) == []


def test_a_table_is_read_whole_and_nothing_else():
    text = """
        ## Imports
        Words, `code` | and a bar.

        | part | may import |
        | --- | --- |
        | `a` | |
        | `b/` | `a`, `c` |
        | `d.py` | all |

        ## Next
        | `e` | `a` |
    """
    assert table(dedent(text), "Imports") == {"a": set(), "b": {"a", "c"}, "d": {ALL}}
    with pytest.raises(AssertionError, match="cannot read"):
        table("## Imports\n| `a` | `b` and others |\n", "Imports")


@pytest.mark.parametrize(
    "code",
    ["import gpt_pipeline", "from gpt_pipeline.cli.main import run; run(['--help'])"],
    ids=["import", "help"],
)
def test_starting_up_loads_no_torch(code):
    check = f"import sys; {code}; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0


def test_worker_of_data_preparation_loads_neither_torch_nor_pydantic():
    code = "import gpt_pipeline.dataset.encoding; import sys; "
    code += "sys.exit(bool({'torch', 'pydantic'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_first_step_loads_neither_the_compiler_of_torch_nor_the_plots(tmp_path):
    words = ["train", "model=tiny", "schedule.max_steps=1", f"dataset.data_dir={tmp_path}"]
    words += [f"model.checkpoint_path={tmp_path}", f"hydra.run.dir={tmp_path}/run"]
    code = f"""
        import sys
        from gpt_pipeline.cli.main import run
        from gpt_pipeline.training import Trainer
        def stop_after_step(trainer, *rest):
            slow = {{'torch._dynamo', 'sympy', 'matplotlib'}} & {{*sys.modules}}
            sys.exit(' '.join(slow) or 7 if trainer.state.step == 1 else 8)
        Trainer._evaluate = stop_after_step
        if __name__ == '__main__':
            run({words})
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    assert done.returncode == 7, done.stderr[-1000:]


def test_a_first_token_loads_neither_the_compiler_of_torch_nor_the_plots():
    words = ["inference", "model.max_new_tokens=1", "model.prompt=One day"]
    words += [f"checkpoint.load={PACKAGE.parents[1]}/models/laptop-tinystories"]
    code = f"""
        import sys
        from gpt_pipeline.cli.main import run
        run({words})
        sys.exit(' '.join({{'torch._dynamo', 'sympy', 'matplotlib'}} & {{*sys.modules}}) or 0)
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    assert done.stdout.startswith("One day")
    assert done.returncode == 0, done.stderr[-1000:]


def test_no_part_but_cli_prints_or_exits():
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] in ("cli", "__main__.py"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert "print" not in names, path
        assert "sys.exit" not in path.read_text(encoding="utf-8"), path
