from __future__ import annotations

import contextlib
import datetime
import decimal
import pathlib
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from data import parquet_table
from data.errors import LayoutError

NOON = datetime.datetime(2005, 9, 6, 12, 0, 0, 500_000)
SECONDS = "1126008000"
ZONE = datetime.timezone(datetime.timedelta(hours=2))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def texts(column: pa.Array, tmp_path) -> list[str]:
    pyarrow.parquet.write_table(pa.table({"other": pa.nulls(len(column)), "x": column}), tmp_path / "a.parquet")
    table = parquet_table.ParquetTable(path=tmp_path / "a.parquet", shown="a.parquet", fields={"ours": 1})
    return [text for block in table.blocks() for text in block.cells["ours"].to_pylist()]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["A", None, "é,\n"]), ["A", "", "é,\n"]),
        (pa.array([1, None, -(2**62)]), ["1", "", str(-(2**62))]),
        (pa.array([7, 8], pa.uint8()), ["7", "8"]),
        (pa.array(["A", "B", "A"]).dictionary_encode(), ["A", "B", "A"]),
        (pa.array([True, False, None]), ["1", "0", ""]),
        (pa.array([NOON, None], pa.timestamp("us")), [SECONDS, ""]),
        (pa.array([NOON.replace(tzinfo=ZONE)], pa.timestamp("ns", "+02:00")), [str(int(SECONDS) - 7200)]),
        (pa.array([datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000)], pa.timestamp("ms")), ["-1"]),
        (pa.array([datetime.date(2005, 9, 6)]), ["2005-09-06"]),
        (pa.array([decimal.Decimal("3.50")]), ["3.50"]),
        (pa.array([["Drama", "Comedy"], [], None]), ["Drama|Comedy", "", ""]),
        (pa.array([["Drama", None, "Comedy"], [None], None]), ["Drama|Comedy", "", ""]),
        (pa.array([0.1, 3.7, None, float("nan")], pa.float32()), ["0.1", "3.7", "", ""]),
        (pa.array([0.1, 1e300]), ["0.1", "1e+300"]),
    ],
)
def test_cells_are_the_texts_that_a_csv_would_hold(column, expected, tmp_path):
    assert texts(column, tmp_path) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_read_back(dtype, tmp_path, rng):
    values = np.append(rng.normal(size=100), [0.1, 3.5, 1e-9, 1e20]).astype(dtype)
    np.testing.assert_array_equal(np.array(texts(pa.array(values), tmp_path), dtype), values)


@pytest.mark.parametrize(
    ("column", "kind"),
    [([{"a": 1}], "struct"), ([[{"a": 1}]], "list<.*struct"), ([[["a"]]], "list<.*list"), ([b"\xff"], "binary")],
)
def test_what_has_no_text_is_refused_where_it_is_used(column, kind, tmp_path):
    with pytest.raises(LayoutError, match=rf"column 'x' of a\.parquet; got {kind}"):
        texts(pa.array(column), tmp_path)


def test_of_columns_of_one_name_the_one_at_its_position_is_read(tmp_path):
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array([{"c": 1}]), pa.array(["d"])]
    pyarrow.parquet.write_table(pa.table(columns, names=["x", "y", "z", "x"]), tmp_path / "a.parquet")
    fields = {"last": 3, "first": 0, "middle": 1}
    table = parquet_table.ParquetTable(path=tmp_path / "a.parquet", shown="a.parquet", fields=fields)
    (block,) = table.blocks()
    assert {name: cells.to_pylist() for name, cells in block.cells.items()} == {
        "last": ["d"],
        "first": ["a"],
        "middle": ["b"],
    }


def test_records_name_their_rows_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_table, "_BATCH_ROWS", 2)
    pyarrow.parquet.write_table(pa.table({"u": [1, 2, 3], "t": ["A", "B, C", "D"]}), tmp_path / "a.parquet")
    table = parquet_table.ParquetTable(path=tmp_path / "a.parquet", shown="a.parquet", fields={"title": 1, "user": 0})
    records = [record for block in table.blocks() for record in block.records()]
    assert [(record.line, record.raw, record.fields) for record in records] == [
        (1, "A,1", ["A", "1"]),
        (2, '"B, C",2', ["B, C", "2"]),
        (3, "D,3", ["D", "3"]),
    ]


def test_progress_is_told_by_the_row(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_table, "_BATCH_ROWS", 2)
    pyarrow.parquet.write_table(pa.table({"u": [1, 2, 3]}), tmp_path / "a.parquet")
    table = parquet_table.ParquetTable(path=tmp_path / "a.parquet", shown="shown", fields={"user": 0})
    told: list[tuple[str, int, int, str]] = []
    found = list(table.blocks(lambda *each: told.append(each)))
    assert told == [("reading a.parquet", done, 3, "rows") for done in (0, 2, 3)]
    assert [(block.file, block.unit, block.bad) for block in found] == [("shown", "row", [])] * 2


@pytest.mark.parametrize(("content", "is_one"), [(b"PAR1", True), (b"PAR", False), (b"", False), (b"xPAR1", False)])
def test_parquet_is_told_by_its_first_bytes(content, is_one, tmp_path):
    (tmp_path / "a").write_bytes(content)
    assert parquet_table.is_parquet(tmp_path / "a") == is_one


def test_a_damaged_file_is_refused(tmp_path):
    pyarrow.parquet.write_table(pa.table({"u": list(range(1000))}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[:-20])
    with pytest.raises(LayoutError, match="whole Parquet file"):
        parquet_table.columns(tmp_path / "a.parquet", "a.parquet")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    """Files of an extension type in Python name a function to call (CVE-2023-47248)."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Touch(tmp_path / "touched")),
    }
    table = pa.table([pa.array([1])], schema=pa.schema([pa.field("x", pa.int64(), metadata=metadata)]))
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with contextlib.suppress(LayoutError):  # newer releases read the column without its type
        parquet_table.columns(tmp_path / "a.parquet", "a.parquet")
    assert not (tmp_path / "touched").exists()
