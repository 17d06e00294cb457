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


@pytest.mark.parametrize("text", ["user_id,movie_title\n1,A\n", "1\t2\t3\n", "é;[x]\n", "1:\n2,3\n", "a,b\0\n1,2\n"])
def test_rows_are_not(text):
    kinds.refuse(text.encode(), "a.csv")
    kinds.refuse(text.encode("utf-16"), "a.csv")


def test_a_workbook_is_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "ratings.xlsx", "w") as packed:
        packed.writestr("[Content_Types].xml", "")
        packed.writestr("xl/workbook.xml", "")
    with pytest.raises(LayoutError, match="Excel workbook; save its sheet as CSV"):
        prepare(tmp_path / "ratings.xlsx", tmp_path / "out")


@pytest.mark.parametrize("header", [True, False])
def test_a_matrix_is_refused_with_a_line_that_turns_it_into_rows(header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-10, 10, (30, 12)).round(2))
    frame.to_csv("jester.csv", index=False, header=[f"joke {number}" for number in range(12)] if header else False)
    with pytest.raises(LayoutError, match="matrix of 12 columns") as caught:
        prepare("jester.csv", "out", header=header, columns={} if header else {"user_id": "1"})
    line = str(caught.value).partition("turn it into rows: ")[2].partition(", without")[0]
    exec(line, {"pandas": pd})
    assert prepare("ratings.csv", "out").rows == 360
