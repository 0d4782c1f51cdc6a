import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.dataset.windows import IGNORED, TrainingOrder, Windows, document_bounds
from gpt_pipeline.errors import DataError

EOT = 99


@settings(deadline=None)
@given(count=st.integers(1, 80), length=st.integers(1, 20))
def test_every_token_is_a_target_once_behind_its_predecessor(count, length):
    tokens = np.arange(count, dtype=np.uint16)
    windows = Windows(tokens, length, EOT)
    inputs, targets = windows.batch(np.arange(windows.num_windows))
    assert inputs.shape == targets.shape == (-(-count // length), length)
    assert inputs.dtype == targets.dtype == np.int64
    real = targets != IGNORED
    assert targets[real].tolist() == list(range(count))
    assert inputs[real].tolist() == [EOT, *range(count - 1)]
    assert (inputs[~real] == EOT).all()


def test_batch_takes_any_windows_in_any_order():
    windows = Windows(np.arange(10, 21, dtype=np.uint32), 4, EOT)
    inputs, targets = windows.batch(np.array([2, 0, 2]))
    assert inputs.tolist() == [[17, 18, 19, EOT], [EOT, 10, 11, 12], [17, 18, 19, EOT]]
    assert targets.tolist() == [[18, 19, 20, IGNORED], [10, 11, 12, 13], [18, 19, 20, IGNORED]]


@settings(deadline=None)
@given(
    documents=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    length=st.integers(1, 12),
    unended=st.integers(0, 3),
)
def test_document_windows_hold_each_token_once_and_cut_only_what_does_not_fit(
    documents, length, unended
):
    tokens = np.concatenate([[*range(size - 1), EOT] for size in documents] + [[7] * unended])
    tokens = tokens.astype(np.uint16)
    bounds = document_bounds(tokens, length, EOT)
    windows = Windows(tokens, length, EOT, bounds)
    inputs, targets = windows.batch(np.arange(windows.num_windows))
    real = targets != IGNORED
    assert targets[real].tolist() == tokens.tolist()
    assert inputs[real].tolist() == [EOT, *tokens[:-1].tolist()]
    assert (inputs[~real] == EOT).all()
    starts = np.concatenate([[0], np.cumsum(documents)])
    for first, size in zip(starts, documents, strict=False):
        if size <= length:  # no window begins within it
            assert not ((bounds > first) & (bounds < first + size)).any()
    for first, end in itertools.pairwise(bounds):  # and none could have taken one more
        following = starts[starts > end]
        assert not len(following) or following[0] - first > length or end not in starts


def test_document_windows_found_in_chunks_are_those_found_at_once(monkeypatch):
    tokens = np.random.default_rng(0).integers(90, 100, 500).astype(np.uint16)
    at_once = document_bounds(tokens, 16, EOT)
    monkeypatch.setattr("gpt_pipeline.dataset.windows._CHUNK", 7)
    assert document_bounds(tokens, 16, EOT).tolist() == at_once.tolist()


@pytest.mark.parametrize("index", [-1, 3])
def test_windows_outside_are_refused(index):
    with pytest.raises(IndexError, match=rf"0\.\.2; got \[{index}\]"):
        Windows(np.arange(11, dtype=np.uint16), 4, EOT).batch(np.array([index]))


def test_corpus_shorter_than_a_window_is_refused_with_both_numbers():
    with pytest.raises(DataError, match=r"max_length=16 tokens; got 15;"):
        Windows(np.zeros(15, dtype=np.uint16), 16, EOT).check_trainable()
    Windows(np.zeros(16, dtype=np.uint16), 16, EOT).check_trainable()


@given(size=st.integers(1, 30), seed=st.integers(0, 9), start=st.integers(0, 70))
@settings(deadline=None)
def test_each_epoch_visits_every_window_once(size, seed, start):
    order = TrainingOrder(size, seed, shuffle=True)
    long = order.indices(0, 4 * size + start)
    for epoch in range(4):
        assert sorted(long[epoch * size : (epoch + 1) * size]) == list(range(size))
    assert order.indices(start, 3 * size).tolist() == long[start : start + 3 * size].tolist()


@given(
    count=st.integers(1, 120),
    length=st.integers(1, 9),
    seed=st.integers(0, 2**63 - 1),
    batch=st.integers(1, 7),
    shuffle=st.booleans(),
)
@settings(deadline=None)
def test_every_token_is_predicted_once_an_epoch_for_any_batch(count, length, seed, batch, shuffle):
    windows = Windows(np.arange(count, dtype=np.uint16), length, EOT)
    order = TrainingOrder(windows.num_windows, seed, shuffle)
    size = windows.num_windows
    rows = []
    for position in range(0, 3 * size, batch):  # batches reach over the ends of epochs
        rows += list(windows.batch(order.indices(position, min(batch, 3 * size - position)))[1])
    for epoch in range(3):
        targets = np.concatenate(rows[epoch * size : (epoch + 1) * size])
        assert sorted(targets[targets != IGNORED].tolist()) == list(range(count))


@pytest.mark.parametrize("position", [10**9, 10**12])
def test_far_epochs_visit_every_window_once_too(position):
    order = TrainingOrder(997, 5, shuffle=True)
    first = position // 997 * 997
    assert sorted(order.indices(first, 997).tolist()) == list(range(997))


def test_epochs_have_orders_of_their_own():
    order = TrainingOrder(100, 0, shuffle=True)
    assert order.indices(0, 100).tolist() != order.indices(100, 100).tolist()
    assert order.indices(0, 100).tolist() != TrainingOrder(100, 1, True).indices(0, 100).tolist()


def test_without_shuffling_the_order_is_the_files():
    order = TrainingOrder(3, 5, shuffle=False)
    assert order.indices(2, 6).tolist() == [2, 0, 1, 2, 0, 1]
    assert order.indices(2, 0).tolist() == TrainingOrder(3, 5, True).indices(2, 0).tolist() == []
