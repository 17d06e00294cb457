"""The form of text files against Python's own `csv`, on texts that CSV makes hard, at every block size."""

from __future__ import annotations

import csv

import hypothesis
import pytest
from hypothesis import strategies as st

from data import tables
from data.errors import LayoutError
from data.rejects import BadFieldError
from tests.data.tables_in_memory import read_blocks, strictly, table_of

# Everything that ends fields, rows or lines for some reader, and what takes more than one byte.
PIECE = st.sampled_from(
    ["a", "é", ",", ",", ",", '"', '""', '"a"', ',"', '",', "\n", "\n", "\r\n", "\r", " ", "\ufeff", "\u2028",
     'a,b,c\n', '"a","b","c"\n', '"a\nb",b,"c, ""d"""\r\n']
)  # fmt: skip


ESCAPED = st.sampled_from(["\\", '\\"', "\\\\", "\\,", '"a\\"b",c,d\n', '"a\\\\",b,"\\""\n'])


@hypothesis.settings(max_examples=600, deadline=None)
@hypothesis.given(text=st.lists(PIECE | ESCAPED, max_size=30).map("".join), blocks=st.integers(1, 3))
def test_escaped_quotes_are_read_as_the_strict_reader_of_python_does(text, blocks):
    content = text.encode()
    longest = max(map(len, content.split(b"\n")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", max(longest + 1, len(content) // blocks))
        expected = strictly(text.removeprefix("\ufeff"), 3, "\\")
        assert read_blocks(table_of(content, 3, 0, 1, 2, escape="\\")) == expected


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
    text=st.lists(st.sampled_from(["a", "é", ":", "::", "::", '"', "\n", "\r\n", "\r", " ", "a::b::c\n"])).map("".join)
)
def test_separators_of_two_characters_split_as_python_does(text):
    rows, bad = [], []
    for number, line in enumerate(text.split("\n")):
        fields = line.rstrip("\r").split("::")
        if line.rstrip("\r"):
            rows += [tuple(fields)] if len(fields) == 3 else []
            bad += [] if len(fields) == 3 else [number + 1]
    table = table_of(text.encode(), 3, 0, 1, 2, separator="::", quoted=False)
    assert read_blocks(table) == (rows, bad)


CLEAN = b'a,"b ""c"", d",1\r\n\n"e\nf",,"2"\n' * 50


@pytest.mark.parametrize("block_bytes", range(200, 200 + len(CLEAN) // 50))
def test_clean_blocks_are_not_read_record_by_record(block_bytes, monkeypatch):
    """Wherever in a record, or between quotes, a block ends."""
    monkeypatch.setattr(tables, "_next_record", None)
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    table = table_of(CLEAN, 3, 0, 1, 2)
    rows = [row for block in table.blocks() for row in zip(*(block.cells[n].to_pylist() for n in "012"))]  # noqa: B905
    assert rows == [("a", 'b "c", d', "1"), ("e\nf", "", "2")] * 50


def test_clean_blocks_with_escapes_are_not_read_record_by_record(monkeypatch):
    monkeypatch.setattr(tables, "_next_record", None)
    monkeypatch.setattr(tables, "BLOCK_BYTES", 300)
    content = b'a,"b \\"c\\", d",1\r\n"e\\\\",,"2"\n' * 50
    rows, bad = [], []
    for block in table_of(content, 3, 0, 1, 2, escape="\\").blocks():
        rows += zip(*(block.cells[name].to_pylist() for name in "012"))  # noqa: B905
        bad += block.bad
    assert (rows, bad) == ([("a", 'b "c", d', "1"), ("e\\", "", "2")] * 50, [])


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
        found = [record for block in table.blocks() for record in block.bad]
        assert [record.line for record in found] == [line]
        assert isinstance(found[0].fields, BadFieldError)
        assert problem in found[0].fields.value
        assert len(read_blocks(table)[0]) == (200 if before else 100)


def test_a_quote_that_is_never_closed_costs_its_line_and_no_memory(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1 << 16)
    plain = b"1,Heat,5\n" * 50_000
    blocks = []
    bad = []
    for block in table_of(plain + b'2,"Speed,4\n' + plain, 3, 0, 1).blocks():
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
