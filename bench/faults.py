"""Everything that can happen to a run, done to real ones: make bench ARGS="faults [PART ...]".

    kills [N]     kill the command at random moments; what comes out must equal the whole run
    damage [N]    damage checkpoints and token files at random; every damage must be found
    disk          a full, a read-only and a vanished disk while checkpoints are written
    nan           steps that are not finite, and a learning rate of 1e3: what the run says

Without a part: all of them, with 100 kills and 500 damages (about 20 minutes on 2 cores).
"""

import json
import random
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fault_disk
from fault_damage import damage_many, resume_after
from fault_kills import PLACES, WORDS, differences, run_killed, run_whole
from small_run import LONG, corpus, finish, start, table

KILLS_A_RUN = 5
SEED = 7


def kills(folder: Path, count: int) -> bool:
    """The table of kills by place; whether every run came out identical."""
    whole = run_whole(folder / "whole")
    runs = -(-count // KILLS_A_RUN)

    def one(number: int) -> tuple[list[str], list[str]]:
        place = folder / f"run-{number}"
        places, failed = run_killed(place, random.Random(SEED + number))
        return places, [failed] if failed else differences(whole, place)

    with ThreadPoolExecutor(2) as pool:  # processes of one thread each, two at a time
        results = list(pool.map(one, range(runs)))
    happened: Counter[str] = Counter()
    spoiled: Counter[str] = Counter()
    for places, odd in results:
        happened.update(places)
        spoiled.update(places if odd else [])
    rows = [[p, happened[p], happened[p] - spoiled[p], spoiled[p]] for p in PLACES]
    rows.append(["all", happened.total(), happened.total() - spoiled.total(), spoiled.total()])
    table(
        f"Kills (SIGKILL) in {runs} runs of {' '.join(WORDS[-3:])}: weights, optimizer, "
        "metrics.jsonl and order of the data against the run that nothing happened to",
        ["killed in", "kills", "in identical runs", "in others"],
        rows,
    )
    for number, (places, odd) in enumerate(results):
        if odd:
            print(f"run {number}, killed in {', '.join(places)}: differs in {odd}")
    return not spoiled


def damage(folder: Path, count: int) -> bool:
    """The table of damages; whether all were found."""
    folder.mkdir()
    (folder / "stories.txt").write_text(corpus(), encoding="utf-8")
    code, text = finish(start("train", *LONG, folder=folder))
    if code != 0:
        raise RuntimeError(text)
    rows = damage_many(folder, count, SEED)
    table(f"{count} random damages", ["damage", "checkpoints", "token files", "not found"], rows)
    print(
        "\na flipped bit in the newest checkpoint: "
        f"{resume_after(folder, LONG, random.Random(SEED))}"
    )
    return rows[-1][-1] == 0


def disk(folder: Path) -> bool:
    """The table of disks; whether each run did what it should."""
    if not fault_disk.can_mount(folder / "try"):
        print("\ndisk: left out, this user may not mount a tmpfs")
        return True
    rows = [
        fault_disk.trouble(folder / f"{name}-{passes}", name, passes=passes)
        for name in fault_disk.TROUBLES
        for passes in (True, False)
    ]
    table(
        "The disk of the checkpoints goes bad in mid-run",
        ["trouble", "passes", "warnings", "exit code", "last word", "verify"],
        rows,
    )
    return all(row[3] == (0 if row[1] == "yes" else 2) for row in rows)


def nan(folder: Path) -> bool:
    """What runs say whose steps are not finite."""
    program = str(Path(__file__).with_name("announced.py"))
    words = [*LONG, "schedule.max_steps=60", "runtime.max_bad_steps=3", "logging.sample_tokens=0"]
    cases: dict[str, list[object]] = {
        "NaN in one step": [33, 1, 1, "nan"],
        "inf in three steps, once": [33, 3, 1, "inf"],
        "NaN in three steps, twice": [33, 3, 2, "nan"],
        "NaN in three steps, always": [33, 3, 9, "nan"],
        "model.learning_rate=1e3": [0, 0, 0, "nan"],
    }
    good = True
    for number, (title, bad) in enumerate(cases.items()):
        place = folder / str(number)
        place.mkdir(parents=True)
        (place / "stories.txt").write_text(corpus(), encoding="utf-8")
        extra = [title, "model.min_lr=1e3"] if "=" in title else []
        code, text = finish(
            start(
                "train", *words, *extra, folder=place, program=(program, json.dumps({"bad": bad}))
            )
        )
        lines = [x for x in text.splitlines() if x.startswith(("warning", "error", "validation"))]
        kept = any(place.glob("checkpoints/*-step-*"))  # a run of 8 steps has none
        whole = not kept or finish(start("verify", "checkpoints", folder=place))[0] == 0
        print(f"\n{title}: exit code {code}")
        print("\n".join(f"    {line}" for line in [*lines[:8], *(["..."] if lines[8:] else [])]))
        if lines[8:]:
            print("\n".join(f"    {line}" for line in lines[-5:]))
        good = good and whole and (code == 2) == ("always" in title or "=" in title)
    return good


PARTS = {"kills": kills, "damage": damage, "disk": disk, "nan": nan}
COUNTS = {"kills": 100, "damage": 500}


def main(words: list[str]) -> int:
    """Run the parts that the words name; 1 if one of them found a fault."""
    parts = [word for word in words if not word.isdigit()] or list(PARTS)
    given = next((int(word) for word in words if word.isdigit()), None)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            place = Path(folder) / part
            if part in COUNTS:
                good &= PARTS[part](place, given or COUNTS[part])  # type: ignore[operator]
            else:
                good &= PARTS[part](place)  # type: ignore[operator]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
