from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from data import reader, tables
from data.choices import Choices
from data.errors import RowError
from data.own_ratings import open_own
from data.rejects import Rejects, parse_text
from data.releases import Release
from data.sources import File, Files
from data.values import parse_cell
from modules import features
from tests.data.tables_in_memory import table_of

HEADER = "user_id,movie_title,user_rating,timestamp"


def test_bad_rows_are_named_in_the_order_of_lines(monkeypatch):
    content = b"a,1\n,1\nb,x\nc\n,x\nd,2\n"
    rejects = Rejects(max_rejected=4)
    parsers = {"0": lambda text: parse_text(text, "name"), "1": lambda text: parse_cell(text, features.USER_AGE)}
    (cells,) = reader.judged(table_of(content, 2, 0, 1), parsers, rejects)
    assert [cells[name].array(object).tolist() for name in parsers] == [["a", "d"], [1, 2]]
    assert [(row.line, row.raw) for row in rejects.rows] == [(2, ",1"), (3, "b,x"), (4, "c"), (5, ",x")]
    assert [row.reason.split(";")[0] for row in rejects.rows] == [
        "expected a name that is not empty",
        "expected a user_age that is an integer",
        "expected 2 fields",
        "expected a name that is not empty",
    ]
    with pytest.raises(RowError, match=r"a\.csv, line 2: expected a name that is not empty; got ''; mend it"):
        list(reader.judged(table_of(content, 2, 0, 1), parsers, Rejects(remedy="mend it")))


@pytest.mark.parametrize("doubtful", [[], ["1e3"], ["", "2005-02-28", "1.5e3"]])
def test_timestamps_that_only_the_slow_judge_knows_stand_among_the_others(doubtful):
    texts = ["7.0", *doubtful, "1362062307123"]
    table = table_of("".join(f"{text},\n" for text in texts).encode(), 2, 0)
    (cells,) = reader.judged(table, {"0": reader.TimestampParser()}, Rejects())
    meant = {"": reader.NO_TIMESTAMP, "1e3": 1000, "1.5e3": 1500, "2005-02-28": 1109548800}
    expected = [7, *(meant[text] for text in doubtful), 1362062307]
    np.testing.assert_array_equal(cells["0"].array(np.int64), expected)


def test_a_timestamp_that_is_none_is_a_bad_row_by_default():
    table = table_of(b"1,\n2005-02-30,\n3,\nsoon,\n4,\n", 2, 0)
    rejects = Rejects(max_rejected=2)
    (cells,) = reader.judged(table, {"0": reader.TimestampParser()}, rejects)
    np.testing.assert_array_equal(cells["0"].array(np.int64), [1, 3, 4])
    assert [(row.line, row.raw) for row in rejects.rows] == [(2, "2005-02-30,"), (4, "soon,")]


@pytest.fixture
def own_csv(tmp_path: pathlib.Path):
    def write(text: str) -> pathlib.Path:
        (tmp_path / "own.csv").write_text(text)
        return tmp_path / "own.csv"

    return write


def opened(path: pathlib.Path, **choices: Any) -> Release:
    chosen = Choices(**choices)
    return open_own(Files({"": File(path, "own.csv")}, chosen, path.parent), {"": [""]}, chosen)


def test_columns_have_the_types_that_keep_memory_small(own_csv):
    release = opened(own_csv(f"{HEADER}\n7,A,3,\n8,A,4,12\n7,B,1,0\n"))
    columns = reader.read(release.ratings[""], release, Rejects())
    assert [each.dtype for each in (columns.user, columns.title, columns.rating)] == [np.int32, np.int32, np.float32]
    np.testing.assert_array_equal(columns.user, [0, 1, 0])
    np.testing.assert_array_equal(columns.title, [0, 0, 1])
    np.testing.assert_array_equal(columns.rating, [3, 4, 1])
    assert columns.timestamp is not None
    assert columns.timestamp.dtype == np.int64
    np.testing.assert_array_equal(columns.timestamp, [reader.NO_TIMESTAMP, 12, 0])
    assert release.users.values == ["7", "8"]
    assert release.titles.values == ["A", "B"]


def test_users_and_titles_of_bad_rows_alone_are_not_known(own_csv):
    release = opened(own_csv(f"{HEADER}\n7,A,3,\n8,B,x,12\n7,C,1,0\n"))
    columns = reader.read(release.ratings[""], release, Rejects(max_rejected=1))
    np.testing.assert_array_equal(columns.title, [0, 1])
    assert (release.users.values, release.titles.values) == (["7"], ["A", "C"])


