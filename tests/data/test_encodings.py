from __future__ import annotations

import io

import hypothesis
import pytest
from hypothesis import strategies as st

from data import encodings
from data.errors import LayoutError


def find(content: bytes, asked: str | None = None) -> str:
    return encodings.find(lambda: io.BytesIO(content), "a.csv", asked).name


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "utf-8"),
        (b"plain\n", "utf-8"),
        ("Café\nÉté\n".encode(), "utf-8"),
        ("Café\nplain\n".encode("latin-1"), "latin-1"),
        ("no line break: é".encode("latin-1"), "latin-1"),
        ("\ufeffa,b\n".encode(), "utf-8"),
        ("é,b\n".encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + "é,b\n".encode("utf-16-be"), "utf-16"),
        ("é,b\n".encode("utf-32"), "utf-32"),
    ],
)
def test_marks_come_first_then_utf_8_then_latin_1(content, name):
    assert find(content) == name


@pytest.mark.parametrize("padding", [0, 1 << 20, 5 << 20])
@pytest.mark.parametrize("order", [1, -1])
def test_a_mixture_is_refused_with_the_first_line_of_each(padding, order):
    lines = ["Café\n".encode(), "Été\n".encode("latin-1")][::order]
    content = b"plain\n" + lines[0] + b"x\n" * (padding // 2) + lines[1] + lines[1]
    far = 3 + padding // 2
    utf_8, other = (2, far) if order == 1 else (far, 2)
    with pytest.raises(LayoutError) as caught:
        find(content)
    assert f"UTF-8 in line {utf_8}: 'Café', and something else in line {other}: 'Été'" in str(caught.value)
    assert "--encoding" in str(caught.value)
    assert find(content, "latin-1") == "latin-1"


@pytest.mark.parametrize("name", ["latin1", "ISO-8859-1", "l1"])
def test_names_of_encodings_are_those_of_python(name):
    assert find("é".encode(), name) == "latin-1"


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13"])
def test_what_is_no_encoding_of_text_is_refused(name):
    with pytest.raises(LayoutError, match=f"expected the name of an encoding.*{name}"):
        find(b"a", name)


@hypothesis.settings(deadline=None)
@hypothesis.given(
    text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=60),
    name=st.sampled_from(["utf-16", "utf-32", "utf-8", "gb18030"]),
    size=st.integers(1, 20),
)
def test_any_text_reads_as_utf_8_at_any_size_of_blocks(text, name, size):
    file = encodings.as_utf_8(io.BytesIO(text.encode(name)), name, "a.csv")
    parts = []
    while part := file.read(size):
        parts.append(part)
    assert b"".join(parts) == text.encode()


def test_the_file_is_closed_with_its_text():
    inner = io.BytesIO("é\n".encode("latin-1"))
    with encodings.as_utf_8(inner, "latin-1", "a.csv") as file:
        assert file.readable()
        assert file.read(1) == "é".encode()
        assert file.read(None) == b"\n"
        assert not inner.closed
    assert file.closed
    assert inner.closed


@pytest.mark.parametrize(("content", "asked"), [(b"a\n", "cp1252"), ("a\n".encode("utf-16"), None)])
def test_bytes_are_not_counted_where_nothing_is_looked_for(content, asked):
    assert encodings.find(lambda: io.BytesIO(content), "a.csv", asked).size == 0


def test_bytes_without_a_meaning_stay_no_utf_8():
    """So that the row that they stand in is a bad row."""
    assert encodings.as_utf_8(io.BytesIO(b"a\x80\x81b"), "cp1252", "a.csv").read() == "a€".encode() + b"\x81b"


def test_text_that_breaks_off_is_refused_with_its_line():
    file = encodings.as_utf_8(io.BytesIO("a\nb\n".encode("utf-16") + b"x"), "utf-16", "a.csv")
    with pytest.raises(LayoutError, match=r"expected a\.csv to be in utf-16.*behind line 3"):
        list(iter(lambda: file.read(100), b""))


# The first and the last characters of two and of four bytes among them.
UTF_8 = ["Café", "É", "\x80", "\u07ff", "\U00010000", "\U0010ffff"]
LINES = st.sampled_from([b"plain", b"", "Été".encode("latin-1"), b"\xff", *(text.encode() for text in UTF_8)])


@hypothesis.settings(deadline=None)
@hypothesis.given(lines=st.lists(LINES, max_size=12), ends=st.booleans(), block=st.integers(6, 30))
def test_any_file_is_told_at_any_size_of_blocks(lines, ends, block):
    content = b"\n".join(lines) + b"\n" * ends
    numbers: dict[bool, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.isascii():
            numbers.setdefault(line.decode("utf-8", "replace").encode() == line, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "_BLOCK_BYTES", block)
        if len(numbers) < 2:
            found = encodings.find(lambda: io.BytesIO(content), "a.csv")
            assert found == encodings.Encoding("latin-1" if False in numbers else "utf-8", len(content))
            return
        with pytest.raises(LayoutError) as caught:
            encodings.find(lambda: io.BytesIO(content), "a.csv")
    assert f"UTF-8 in line {numbers[True]}: " in str(caught.value)
    assert f"something else in line {numbers[False]}: " in str(caught.value)
