import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.dataset.permutation import LARGEST, permute


@settings(deadline=None)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**70), epoch=st.integers(0, 100))
def test_every_position_has_its_own_image(size, seed, epoch):
    images = permute(np.arange(size), size, seed, epoch)
    assert images.dtype == np.int64
    assert sorted(images.tolist()) == list(range(size))


@pytest.mark.parametrize("seed", [0, 2**64 - 1, 2**64, 2**70 + 3])
def test_every_small_size_and_those_about_squares_are_permuted(seed):
    for size in [*range(1, 150), *(n * n + d for n in (64, 255, 300) for d in (-1, 0, 1))]:
        assert np.bincount(permute(np.arange(size), size, seed, 1), minlength=size).tolist() == (
            [1] * size
        )


@settings(deadline=None, max_examples=20)
@given(size=st.integers(100_000, 400_000), seed=st.integers(0, 2**64), epoch=st.integers(0, 2**40))
def test_sizes_of_real_runs_are_permuted(size, seed, epoch):
    assert (np.bincount(permute(np.arange(size), size, seed, epoch), minlength=size) == 1).all()


def test_all_bits_of_the_seed_count():
    orders = {tuple(permute(np.arange(99), 99, 1 << bit, 0)) for bit in range(80)}
    assert len(orders) == 80


@settings(deadline=None)
@given(size=st.integers(2**30, LARGEST), start=st.integers(0, 2**30 - 5000))
def test_large_sizes_stay_in_range_without_a_collision(size, start):
    images = permute(np.arange(start, start + 5000), size, 1, 2)
    assert 0 <= images.min() <= images.max() < size
    assert len(np.unique(images)) == 5000


def test_one_position_needs_no_other():
    together = permute(np.arange(1000), 1000, 3, 4)
    assert [int(permute(np.array([i]), 1000, 3, 4)[0]) for i in range(1000)] == together.tolist()


def test_images_are_the_same_on_every_machine():
    assert permute(np.arange(10), 10, 0, 0).tolist() == [6, 4, 0, 5, 3, 1, 9, 8, 2, 7]


def test_seed_and_epoch_change_the_order():
    orders = [
        tuple(permute(np.arange(50), 50, seed, epoch)) for seed in range(4) for epoch in range(4)
    ]
    assert len(set(orders)) == 16


def test_images_are_spread_evenly():
    """Over many seeds each image comes equally often at each position (chi-square, 49 cells)."""
    size, trials = 7, 7000
    counts = np.zeros((size, size))
    for seed in range(trials):
        counts[np.arange(size), permute(np.arange(size), size, seed, 0)] += 1
    expected = trials / size
    assert ((counts - expected) ** 2 / expected).sum() < 90  # 36 degrees of freedom: p = 2e-6


def test_neighbours_part():
    images = permute(np.arange(100_000), 100_000, 0, 0)
    assert abs(np.corrcoef(images[:-1], images[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(np.arange(100_000), images)[0, 1]) < 0.02
    assert np.mean(np.abs(np.diff(images)) < 10) < 0.001


def test_global_random_state_is_neither_read_nor_written():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = permute(np.arange(9), 9, 0, 0)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert (permute(np.arange(9), 9, 0, 0) == first).all()


@pytest.mark.parametrize("size", [0, -1, LARGEST + 1])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match=str(size)):
        permute(np.array([0]), size, 0, 0)


@pytest.mark.parametrize("position", [-1, 5])
def test_positions_outside_are_refused(position):
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute(np.array([position]), 5, 0, 0)