@pytest.mark.parametrize("block_bytes", [200, 1 << 20])
def test_the_first_value_of_a_user_or_title_counts_in_any_block(block_bytes, own_csv, monkeypatch, rng):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    drawn = rng.integers([0, 0, 1, 0, 0], [20, 30, 6, 4, 60], size=(500, 5)).tolist()
    rows = [
        (user, f"T {title}", stars, f"g{genre}" * (genre > 0), age or "") for user, title, stars, genre, age in drawn
    ]
    genres: dict[str, str] = {}
    ages: dict[str, int] = {}
    for user, title, _, genre, age in rows:
        if genre:
            genres.setdefault(title, genre)
        if age:
            ages.setdefault(str(user), age)
    text = "\n".join(",".join(map(str, row)) for row in rows)
    path = own_csv("user_id,movie_title,user_rating,genres,user_age\n" + text)
    release = opened(path, scale=(1, 5))
    assert (len(list(release.ratings[""].blocks())) > 10) == (block_bytes == 200)
    columns = reader.read(release.ratings[""], release, Rejects())
    assert [release.users.values[code] for code in columns.user] == [str(row[0]) for row in rows]
    assert {release.titles.values[code]: value for code, value in release.attributes["genres"].items()} == genres
    assert {release.users.values[code]: value for code, value in release.attributes["user_age"].items()} == ages


OPTIONAL = "user_id,movie_title,user_rating,timestamp,release_year,user_age\n"


@pytest.mark.parametrize("block_bytes", [90, 1 << 20])
def test_what_cannot_be_read_of_columns_that_are_not_required_is_left_out_and_counted(
    block_bytes, own_csv, monkeypatch
):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    path = own_csv(
        OPTIONAL + "7,A,3,soon,1999.0,old\n8,A,4,12.0,99,30\n9,A,x,never,1,1\n7,B,1,soon,2001-05-06,\n8,B,2,,2000,31\n"
    )
    release = opened(path)
    rejects = Rejects(max_rejected=1)
    columns = reader.read(release.ratings[""], release, rejects, strict=False)
    assert columns.timestamp is not None
    np.testing.assert_array_equal(
        columns.timestamp, [reader.NO_TIMESTAMP, 12, reader.NO_TIMESTAMP, reader.NO_TIMESTAMP]
    )
    np.testing.assert_array_equal(columns.rating, [3, 4, 1, 2])
    assert release.attributes["release_year"] == {0: 1999, 1: 2001}
    assert release.attributes["user_age"] == {1: 30}
    # Rows that are bad for another reason are not counted twice.
    assert [row.line for row in rejects.rows] == [4]
    assert {name: (each.rows, each.file, each.line, each.problem.value) for name, each in release.unread.items()} == {
        "timestamp": (2, "own.csv", 2, "'soon'"),
        "release_year": (1, "own.csv", 3, "'99'"),
        "user_age": (1, "own.csv", 2, "'old'"),
    }
    with pytest.raises(RowError, match=r"own\.csv, line 2: expected a timestamp in seconds since 1970.* got 'soon'"):
        reader.read(release.ratings[""], opened(path), Rejects())


def test_a_required_value_is_never_left_out(own_csv):
    release = opened(own_csv(f"{HEADER}\n,A,3,\n8, ,4,12\n7,B,x,0\n7,B,1,0\n"))
    rejects = Rejects(max_rejected=3)
    assert len(reader.read(release.ratings[""], release, rejects, strict=False)) == 1
    assert [row.line for row in rejects.rows] == [2, 3, 4]
    assert release.unread == {}


def test_values_of_side_tables_that_cannot_be_read_are_left_out_and_counted(own_csv):
    content = b"7,20.0\n8,old\n7,older\n9,131\n,x\n"
    table = dataclasses.replace(table_of(content, 2), fields={"user_id": 0, "user_age": 1})
    release = opened(own_csv(f"{HEADER}\n"))
    rejects = Rejects(max_rejected=2)
    reader.read_side_table(release, features.USERS, table, rejects, strict=False)
    assert release.users.values == ["7", "8", "9"]
    assert release.attributes["user_age"] == {0: 20}
    assert [row.line for row in rejects.rows] == [3, 5]
    (unread,) = release.unread.values()
    assert (unread.rows, unread.file, unread.line, unread.problem.value) == (2, "a.csv", 2, "'old'")
    with pytest.raises(RowError, match=r"a\.csv, line 2: expected a user_age that is an integer; got 'old'"):
        list(reader.side_rows(table, features.USERS, Rejects()))


@pytest.mark.parametrize("block_bytes", [80, 1 << 20])
def test_decimal_commas(block_bytes, own_csv, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    path = own_csv("user_id;movie_title;user_rating\n1;A;3,5\n2;B;4\n1;B;2,5\n2;C;2.5\n")
    release = opened(path)
    columns = reader.read(release.ratings[""], release, Rejects(max_rejected=1))
    np.testing.assert_array_equal(columns.rating, [3.5, 4, 2.5])
    with pytest.raises(RowError, match=r"line 5: .*decimal mark `,` of the rows before; got '2\.5'"):
        reader.read(release.ratings[""], opened(path), Rejects())
    quoted = own_csv('user_id,movie_title,user_rating\n1,A,"3,5"\n')
    with pytest.raises(
        RowError, match=r"line 2: expected a user_rating with a decimal point; got '3,5'; write a point"
    ):
        reader.read(opened(quoted).ratings[""], opened(quoted), Rejects())
