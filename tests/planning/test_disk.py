"""Disk: what a run writes, where, and what is free there."""

import pytest

from gpt_pipeline.config.compose import compose
from gpt_pipeline.planning import disk
from gpt_pipeline.planning.disk import disk_uses, too_large
from gpt_pipeline.planning.memory_model import MemoryBaseline

BASIS = MemoryBaseline("cpu", "float32", 10, 0, 40_000_000, 40_000_000, 80_000_000, 0, 1 << 30)


@pytest.fixture
def places(tmp_path):
    def build(*words, **given):
        words = ("model=tiny", f"model.checkpoint_path={tmp_path}/not/there/yet", *words)
        given = {"token_files": 7_000_000, "num_steps": 1000} | given
        made = disk_uses(
            compose(words).config, BASIS, run_dir=tmp_path / "run",
            token_folder=tmp_path / "data", **given,
        )  # fmt: skip
        return {place.name: place for place in made}

    return build


def test_checkpoints_are_those_that_are_kept_the_best_and_the_one_being_written(places):
    four = places("checkpoint.keep_last=2")["checkpoints"]
    assert four.bytes == 4 * (120_000_000 + 4_000_000)
    assert four.detail == "4 of 124.0 MB"
    assert four.free_bytes > 0


def test_token_files_take_no_more_where_they_are_there_and_are_not_known_else(places):
    ready = places()["token files"]
    assert (ready.bytes, ready.detail) == (0, "prepared: 7.0 MB")
    missing = places(token_files=None)["token files"]
    assert (missing.bytes, missing.detail) == (None, "not prepared yet")


def test_the_run_folder_grows_with_the_steps(places):
    short, long = (places(num_steps=n)["run folder"].bytes for n in (1000, 1_000_000))
    assert 200_000 < short < 2_000_000 < long
    assert places(num_steps=None)["run folder"].bytes is None


def test_what_lacks_room_is_counted_by_file_system(places, monkeypatch):
    usage = disk.shutil.disk_usage("/")._replace(free=620_100_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    assert places()["checkpoints"].bytes == 620_000_000  # alone it has room
    short = too_large(list(places().values()))
    assert [place.name for place in short] == ["checkpoints", "run folder"]
    assert too_large([places()["checkpoints"]]) == []
