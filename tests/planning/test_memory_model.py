"""The peak as a line through what was measured, and the micro-batch that follows from it."""

from dataclasses import replace

import pytest

from gpt_pipeline.config import BatchSplit
from gpt_pipeline.planning.memory_model import MemoryBaseline, MemoryModel, MemoryReading, half

BASIS = MemoryBaseline(
    device="cpu",
    dtype="float32",
    parameters=10,
    program_bytes=500,
    weights_bytes=40,
    gradients_bytes=40,
    optimizer_bytes=80,
    snapshot_bytes=120,
    available_bytes=10_000,
)


def reading(windows, step_bytes, evaluation_bytes=0):
    return MemoryReading(windows, step_bytes, evaluation_bytes, step_s=1.0, evaluation_s=0.5)


def line(windows):
    return reading(windows, 700 + 100 * windows)


def test_the_peak_lies_on_the_line_and_has_the_snapshot_on_top():
    memory_model = MemoryModel(BASIS, [line(1), line(2)])
    assert [memory_model.peak_bytes(n) for n in (1, 2, 3, 32)] == [920, 1020, 1120, 4020]
    assert [memory_model.is_measured(n) for n in (2, 3)] == [True, False]


def test_an_evaluation_that_grows_faster_than_the_step_decides_where_it_is_larger():
    memory_model = MemoryModel(BASIS, [reading(1, 800, 300), reading(2, 900, 600)])
    assert memory_model.peak_bytes(2) == 900 + 120
    assert memory_model.peak_bytes(10) == 3000 + 120


def test_a_peak_that_levels_off_is_followed_from_its_last_readings():
    memory_model = MemoryModel(BASIS, [reading(1, 800), reading(2, 1000), reading(4, 1000)])
    assert memory_model.peak_bytes(1 << 40) == 1120


def test_one_reading_rises_from_what_is_held_anyway():
    assert MemoryModel(BASIS, [reading(1, 760)]).peak_bytes(3) == 660 + 3 * 100 + 120


@pytest.mark.parametrize(("windows", "size"), [(128, 64), (96, 48), (97, 1), (60, 60), (1, 1)])
def test_the_largest_split_divides_the_step_and_fits(windows, size):
    memory_model = MemoryModel(BASIS, [line(1), line(2)])  # 81 windows take 8,920, 82 take 9,020
    assert memory_model.fits(81)
    assert not memory_model.fits(82)
    assert memory_model.largest_split(windows) == BatchSplit(size, windows // size)


def test_there_is_no_split_where_one_window_does_not_fit():
    small = replace(BASIS, available_bytes=900)
    assert MemoryModel(small, [line(1)]).largest_split(8) is None


def test_a_huge_step_is_split_in_no_time():
    flat = MemoryModel(BASIS, [reading(1, 800), reading(2, 800)])
    assert flat.largest_split(10**18) == BatchSplit(10**18, 1)


@pytest.mark.parametrize(("split", "halved"), [((8, 3), (4, 6)), ((5, 2), (2, 5)), ((1, 4), None)])
def test_half_a_micro_batch_keeps_the_windows_of_a_step(split, halved):
    assert half(BatchSplit(*split)) == (halved and BatchSplit(*halved))
