from __future__ import annotations

import io

import hypothesis
import pytest
from hypothesis import strategies as st

from data import netflix


@pytest.mark.parametrize(
    "head",
    [
        b"1:\n1488844,3,2005-09-06\n",
        b"17770:\r\n5,3\r\n",
        b"\xef\xbb\xbf1:\n5,3,2005-09-06\n",
        b"\n1:\n2: \n\n3:\n5,3\n",
    ],
)
def test_blocks_are_told_by_their_first_lines(head):
    assert netflix.looks_like(head)


@pytest.mark.parametrize(
    "head", [b"", b"1:\n", b"user_id,rating\n1,2\n", b"1::2::3\n", b"1:2\n3,4\n", b"1:\n5,2005-09-06\n"]
)
def test_other_files_are_not(head):
    assert not netflix.looks_like(head)


def rows_of(text: str) -> str:
    """Line by line, in plain Python."""
    film, lines = "", []
    for line in text.split("\n"):
        bare = line.rstrip("\r \t")
        if bare.endswith(":") and bare[:-1].isdecimal() and "\r" not in line[:-1]:
            film = bare[:-1]
            lines.append("")
        else:
            lines.append(f"{film},{line}" if line.strip("\r") else line)
    return "\n".join(lines)


LINE = st.sampled_from(["1:", "22:", "3:", "7,5,2005-09-06", "8,1", "x", "", "\r", "\r\r"])


@hypothesis.settings(deadline=None)
@hypothesis.given(lines=st.lists(LINE, min_size=1, max_size=20), size=st.integers(1, 30), ends=st.booleans())
def test_each_line_has_its_film_in_front_at_any_size_of_blocks(lines, size, ends):
    text = "\n".join(lines) + "\n" * ends
    file = netflix.as_rows(io.BytesIO(text.encode()))
    read = b"".join(iter(lambda: file.read(size), b"")).decode()
    assert read == rows_of(text)
    assert netflix.as_rows(io.BytesIO(text.encode())).read().decode() == rows_of(text)


def test_the_file_is_closed_with_its_rows():
    inner = io.BytesIO(b"1:\n7,5\n")
    with netflix.as_rows(inner) as file:
        assert file.readable()
        assert not inner.closed
    assert file.closed
    assert inner.closed


def test_lines_may_end_as_on_windows():
    assert netflix.as_rows(io.BytesIO(b"1:\r\n7,5\r\n8,4\r\n")).read() == b"\r\n1,7,5\r\n1,8,4\r\n"


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_mark_of_utf_8_is_dropped(size):
    file = netflix.as_rows(io.BytesIO(b"\xef\xbb\xbf1:\n7,5\n"))
    assert b"".join(iter(lambda: file.read(size), b"")) == b"\n1,7,5\n"


def test_years_in_which_no_film_is_released_are_none():
    text = b"1,0,A\n2,99999,B\n3,1870,C\n4,2100,D\n5,2101,E\n6," + b"1" * 5000 + b",F\n"
    years = [year for _, year in netflix.read_titles(io.BytesIO(text)).values()]
    assert years == [None, None, 1870, 2100, None, None]


def test_titles_may_hold_commas_and_lack_a_year():
    text = '1,2003,Dinosaur Planet\n2,NULL,"Isle", of Man\n3,1997,\n4,1994,Paula, Abdul\'s Café\n'.encode()
    assert netflix.read_titles(io.BytesIO(text)) == {
        "1": ("Dinosaur Planet", 2003),
        "2": ('"Isle", of Man', None),
        "4": ("Paula, Abdul's Café", 1994),
    }
