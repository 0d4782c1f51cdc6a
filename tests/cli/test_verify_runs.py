"""`gpt-pipeline verify` of run folders: metrics, plots, and the config beside them."""

import json

import pytest
from damage import (
    append,
    cut,
    damaged,
    empty,
    flip,
    lines_of,
    run_folder,
    swap,
)


def edited(change):
    def damage(folder):
        lines = lines_of(folder)
        (folder / "metrics.jsonl").write_text("".join(change(lines)))

    return damage


def without(key):
    def change(lines):
        entry = json.loads(lines[3])
        del entry[key]
        return [*lines[:3], json.dumps(entry) + "\n", *lines[4:]]

    return edited(change)


RUN_DAMAGES = {
    "a torn last line": (lambda f: cut(f / "metrics.jsonl", 9), ", the last, is incomplete"),
    "a last line without newline": (lambda f: cut(f / "metrics.jsonl", 1), "resuming the run"),
    "a torn line between": (edited(lambda x: [x[0], x[1][:9] + "\n", *x[2:]]), "line 2 must be"),
    "a binary line": (edited(lambda x: [*x[:4], "\x00\x1b[2J\n", *x[4:]]), "line 5 must be"),
    "an empty line": (edited(lambda x: [*x[:4], "\n", *x[4:]]), "line 5 must be a JSON object"),
    "a list for a line": (edited(lambda x: ["[1]\n", *x]), "must be a JSON object; got list"),
    "NaN": (edited(lambda x: [x[0].replace("}", ', "a": NaN}'), *x[1:]]), "line 1 must be a JSON"),
    "deep nesting": (edited(lambda x: ["[" * 60000 + "\n", *x]), "line 1 must be a JSON object"),
    "an endless line": (edited(lambda x: ["1" * 70000 + "\n", *x]), "must have at most 65,536"),
    "a line without step": (without("step"), "line 4 must have an integer step; got none"),
    "a line without tokens": (without("tokens"), "line 4 must have an integer tokens"),
    "a step that is text": (
        edited(lambda x: [x[0].replace('"step": 1', '"step": "1"'), *x[1:]]), "got '1'",
    ),
    "steps that fall": (edited(lambda x: [*x[:6], x[2], *x[6:]]), "be before step 6; got step 3"),
    "a line twice": (edited(lambda x: [*x[:3], x[2], *x[3:]]), "repeats step 3;"),
    "empty metrics": (lambda f: empty(f / "metrics.jsonl"), "metrics.jsonl is empty"),
    "missing metrics": (lambda f: (f / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
    "swapped files": (lambda f: swap(f / "metrics.jsonl", f / "train.log"), "line 1 must be"),
    "a flipped bit in a plot": (lambda f: flip(f / "loss_plot.png", 900), "checksum differs"),
    "a flipped bit in a plot's name": (lambda f: flip(f / "lr_plot.png", 1), "no PNG signature"),
    "a cut plot": (lambda f: cut(f / "loss_plot.png"), "truncated"),
    "a plot cut in the middle": (lambda f: cut(f / "loss_plot.png", 5000), "truncated"),
    "an empty plot": (lambda f: empty(f / "lr_plot.png"), "lr_plot.png"),
    "a plot with a tail": (lambda f: append(f / "lr_plot.png", b"x"), "bytes after its end"),
    "a missing config": (lambda f: (f / ".hydra/config.yaml").unlink(), "config.yaml is missing"),
    "an empty config": (lambda f: empty(f / ".hydra/config.yaml"), "must hold keys"),
    "a config that is no YAML": (
        lambda f: (f / ".hydra/config.yaml").write_text("a: [1, {"), "config.yaml is damaged",
    ),
    "a config with an object of Python": (
        lambda f: (f / ".hydra/config.yaml").write_text("a: !!python/name:os.system\n"),
        "could not determine a constructor",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "part"), RUN_DAMAGES.values(), ids=RUN_DAMAGES)
def test_every_damage_to_a_run_folder_is_found(trained, damage, part):
    folder = run_folder()
    damage(folder)
    damaged(trained("verify"), folder, part)


def test_training_and_validation_lines_of_one_step_may_be_two(trained):
    folder = run_folder()
    extra = '{"step": 12, "tokens": 3072, "val_loss": 1.5}\n'
    lines = [line for line in lines_of(folder) if json.loads(line)["step"] < 12]
    train = '{"step": 12, "tokens": 3072, "train_loss": 1.5}\n'
    (folder / "metrics.jsonl").write_text("".join([*lines, train, extra]))
    assert trained("verify", folder)[0] == 0
    (folder / "metrics.jsonl").write_text("".join([*lines, train, extra, extra]))
    assert "repeats step 12;" in trained("verify", folder)[2]
