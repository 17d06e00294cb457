from __future__ import annotations

import io
import pickle
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pytest

from data import kinds
from data.errors import LayoutError
from data.prepare import prepare


def numpy_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def database(tmp_path) -> bytes:
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("CREATE TABLE ratings (user_id)")
    connection.close()
    return (tmp_path / "db").read_bytes()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "Excel"),
        (pickle.dumps([1]), "pickle"),
        (numpy_file(), "NumPy"),
        (b'{"user_id": 1}\n', "JSON"),
        (b'[{"user_id": 1}]', "JSON"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"% comment\n@RELATION ratings\n", "ARFF"),
        (b"-- dump\nINSERT INTO ratings VALUES (1);", "dump"),
        (b"/*!40101 SET NAMES utf8 */;\n\nDROP TABLE IF EXISTS `r`;\n", "dump"),
        (b"--\n-- PostgreSQL database dump\n--\n", "dump"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "dump"),
        (b"<!-- a --><html>", "page to log in"),
        (b"\xef\xbb\xbf<html>", "web page"),
        (b"4 100:1 2000:1\n5 7:1 8:1\n", "LibSVM or libFM"),
        (b"%%MatrixMarket matrix\n", "Matrix Market"),
        (pickle.dumps([1], 0), "pickle"),
        (b"\x04\x22\x4d\x18" + bytes(10), "lz4"),
        (b"ORC\n\x0e", "ORC"),
        (b"Rar!\x1a\x07", "RAR"),
        (np.random.default_rng(0).bytes(5000).replace(b"\0", b""), "no text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (bytes(257) + b"ustar" + bytes(250), "tar"),
        (b"a\0b\0c\0\n\0", "--encoding utf-16-le"),
        (b"", "empty file"),
    ],
)
def test_other_kinds_are_refused_by_name(head, kind):
    with pytest.raises(LayoutError, match=kind):
        kinds.refuse(head, "a.csv")


def test_a_database_is_refused_by_name(tmp_path):
    with pytest.raises(LayoutError, match=r"SQLite.*sqlite3 -header -csv"):
        kinds.refuse(database(tmp_path), "a.csv")


@pytest.mark.parametrize(
    "text",
    [
        "user_id,movie_title\n1,A\n",
        "1\t2\t3\n",
        "é;[x]\n",
        "1:\n2,3\n",
        "a,b\0\n1,2\n",
        "1\x01A\x014\n2\x01B\x015\n",
        "title,review\nInsert into the Void,you INSERT INTO it (twice);\n",
        "ORCID,rating\n",
        "Rar!,rating\n",
        "{id},{title}\n",
        "1 2:30\t4\n",
    ],
)
def test_rows_are_not(text):
    kinds.refuse(text.encode(), "a.csv")
    kinds.refuse(text.encode("utf-16"), "a.csv")


@pytest.mark.parametrize(("size", "most"), [(60, 3), (80, 3), (100, 4), (200, 9), (2000, 99)])
def test_some_controls_are_an_accident_and_many_no_text(size, most):
    """More than three, and a twentieth or more of all bytes."""
    kinds.refuse(b"\0" * most + b"a" * (size - most), "a.csv")
    with pytest.raises(LayoutError, match="no text"):
        kinds.refuse(b"\0" * (most + 1) + b"a" * (size - most - 1), "a.csv")


def test_a_workbook_is_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "ratings.xlsx", "w") as packed:
        packed.writestr("[Content_Types].xml", "")
        packed.writestr("xl/workbook.xml", "")
    with pytest.raises(LayoutError, match="Excel workbook; save its sheet as CSV"):
        prepare(tmp_path / "ratings.xlsx", tmp_path / "out")


