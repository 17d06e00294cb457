from __future__ import annotations

import csv
import dataclasses
import pathlib
import time
from typing import Any

import pytest

from data.errors import DataError, RowError
from data.prepare import prepare
from data.rejects import BadFieldError, Rejects, parse_text, with_article
from tests.data.small_releases import CSV, HUNDRED_K, LAYOUTS, ONE_M, RECBOLE, TEN_M, Files, tables_in


@dataclasses.dataclass(frozen=True)
class Bad:
    """A bad row appended to, or put in place of a row of, a small release.

    Attributes:
      id: what is wrong.
      files: the release.
      file: where the row goes.
      row: the bad row, without line end.
      line: its line number, as it must be reported.
      expected: what the message must say was expected.
      value: what it must say was there.
      raw: the text that rejected.csv must hold.
    """

    id: str
    files: Files
    file: str
    row: bytes
    line: int
    expected: str
    value: str
    raw: str = ""


OWN: Files = {"own.csv": b'user_id,movie_title,user_rating,timestamp,user_age\n1,"A, B",1,10,20\n2,"A, B",5,20,30\n'}
RATINGS_FILES = ("u.data", "ratings.dat", "ratings.csv", "ml-100k.inter", "own.csv")
OWN_TABLES = {
    "ratings.csv": 'user_id,movie_title,user_rating,timestamp\n1,"A, B",1,10\n2,"A, B",5,20\n',
    "users.csv": "user_id,user_age\n1,20\n2,30\n",
}
BAD = [
    # u.data and u.item
    Bad("few fields", HUNDRED_K, "u.data", b"1\t1\t4", 5, "4 fields", "3 fields"),
    Bad("many fields", HUNDRED_K, "u.data", b"1\t1\t4\t5\t6", 5, "4 fields", "5 fields"),
    Bad("one field", HUNDRED_K, "u.data", b"  ", 5, "4 fields", "1 fields"),
    Bad("empty user", HUNDRED_K, "u.data", b"\t1\t4\t5", 5, "a user_id that is not empty", "''"),
    Bad("blank user", HUNDRED_K, "u.data", b" \t1\t4\t5", 5, "a user_id that is not empty", "' '"),
    Bad("empty item", HUNDRED_K, "u.data", b"1\t\t4\t5", 5, "an item_id that is not empty", "''"),
    Bad("item without title", HUNDRED_K, "u.data", b"1\t99\t4\t5", 5, "an item_id that has a title", "'99'"),
    Bad("no number", HUNDRED_K, "u.data", b"1\t1\tgood\t5", 5, "a user_rating that is a number", "'good'"),
    Bad("empty rating", HUNDRED_K, "u.data", b"1\t1\t\t5", 5, "a user_rating that is a number", "''"),
    Bad("nan", HUNDRED_K, "u.data", b"1\t1\tnan\t5", 5, "a user_rating that is a number", "'nan'"),
    Bad("inf", HUNDRED_K, "u.data", b"1\t1\tinf\t5", 5, "a user_rating that is a number", "'inf'"),
    Bad(
        "too large for a number", HUNDRED_K, "u.data", b"1\t1\t1e999\t5", 5, "a user_rating that is a number", "'1e999'"
    ),
    Bad("below the scale", HUNDRED_K, "u.data", b"1\t1\t0.5\t5", 5, "a user_rating in [1, 5]", "'0.5'"),
    Bad("above the scale", HUNDRED_K, "u.data", b"1\t1\t6\t5", 5, "a user_rating in [1, 5]", "'6'"),
    Bad("timestamp", HUNDRED_K, "u.data", b"1\t1\t4\tsoon", 5, "a timestamp in seconds", "'soon'"),
    Bad("long timestamp", HUNDRED_K, "u.data", b"1\t1\t4\t" + b"9" * 19, 5, "a timestamp in seconds", "'9999"),
    Bad("few fields of an item", HUNDRED_K, "u.item", b"6|B", 6, "8 fields", "2 fields"),
    Bad("empty title", HUNDRED_K, "u.item", b"6| ||||0|0|0", 6, "a movie_title that is not empty", "' '"),
    Bad("item id twice", HUNDRED_K, "u.item", b"4|B||||0|0|0", 6, "an item_id that no earlier row has", "'4'"),
    Bad("genre flag", HUNDRED_K, "u.item", b"6|B||||0|x|0", 6, "genre flags of 0 or 1", "'x'"),
    Bad("age", HUNDRED_K, "u.user", b"4|old|M|none|1", 5, "a user_age that is an integer", "'old'"),
    Bad("user twice", HUNDRED_K, "u.user", b"2|3|M|none|1", 5, "a user_id that no earlier row has", "'2'"),
    # ratings.dat and movies.dat
    Bad("dat few fields", ONE_M, "ratings.dat", b"1::2::3", 4, "4 fields", "3 fields"),
    Bad("dat colons amiss", ONE_M, "ratings.dat", b"1:2:::3::4", 4, "4 fields", "3 fields"),
    Bad("dat text between colons", ONE_M, "ratings.dat", b"1:x:2::3::4", 4, "4 fields", "3 fields"),
    Bad("dat off the scale", ONE_M, "ratings.dat", b"1::2::0.5::4", 4, "a user_rating in [1, 5]", "'0.5'"),
    Bad("dat no title", ONE_M, "movies.dat", b"3::::Drama", 3, "a movie_title that is not empty", "''"),
    Bad(
        "dat not UTF-8", TEN_M, "movies.dat", b"3::caf\xe9::Drama", 3, "text in UTF-8", "'3::caf", r"3::caf\xe9::Drama"
    ),
    # ratings.csv and movies.csv
    Bad("csv few fields", CSV, "ratings.csv", b"1,2,3", 5, "4 fields", "3 fields"),
    Bad("csv off the scale", CSV, "ratings.csv", b"1,2,0,4", 5, "a user_rating in [0.5, 5]", "'0'"),
    Bad("csv item without title", CSV, "ratings.csv", b"1,8,1,4", 5, "an item_id that has a title", "'8'"),
    Bad("csv not UTF-8", CSV, "movies.csv", b'10,"caf\xe9, a",x', 6, "text in UTF-8", "'10,", '10,"caf\\xe9, a",x'),
    Bad("csv comma in bare title", CSV, "movies.csv", b"10,Cats, The,x", 6, "3 fields", "4 fields"),
    # RecBole's copy
    Bad("inter few fields", RECBOLE, "ml-100k.inter", b"1\t2\t3", 6, "4 fields", "3 fields"),
    # A CSV of the user's own
    Bad("own few fields", OWN, "own.csv", b'3,"A, B",1', 4, "5 fields", "3 fields"),
    Bad("own empty title", OWN, "own.csv", b'3," ",1,10,20', 4, "a movie_title that is not empty", "' '"),
    Bad("own NUL", OWN, "own.csv", b"3,a\0b,1,10,20", 4, "", "", r"3,a\x00b,1,10,20"),
    Bad("own no number", OWN, "own.csv", b"3,A,4 stars,10,20", 4, "a user_rating that is a number", "'4 stars'"),
    Bad("own hexadecimal", OWN, "own.csv", b"3,A,0x10,10,20", 4, "a user_rating that is a number", "'0x10'"),
    Bad("own grouped digits", OWN, "own.csv", b"3,A,1_0,10,20", 4, "a user_rating that is a number", "'1_0'"),
    Bad("own age", OWN, "own.csv", b"3,A,1,10,24.5", 4, "a user_age that is an integer", "'24.5'"),
    Bad("own timestamp", OWN, "own.csv", b"3,A,1,0x1F,2", 4, "a timestamp in seconds", "'0x1F'"),
    Bad("own not UTF-8", OWN, "own.csv", b"3,caf\xe9,1,10,20", 4, "text in UTF-8", "caf", r"3,caf\xe9,1,10,20"),
    Bad("own open quote", OWN, "own.csv", b'3,"A,1,10,20', 4, "", ""),
]


