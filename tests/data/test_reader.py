"""The reader against Python's own `csv`, on texts that CSV makes hard, at every block size."""

from __future__ import annotations

import csv
import io
import pathlib
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from data import reader, tables
from data.errors import LayoutError, RowError
from data.movielens import File, open_own_csv
from data.rejects import BadFieldError, Rejects, parse_cell, parse_text
from data.tables import Table
from modules import features

HEADER = "user_id,movie_title,user_rating,timestamp"


def table_of(content: bytes, width: int, *used: int, **options: Any) -> Table:
    """A table in memory whose fields are named by their positions."""
    return Table(
        path="a.csv",
        shown="a.csv",
        width=width,
        fields={str(position): position for position in used},
        open_file=lambda path: io.BytesIO(content),
        **{"separator": ",", "quoted": True, **options},
    )


def read_blocks(table: Table) -> tuple[list[tuple[str, ...]], list[int]]:
    """The fields in use of the rows of good form, and the lines of the others."""
    rows: list[tuple[str, ...]] = []
    bad = []
    for block in tables.blocks(table):
        cells = list(zip(*(block.cells[name].to_pylist() for name in table.fields), strict=True))
        again = [record.fields for record in block.records()]
        assert cells == [tuple(each[at] for at in table.fields.values()) for each in again if isinstance(each, list)]
        rows += cells
        bad += [record.line for record in block.bad]
    return rows, bad


def strictly(text: str, width: int) -> tuple[list[tuple[str, ...]], list[int]]:
    """What `csv` in strict mode makes of a text: rows, and lines of those that it or the width refuses."""
    lines = io.StringIO(text, newline="\n").readlines()
    rows, bad, at = [], [], 0
    while at < len(lines):
        left = csv.reader(lines[at:], strict=True)
        try:
            fields = next(left)
        except csv.Error:
            fields = ["refused"] * (width + 1)
        if len(fields) == width:
            rows.append(tuple(fields))
            at += left.line_num
        else:
            bad += [at + 1] if fields else []
            at += 1
    return rows, bad


# Everything that ends fields, rows or lines for some reader, and what takes more than one byte.
PIECE = st.sampled_from(
    ["a", "é", ",", ",", ",", '"', '""', '"a"', ',"', '",', "\n", "\n", "\r\n", "\r", " ", "\ufeff", "\u2028",
     'a,b,c\n', '"a","b","c"\n', '"a\nb",b,"c, ""d"""\r\n']
)  # fmt: skip


