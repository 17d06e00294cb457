"""Files read in ranges against the same files read whole, with borders at every position."""

from __future__ import annotations

import codecs
import hashlib
import io

import hypothesis
from hypothesis import strategies as st

from data.byte_ranges import ByteRange, divide
from tests.data.tables_in_memory import read_blocks, table_of

HEADER = "x,y,z"
# Cells, of one byte a character and of several; and rows of bad form, all of which are one line.
CELL = st.sampled_from(["", "a", "é", "七", "\ufeff", "\u2028", "\x85", '"b,c"', '"d ""e"""', '""', '"\r"', '",é"'])
ROW = st.tuples(CELL, CELL, CELL).map(",".join) | st.sampled_from(["", "a,b", '"a"b,c,d', "a,b,c,d", "\ufeffa,b,c"])
LINE_END = st.sampled_from(["\n", "\n", "\r\n"])


def divided(content: bytes, range_bytes: int, sha256: str | None = None) -> list[ByteRange]:
    return divide(
        "a.csv",
        sha256=hashlib.sha256(content).hexdigest() if sha256 is None else sha256,
        range_bytes=range_bytes,
        open_file=lambda path: io.BytesIO(content),
    )


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    lines=st.lists(st.tuples(ROW, LINE_END), max_size=6),
    mark=st.sampled_from([b"", codecs.BOM_UTF8]),
    ended=st.booleans(),
)
def test_ranges_of_any_size_hold_what_the_file_does(lines: list[tuple[str, str]], mark: bytes, ended: bool) -> None:
    text = "".join(row + end for row, end in [(HEADER, "\n"), *lines])
    content = mark + (text if ended else text.rstrip("\r\n")).encode()
    table = table_of(content, 3, 0, 1, 2, head=1)
    expected = read_blocks(table)
    for range_bytes in range(1, len(content) + 2):
        ranges = divided(content, range_bytes)
        assert [each.start for each in ranges] == [0, *(each.end for each in ranges[:-1])]
        assert ranges[-1].end == len(content)
        assert all(content[each.end - 1 : each.end] == b"\n" for each in ranges[:-1])
        assert [each.line for each in ranges] == [content.count(b"\n", 0, each.start) + 1 for each in ranges]
        parts = [read_blocks(each.of(table)) for each in ranges]
        assert ([row for rows, _ in parts for row in rows], [line for _, bad in parts for line in bad]) == expected


def test_a_range_is_full_with_the_line_that_reaches_its_size() -> None:
    content = b"x,y\n" + b"a,b\n" * 5
    assert [each.end for each in divided(content, 6)] == [8, 16, 24]
    # One more line where the size is reached with the end of one.
    assert [each.end for each in divided(content, 8)] == [12, 24]
    assert divided(content, 1 << 20) == [ByteRange(start=0, end=24, line=1)]


def test_a_file_with_another_checksum_is_not_divided() -> None:
    content = b"x,y\n" + b"a,b\n" * 5
    assert divided(content, 6, hashlib.sha256(content + b"a,b\n").hexdigest()) == []