def judged(bad: Bad) -> dict[str, Any]:
    """Choices without which a file with one line that is no UTF-8 is latin-1, and a value that is unread left out."""
    return {"strict": True, **({"encoding": "utf-8"} if "UTF-8" in bad.expected else {})}


def place(bad: Bad, tmp_path: pathlib.Path, *, tail: bytes = b"") -> pathlib.Path:
    """The release with the bad row at the end, and `tail` behind it."""
    folder = tmp_path / "release"
    folder.mkdir()
    for name, content in bad.files.items():
        (folder / name).write_bytes(
            content.rstrip(b"\n") + b"\n" + bad.row + b"\n" + tail if name == bad.file else content
        )
    return folder / bad.file if bad.file == "own.csv" else folder


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_a_bad_row_stops_with_file_line_value_expectation_and_remedy(bad, tmp_path):
    source = place(bad, tmp_path)
    with pytest.raises(RowError) as caught:
        prepare(source, tmp_path / "out", **judged(bad))
    error = caught.value
    assert isinstance(error, ValueError)
    assert pathlib.Path(error.file) == tmp_path / "release" / bad.file
    assert error.line == bad.line
    assert bad.expected in error.expected
    assert bad.value in error.value
    for part in (error.file, f"line {bad.line}", error.expected, error.value):
        assert part in str(error)
    assert str(error).endswith("--scale LOW HIGH" if "in [" in bad.expected else "raise --max-rejected (now 0)")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_a_bad_row_that_is_put_up_with_is_set_aside_and_changes_nothing_else(bad, tmp_path):
    expected = next((tables for files, tables in LAYOUTS.values() if files is bad.files), OWN_TABLES)
    source = place(bad, tmp_path)
    summary = prepare(source, tmp_path / "out", max_rejected=1, **judged(bad))
    written = tables_in(tmp_path / "out")
    assert written.pop("rejected/rejected.csv")
    assert written == expected
    with (tmp_path / "out/rejected/rejected.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "line", "reason", "raw"]
    [(name, line, reason, raw)] = rows
    assert (pathlib.Path(name), int(line)) == (tmp_path / "release" / bad.file, bad.line)
    assert bad.expected in reason
    assert raw.removeprefix("'") == (bad.raw or bad.row.decode())
    of_ratings = bad.file in RATINGS_FILES
    assert summary.sidecar.rejected == of_ratings
    assert summary.rejected_elsewhere == (not of_ratings)
    assert summary.sidecar.rows_read == summary.sidecar.rejected + summary.sidecar.merged + summary.sidecar.rows


def test_ratings_of_a_rejected_item_are_rejected_too(tmp_path):
    bad = Bad("", HUNDRED_K, "u.item", b"6||||||", 6, "", "")
    source = place(bad, tmp_path)
    (source / "u.data").write_bytes(HUNDRED_K["u.data"] + b"1\t6\t1\t1\n")
    summary = prepare(source, tmp_path / "out", max_rejected=2)
    sidecar = summary.sidecar
    assert (sidecar.rejected, summary.rejected_elsewhere, sidecar.merged, sidecar.rows) == (1, 1, 1, 3)
    assert sidecar.rows_read == 5


def test_one_bad_row_more_than_allowed_writes_nothing(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    for name, content in HUNDRED_K.items():
        (folder / name).write_bytes(content + (b"1\t1\t9\t1\n2\t1\t8\t1\n" if name == "u.data" else b""))
    with pytest.raises(RowError, match=r"more than 1 bad rows; the next: .*u\.data, line 6: .*'8'.*"):
        prepare(folder, tmp_path / "out", max_rejected=1)
    assert not (tmp_path / "out").exists()
    assert prepare(folder, tmp_path / "out", max_rejected=2).sidecar.rejected == 2


def test_rejected_rows_of_an_earlier_run_do_not_stay(tmp_path):
    source = place(BAD[0], tmp_path)
    prepare(source, tmp_path / "out", max_rejected=1)
    (source / "u.data").write_bytes(HUNDRED_K["u.data"])
    prepare(source, tmp_path / "out")
    assert not (tmp_path / "out/rejected/rejected.csv").exists()


def test_all_rows_bad_is_an_error(tmp_path):
    (tmp_path / "own.csv").write_text("user_id,movie_title,user_rating\n1,A,x\n")
    with pytest.raises(DataError, match="got none that is good"):
        prepare(tmp_path / "own.csv", tmp_path / "out", max_rejected=5)


def test_scale_given_by_the_user_is_checked(tmp_path):
    (tmp_path / "own.csv").write_text("user_id,movie_title,user_rating\n1,A,3\n1,B,11\n")
    with pytest.raises(RowError, match=r"line 3: expected a user_rating in \[1, 10\]; got '11'; .*--scale LOW HIGH"):
        prepare(tmp_path / "own.csv", tmp_path / "out", scale=(1, 10))


@pytest.mark.parametrize(
    "quoted",
    [b'3,"A,1,10,20', b'3,"A\n,1,10,20', b'3,"A\n"B,1,10,20'],
    ids=["never closed", "over two lines", "closed in a later line"],
)
def test_a_stray_quote_costs_its_line_and_not_those_behind_it(quoted, tmp_path):
    tail = b"".join(b'%d,"A, B",3,10,20\n' % user for user in range(100, 200))
    source = place(Bad("", OWN, "own.csv", quoted, 4, "", ""), tmp_path, tail=tail)
    summary = prepare(source, tmp_path / "out", max_rejected=2)
    assert summary.sidecar.rows == 102
    assert summary.sidecar.rejected == quoted.count(b"\n") + 1
    with (tmp_path / "out/rejected/rejected.csv").open(newline="") as file:
        assert [row[1] for row in csv.reader(file)][1:] == ["4", "5"][: summary.sidecar.rejected]


def test_line_numbers_count_physical_lines(tmp_path):
    text = 'user_id,movie_title,user_rating\n1,"A\nB\n\nC",1\n\n2,D,x\n'
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(RowError, match=r"line 7: .*'x'"):
        prepare(tmp_path / "own.csv", tmp_path / "out")


def test_long_values_are_cut_in_messages(tmp_path):
    (tmp_path / "own.csv").write_text("user_id,movie_title,user_rating\n1,A," + "x" * 100_000 + "\n")
    with pytest.raises(RowError) as caught:
        prepare(tmp_path / "own.csv", tmp_path / "out")
    assert len(str(caught.value)) < 500


LONG = 131_000


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1," + "e\u0301\u0327" * (LONG // 3) + ",3,10,20", "a movie_title of at most 4,096 characters"),
        ("u" * 4097 + ",A,3,10,20", "a user_id of at most 4,096 characters"),
        ("1,A," + "9" * LONG + ",10,20", "a user_rating that is a number"),
        ("1,A,3," + "9" * LONG + ",20", "a timestamp in seconds since 1970"),
        ("1,A,3,10," + "9" * LONG, "a user_age that is an integer"),
    ],
    ids=lambda value: value[:9],
)
def test_a_cell_of_many_characters_is_refused_in_milliseconds(row: str, expected: str, tmp_path: pathlib.Path) -> None:
    source = place(Bad("", OWN, "own.csv", row.encode(), 4, "", ""), tmp_path)
    began = time.perf_counter()
    with pytest.raises(RowError, match=f"line 4: expected {expected}"):
        prepare(source, tmp_path / "out", strict=True)
    assert time.perf_counter() - began < 0.5


