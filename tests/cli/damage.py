"""Ways to damage what a run leaves, and what `verify` must say of each."""

import re
from pathlib import Path

CHECKPOINT = Path("checkpoints/small-step-00000012")
EARLIER = Path("checkpoints/small-step-00000010")
TRAIN, VAL = Path("data/text/dataset_train.bin"), Path("data/text/dataset_val.bin")


def run_folder():
    (folder,) = Path("outputs/train").iterdir()
    return folder


def lines_of(folder):
    return (folder / "metrics.jsonl").read_text().splitlines(keepends=True)


def flip(path, place=-5):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def cut(path, number=3):
    path.write_bytes(path.read_bytes()[:-number])


def append(path, content):
    path.write_bytes(path.read_bytes() + content)


def empty(path):
    path.write_bytes(b"")


def swap(one, other):
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def another_version(path):
    path.write_text(re.sub(r'"format_version": \d+', '"format_version": 99', path.read_text()))


def damaged(result, path, *parts):
    """Only `path` is damaged, the reason has all the parts, and the rest was verified."""
    code, out, err = result
    lines = out.splitlines()
    assert code == 2, out + err
    assert [line for line in lines if line.startswith("damaged")] == [f"damaged  {path}"]
    assert [line for line in lines if line.startswith("ok")] != []
    reasons = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(reasons) == 1, err
    for part in (*parts, str(path).removesuffix(".bin")):  # a token file's, or its sidecar's
        assert part in reasons[0]
    assert "Traceback" not in err