@hypothesis.settings(max_examples=600, deadline=None)
@hypothesis.given(text=st.lists(PIECE, max_size=30).map("".join), blocks=st.integers(1, 3))
def test_any_text_is_read_as_the_strict_reader_of_python_does(text, blocks):
    content = text.encode()
    longest = max(map(len, content.split(b"\n")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", max(longest + 1, len(content) // blocks))
        expected_rows, expected_bad = strictly(text.removeprefix("\ufeff"), 3)
        assert read_blocks(table_of(content, 3, 0, 1, 2)) == (expected_rows, expected_bad)
        # What is wrong in a column that nobody uses is wrong all the same.
        assert read_blocks(table_of(content, 3, 1)) == ([(row[1],) for row in expected_rows], expected_bad)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    text=st.lists(st.sampled_from(["a", "é", ":", "::", "::", '"', "\n", "\r\n", "\r", " ", "a::b::c\n"])).map("".join),
    encoding=st.sampled_from(["utf-8", "latin-1"]),
)
def test_separators_of_two_characters_split_as_python_does(text, encoding):
    rows, bad = [], []
    for number, line in enumerate(text.split("\n")):
        fields = line.rstrip("\r").split("::")
        if line.rstrip("\r"):
            rows += [tuple(fields)] if len(fields) == 3 else []
            bad += [] if len(fields) == 3 else [number + 1]
    table = table_of(text.encode(encoding), 3, 0, 1, 2, separator="::", quoted=False, encoding=encoding)
    assert read_blocks(table) == (rows, bad)


CLEAN = b'a,"b ""c"", d",1\r\n\n"e\nf",,"2"\n' * 50


@pytest.mark.parametrize("block_bytes", range(200, 200 + len(CLEAN) // 50))
def test_clean_blocks_are_not_read_record_by_record(block_bytes, monkeypatch):
    """Wherever in a record, or between quotes, a block ends."""
    monkeypatch.setattr(tables, "_next_record", None)
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    table = table_of(CLEAN, 3, 0, 1, 2)
    rows = [row for block in tables.blocks(table) for row in zip(*(block.cells[n].to_pylist() for n in "012"))]  # noqa: B905
    assert rows == [("a", 'b "c", d', "1"), ("e\nf", "", "2")] * 50


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b'1,"a"b,c\n', "breaks off"),
        (b'1,"a,c\n', "breaks off"),
        (b"1,2\n", "2 fields"),
        (b"1,2,3,4\n", "4 fields"),
        (b"1,\xff,3\n", "xff"),
        (b"1,a\0,3\n", "x00"),
        (b'1,"a\nb\0",3\n', "x00"),
        (b"1,a\rb,3\n", "breaks off"),
        (b"\0001,a,3\n", "x00"),
        (b"\r1,a,3\n", "breaks off"),
    ],
)
@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
@pytest.mark.parametrize("used", [(0, 1, 2), (0,)])
def test_a_row_of_bad_form_costs_itself_alone(bad, problem, block_bytes, used, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    for before, line in ((CLEAN, 4 * 50 + 1), (b"", 1)):
        table = table_of(before + bad + CLEAN, 3, *used)
        found = [record for block in tables.blocks(table) for record in block.bad]
        assert [record.line for record in found] == [line]
        assert isinstance(found[0].fields, BadFieldError)
        assert problem in found[0].fields.value
        assert len(read_blocks(table)[0]) == (200 if before else 100)


def test_a_quote_that_is_never_closed_costs_its_line_and_no_memory(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1 << 16)
    plain = b"1,Heat,5\n" * 50_000
    blocks = []
    bad = []
    for block in tables.blocks(table_of(plain + b'2,"Speed,4\n' + plain, 3, 0, 1)):
        blocks.append(len(block.cells["0"]))
        bad += block.bad
    (record,) = bad
    assert record.line == 50_001
    assert isinstance(record.fields, BadFieldError)
    assert "a quote that is never closed" in record.fields.value
    assert record.fields.expected == "fields of at most 131072 characters"
    assert sum(blocks) == 100_000
    assert max(blocks) < 40_000


@pytest.mark.parametrize("field", ["x" * 131_072, "é" * 131_072, "x" * 131_073, "é" * 131_073], ids=len)
@pytest.mark.parametrize("form", ["a,{},c", 'a,"{}",c', "a::{}::c"])
def test_fields_are_bounded_alike_quoted_or_not(field, form):
    """What is written between quotes must be readable if it was read without them."""
    options = {"separator": "::", "quoted": False} if "::" in form else {}
    content = f"1,2,3\n{form.format(field)}\n".replace("1,2,3", "1::2::3" if options else "1,2,3").encode()
    rows, bad = read_blocks(table_of(content, 3, 1, **options))
    fits = len(field) <= csv.field_size_limit()
    assert (rows, bad) == ([("2",), (field,)] if fits else [("2",)], [] if fits else [2])


def test_lines_longer_than_a_block_are_refused(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 100)
    with pytest.raises(LayoutError, match=r"a\.csv, line 2: expected lines of at most 100 bytes"):
        read_blocks(table_of(b"1,2,3\n" + b"x" * 400 + b",2,3\n", 3, 0))


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


@pytest.mark.parametrize("column", [features.TIMESTAMP, features.RELEASE_YEAR, features.USER_AGE], ids=lambda c: c.name)
def test_integers_are_bounded_alike_one_by_one_and_all_at_once(column):
    high = 10**18 - 1 if column.high is None else column.high
    good = {"": reader.NO_TIMESTAMP, f" {column.low}\t": column.low, str(high): high}
    parse = reader.IntegerParser(column)
    assert [parse(text) for text in good] == list(good.values())
    cells = reader.judged(table_of("".join(f"{text},\n" for text in good).encode(), 2, 0), {"0": parse}, Rejects())
    np.testing.assert_array_equal(next(cells)["0"].array(np.int64), list(good.values()))
    for text in (str(column.low - 1), str(high + 1), "x", "1.0", "9" * 19):
        with pytest.raises(BadFieldError, match=f"a {column.name} (in|of at least|that is an integer)"):
            parse_cell(text, column)
        with pytest.raises(RowError, match=rf"line 4: expected a {column.name} .* got '{text}'"):
            list(reader.judged(table_of(f",\n,\n,\n{text},\n".encode(), 2, 0), {"0": parse}, Rejects()))


@pytest.fixture
def own_csv(tmp_path: pathlib.Path):
    def write(text: str) -> pathlib.Path:
        (tmp_path / "own.csv").write_text(text)
        return tmp_path / "own.csv"

    return write


def test_columns_have_the_types_that_keep_memory_small(own_csv):
    release = open_own_csv(File(own_csv(f"{HEADER}\n7,A,3,\n8,A,4,12\n7,B,1,0\n"), "own.csv"), None, None)
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
    release = open_own_csv(File(own_csv(f"{HEADER}\n7,A,3,\n8,B,x,12\n7,C,1,0\n"), "own.csv"), None, None)
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
    release = open_own_csv(File(path, "own.csv"), None, (1, 5))
    assert (len(list(tables.blocks(release.ratings[""]))) > 10) == (block_bytes == 200)
    columns = reader.read(release.ratings[""], release, Rejects())
    assert [release.users.values[code] for code in columns.user] == [str(row[0]) for row in rows]
    assert {release.titles.values[code]: value for code, value in release.attributes["genres"].items()} == genres
    assert {release.users.values[code]: value for code, value in release.attributes["user_age"].items()} == ages