def test_as_many_characters_as_are_allowed_are_read() -> None:
    assert parse_text("x" * 4096, "movie_title") == "x" * 4096


@pytest.mark.parametrize(
    ("raw", "cell"),
    [
        ("=1+1,A,x", "'=1+1,A,x"),
        ("+1,A,x", "'+1,A,x"),
        ("-1,A,x", "'-1,A,x"),
        ("@SUM(A1),A,x", "'@SUM(A1),A,x"),
        ("\t7,A,x", "'\t7,A,x"),
        ("'7,A,x", "''7,A,x"),
        ("7,=1,x", "7,=1,x"),
    ],
)
def test_no_cell_of_rejected_rows_is_a_formula_and_each_reads_back(raw: str, cell: str, tmp_path: pathlib.Path) -> None:
    rejects = Rejects(max_rejected=1)
    rejects.add(file="=file", line=2, problem=BadFieldError("'x'", "a number"), raw=raw)
    rejects.write(tmp_path / "rejected.csv")
    with (tmp_path / "rejected.csv").open(encoding="utf-8", newline="") as file:
        _, row = csv.reader(file)
    assert row == ["'=file", "2", "expected a number; got 'x'", cell]
    assert row[3].removeprefix("'") == raw


def test_max_rejected_below_zero():
    with pytest.raises(ValueError, match="0 or more; got -1"):
        Rejects(-1)


def test_one_bad_row_too_many_leads_to_the_one_thing_that_helps():
    scale, plain = BadFieldError("'9'", "a b in [1, 5]", "give --scale LOW HIGH"), BadFieldError("'x'", "a number")
    for remedy, problem, expected in (
        ("", plain, "a.csv, line 3: expected a number; got 'x'; fix the row or raise --max-rejected (now 0)"),
        ("", scale, "a.csv, line 3: expected a b in [1, 5]; got '9'; give --scale LOW HIGH"),
        ("mend it", scale, "a.csv, line 3: expected a b in [1, 5]; got '9'; mend it"),
    ):
        with pytest.raises(RowError) as caught:
            Rejects(remedy=remedy).add(file="a.csv", line=3, problem=problem, raw="x")
        assert str(caught.value) == expected


def test_texts_by_hand():
    assert parse_text("  Zoé \r\n  and\nI ", "title") == "Zoé and I"
    assert [with_article(what) for what in ("title", "item")] == ["a title", "an item"]
