"""Who may import whom, read from the source; and what starting up may load."""

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import gpt_pipeline

PACKAGE = Path(gpt_pipeline.__file__).parent
OWN = "gpt_pipeline"

MAY_IMPORT = {
    "errors": set(),
    "best_effort": set(),
    "locking": set(),
    "durable": {"errors"},
    "config": {"errors"},
    "tokenizer": {"durable", "errors"},
    "metrics": {"durable", "errors", "runtime"},
    "plotting": {"errors"},
    "dataset": {"config", "durable", "errors", "locking", "runtime", "tokenizer"},
    "runtime": set(),
    "model": {"config", "errors"},
    "generation": {"config", "errors", "model"},
    "checkpoint": {"config", "durable", "errors", "locking", "model", "tokenizer"},
    "training": {"best_effort", "checkpoint", "config", "errors", "metrics", "model"},
    "planning": {"checkpoint", "config", "metrics", "model", "tokenizer", "training"},
    "serve": {"checkpoint", "config", "errors", "generation", "model", "tokenizer"},
}
PLACES = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "datasets": {"dataset"},
    "fastapi": {"serve"},
    "psutil": {"metrics"},
    "huggingface_hub": {"dataset"},
    "matplotlib": {"plotting"},
    "pyarrow": {"dataset"},
    "zstandard": {"dataset"},
    "prometheus_client": {"serve"},
    "pydantic": {"config", "serve"},
    "safetensors": {"checkpoint"},
    "starlette": {"serve"},
    "tokenizers": {"tokenizer"},
    "uvicorn": {"serve"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    if part in ("cli", "__main__"):
        return  # may import all
    own = {name.split(".")[1] for name in imports(path) if name.split(".")[0] == OWN}
    allowed = MAY_IMPORT.get(part, set()) | {part, "__version__"}
    assert own <= allowed, f"{part} imports {sorted(own - allowed)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_third_parties_stay_in_their_place(path):
    for name in imports(path):
        places = PLACES.get(name.split(".")[0])
        assert places is None or part_of(path) in places, f"{path} imports {name}"


def test_every_part_of_the_package_is_in_the_table():
    parts = {part_of(path) for path in FILES} - {"__init__", "__main__", "cli"}
    assert parts == set(MAY_IMPORT)


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
        if part_of(path) in ("cli", "__main__"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert "print" not in names, path
        assert "sys.exit" not in path.read_text(encoding="utf-8"), path
