"""Columns of text in .parquet files, as other programs write them."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from small_run import SMALL

TYPES = [
    pyarrow.string(), pyarrow.large_string(), pyarrow.string_view(),
    pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view(),
    pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    pyarrow.dictionary(pyarrow.int8(), pyarrow.large_string()),
]  # fmt: skip


def column(values, kind):
    """Values, some of them bytes that no string may hold, in a column of a type."""
    raw = [
        value if value is None or isinstance(value, bytes) else value.encode() for value in values
    ]
    if pyarrow.types.is_dictionary(kind):
        names = list(dict.fromkeys(raw))
        indices = pyarrow.array([names.index(value) for value in raw], kind.index_type)
        return pyarrow.DictionaryArray.from_arrays(indices, column(names, kind.value_type))
    if "view" in str(kind):
        return column(values, pyarrow.large_binary()).cast(pyarrow.binary_view()).view(kind)
    large = "large" in str(kind)
    array = pyarrow.array(raw, pyarrow.large_binary() if large else pyarrow.binary())
    return array.view(kind)


@pytest.fixture
def data(gpt, folder):
    def run(table, **settings):
        pyarrow.parquet.write_table(table, folder / "a.parquet", **settings)
        code, out, err = gpt("data", *SMALL, "dataset.path=a.parquet", "dataset.train_ratio=1")
        assert "Traceback" not in err
        if code:
            assert (code, out) == (2, "")
            (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
            return line
        tokens = np.fromfile(folder / "data/text/dataset_train.bin", dtype="<u2")
        text = bytes(np.where(tokens == 256, 0, tokens).astype(np.uint8)).decode()
        return text.split("\0")[:-1]

    return run


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_strings_of_every_type_are_read(data, kind):
    values = ["one", "caf\u00e9 \u4f60", "one", ""]
    assert data(pyarrow.table({"n": [1, 2, 3, 4], "text": column(values, kind)})) == values[:3]


@pytest.mark.parametrize("kind", TYPES[:7], ids=str)  # the last is cast while it is read: no row
@pytest.mark.parametrize("row", [0, 3, 2500])
def test_text_that_is_not_utf8_is_named_by_its_row(data, kind, row):
    values = ["x"] * 2600
    values[row] = b"caf\xe9 au lait"
    line = data(pyarrow.table({"text": column(values, kind)}), row_group_size=700)
    assert line == (
        f"error: a.parquet row {row} must have UTF-8 text in 'text'; got the byte 0xe9 at byte 3 "
        "of the value"
    )


@pytest.mark.parametrize("kind", TYPES[:6], ids=str)
def test_a_null_is_named_by_its_row(data, kind):
    line = data(pyarrow.table({"text": column(["a", None], kind)}))
    assert line == "error: a.parquet row 1 must have text in 'text'; got None"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([["a", "b"]], "row 0 must have text in 'text'; got ['a', 'b']"),
        ([1], "row 0 must have text in 'text'; got 1"),
        ([{"a": "b"}], "row 0 must have text in 'text'; got {'a': 'b'}"),
        (pyarrow.array([], pyarrow.string()), "no documents in a.parquet"),
        (pyarrow.array([None], pyarrow.null()), "row 0 must have text in 'text'; got None"),
        (["x" * 100_000, None], "row 1 must have text"),
    ],
)
def test_columns_that_hold_no_text_are_one_line(data, values, problem):
    line = data(pyarrow.table({"text": values}))
    assert problem in line
    assert len(line) < 200


def test_damaged_files_never_show_a_traceback(data, folder, gpt):
    assert data(pyarrow.table({"text": ["some words"] * 50})) == ["some words"] * 50
    whole = (folder / "a.parquet").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 30):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        (folder / "a.parquet").write_bytes(broken)
        code, _, err = gpt("data", *SMALL, "dataset.path=a.parquet", "dataset.train_ratio=1")
        assert code in (0, 2)
        assert "Traceback" not in err
        refused += code == 2
    assert refused > 5
