"""Random damage to checkpoints and token files: is every one found before the file is used?"""

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from small_run import finish, last_checkpoint, start

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.dataset import verify_token_file
from gpt_pipeline.errors import UserError


def _flip(data: bytearray, at: int, rng: random.Random) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, at: int, rng: random.Random) -> None:
    data[at : at + 64] = rng.randbytes(len(data[at : at + 64]))


def _cut(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at:]


def _remove(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at : at + rng.randint(1, 64)]


def _zero(data: bytearray, at: int, rng: random.Random) -> None:
    data[at : at + 512] = bytes(len(data[at : at + 512]))


def _grow(data: bytearray, at: int, rng: random.Random) -> None:
    data += rng.randbytes(rng.randint(1, 64))


WITHIN: dict[str, Callable[[bytearray, int, random.Random], None]] = {
    "flipped bit": _flip,
    "64 random bytes": _overwrite,
    "cut tail": _cut,
    "bytes left out": _remove,
    "512 zeros": _zero,
    "grown": _grow,
}
OF_FILES = ("empty file", "missing file", "swapped files", "foreign file", "other version")


def damage_once(folder: Path, rng: random.Random, kind: str) -> tuple[str, bool]:
    """Damage one file of a copy of a checkpoint or of the data.

    Returns:
        What was damaged (`checkpoint` or `token file`), and whether it was found.
    """
    what = rng.choice(("checkpoint", "token file"))
    item = (
        last_checkpoint(folder) if what == "checkpoint" else folder / "data/text/dataset_train.bin"
    )
    kept = item if what == "checkpoint" else item.parent
    copy = folder / "damaged" / kept.name
    shutil.copytree(kept, copy)
    names = sorted(path for path in copy.rglob("*") if path.is_file())
    if what == "token file":
        names = [path for path in names if path.stem == "dataset_train"]
    try:
        _apply(kind, rng.choice(names), names, rng)
        try:
            if what == "checkpoint":
                open_checkpoint(copy)
            else:
                verify_token_file(copy / "dataset_train.bin")
        except UserError:
            return what, True
        return what, False
    finally:
        shutil.rmtree(folder / "damaged")


def _apply(kind: str, path: Path, names: list[Path], rng: random.Random) -> None:
    if kind in WITHIN:
        before = path.read_bytes()
        data = bytearray(before)
        while bytes(data) == before:  # zeros over zeros are no damage
            WITHIN[kind](data, rng.randrange(len(data)), rng)
        path.write_bytes(data)
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "missing file":
        path.unlink()
    elif kind == "swapped files":
        other = rng.choice([name for name in names if name != path])
        left, right = path.read_bytes(), other.read_bytes()
        path.write_bytes(right)
        other.write_bytes(left)
    elif kind == "foreign file" and len(names) > 2:
        path.write_bytes(rng.randbytes(path.stat().st_size))
    else:  # a token file has no folder of its own: another's sidecar is its foreign file
        described = names[0].parent / ("manifest.json" if len(names) > 2 else "dataset_train.json")
        later, count = re.subn(
            r'(?<="format_version": )\d+',
            lambda version: str(int(version[0]) + 1),
            described.read_text(),
            count=1,
        )
        assert count == 1, described
        described.write_text(later)


def damage_many(folder: Path, count: int, seed: int) -> list[list[object]]:
    """Rows of a table: kind of damage, and for checkpoints and token files how many were found."""
    rng = random.Random(seed)
    kinds = [*WITHIN, *OF_FILES]
    done: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for number in range(count):
        kind = kinds[number % len(kinds)]
        what, detected = damage_once(folder, rng, kind)
        done[kind, what] += 1
        found[kind, what] += detected
    rows: list[list[object]] = []
    for kind in kinds:
        pairs = [(found[kind, what], done[kind, what]) for what in ("checkpoint", "token file")]
        missed = sum(all_ - seen for seen, all_ in pairs)
        rows.append([kind, *(f"{seen} of {all_}" for seen, all_ in pairs), missed])
    total = sum(done.values()) - sum(found.values())
    rows.append(["all", "", f"{sum(found.values())} of {sum(done.values())}", total])
    return rows


def resume_after(folder: Path, words: list[str], rng: random.Random) -> str:
    """Damage the newest checkpoint, and see that a resume falls back, says so, and sets it
    aside.
    """
    newest = last_checkpoint(folder)
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    _flip(data, rng.randrange(len(data)), rng)
    path.write_bytes(data)
    code, text = finish(start("train", *words, folder=folder))
    aside = newest.with_name(newest.name + ".damaged")
    if code == 0 and aside.is_dir() and f"set aside as checkpoints/{aside.name}" in text:
        return "fell back, said so, kept it aside"
    return text