@pytest.mark.parametrize("orient", ["lines", "records", "columns"])
def test_json_is_refused_with_a_line_that_turns_it_into_rows(orient, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame({"user_id": [1, 2], "movie_title": ["A", "B"], "user_rating": [4, 5]})
    if orient == "lines":
        rows.to_json("a.json", orient="records", lines=True)
    else:
        rows.to_json("a.json", orient=orient)
    with pytest.raises(LayoutError, match="JSON") as caught:
        prepare("a.json", "out")
    exec(str(caught.value).partition("into CSV: ")[2], {"pandas": pd})
    assert prepare("ratings.csv", "out").rows == 2


def test_one_line_of_json_is_told_from_columns():
    with pytest.raises(LayoutError, match=r"lines of JSON.*lines=True"):
        kinds.refuse(b'{"user_id": 1, "user_rating": 4}\n', "a.json")


def read_as_told(message: str) -> None:
    """Does what a message about a matrix says."""
    exec(message.partition("turn it into rows: ")[2].partition(", without")[0], {"pandas": pd})


@pytest.mark.parametrize("first", [None, "User ID", "name"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_matrix_is_refused_with_a_line_that_turns_it_into_rows(first, separator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-10, 10, (30, 12)).round(2), columns=[f"joke {number}" for number in range(12)])
    if first:
        frame.insert(0, first, [number if first == "User ID" else f"u{number}" for number in range(100, 130)])
    frame.to_csv("jester.csv", index=False, sep=separator)
    with pytest.raises(LayoutError, match=f"matrix of {13 if first else 12} columns") as caught:
        prepare("jester.csv", "out", separator=separator)
    read_as_told(str(caught.value))
    assert prepare("ratings.csv", "out").rows == 360
    assert pd.read_csv("out/ratings.csv").user_id.astype(str).min() == {"User ID": "100", "name": "u100"}.get(
        first, "0"
    )


def test_a_matrix_without_a_header_is_named_before_it_is_taken_for_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    jokes = rng.uniform(-10, 10, (30, 100)).round(2)
    jokes[rng.random(jokes.shape) < 0.3] = 99
    rated = (jokes != 99).sum(axis=1, keepdims=True)
    pd.DataFrame(np.hstack([rated, jokes])).to_csv("jester.csv", index=False, header=False)
    with pytest.raises(LayoutError, match="matrix of 101 columns") as caught:
        prepare("jester.csv", "out")
    read_as_told(str(caught.value))
    rows = pd.read_csv("ratings.csv")
    assert len(rows[rows.movie_title > 0]) == (jokes != 99).sum()
    assert rows[rows.movie_title > 0].user_rating.abs().max() <= 10


@pytest.mark.parametrize(
    "rows",
    [[], [["3"] * 9], [["3"] * 8 + ["word"] * 12], [["word"] * 30], [["3"] * 17 + ["word"] * 3]],
    ids=["nothing", "narrow", "half of it words", "words", "three of twenty words"],
)
def test_other_tables_are_no_matrix(rows):
    kinds.refuse_matrix((), rows, "a.csv")


@pytest.mark.parametrize("row", [["3"] * 10, ["3"] * 18 + ["word"] * 2, ["nan"] * 5 + [" 3.5 "] * 5 + [""]])
def test_ten_columns_of_which_nine_of_ten_cells_are_numbers_or_none_are_a_matrix(row):
    with pytest.raises(LayoutError, match=f"matrix of {len(row)} columns"):
        kinds.refuse_matrix((), [row], "a.csv")


@pytest.mark.parametrize(("largest", "is_none"), [("24.7", True), ("-24.7", True), ("24.75", False), ("-25", False)])
def test_99_is_none_where_no_other_number_is_a_quarter_of_it(largest, is_none):
    with pytest.raises(LayoutError, match="matrix") as caught:
        kinds.refuse_matrix((), [["1", *["3"] * 9, largest], ["2", "99", *["3"] * 9]], "a.csv")
    assert ("na_values=[99]" in str(caught.value)) == is_none
    with pytest.raises(LayoutError, match="matrix") as caught:
        kinds.refuse_matrix((), [["99", *["3"] * 10]], "a.csv")
    assert "na_values" not in str(caught.value)  # which is the user's


def test_users_named_in_a_matrix_without_a_header_are_its_first_column():
    with pytest.raises(LayoutError, match=r"header=None\); m\.rename\(columns=\{0: 'user_id'\}\)"):
        kinds.refuse_matrix((), [["ann", *["3"] * 12], ["bob", *["4"] * 12]], "a.csv")


def test_a_99_among_numbers_like_it_is_a_number():
    rows = [[str(number) for number in range(0, 100, 9)], ["99"] * 12]
    with pytest.raises(LayoutError, match="matrix of 12 columns") as caught:
        kinds.refuse_matrix((), rows, "a.csv")
    assert "na_values" not in str(caught.value)
