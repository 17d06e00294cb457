"""The encoding of a text file: found by reading the file once, and undone while it is read again.

Everything behind this file reads UTF-8 alone.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import io
import re
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from data.errors import LayoutError
from data.rejects import shown as quoted

UTF_8 = "utf-8"
LATIN_1 = "latin-1"

# UTF-32 first: its mark begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK_BYTES = 4 << 20
_NOT_ASCII_LINE = re.compile(rb"[^\n]*[\x80-\xff][^\n]*")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How bytes become text.

    Attributes:
      name: as Python spells it, such as "utf-8".
      size: bytes of the file, unpacked; 0 where they were not counted.
    """

    name: str
    size: int


@dataclasses.dataclass
class _Line:
    """The first line of some kind."""

    number: int
    text: str

    def __str__(self) -> str:
        return f"line {self.number}: {quoted(self.text)}"


def check_known(name: str) -> str:
    """The name of an encoding as Python spells it.

    Raises:
      LayoutError: Python knows no such encoding of text.
    """
    try:
        with contextlib.suppress(UnicodeDecodeError):
            b"a".decode(name)
        found = codecs.lookup(name).name
        return LATIN_1 if found == codecs.lookup(LATIN_1).name else found
    except LookupError as error:
        raise LayoutError(
            f"expected the name of an encoding in --encoding, such as utf-8, latin-1, cp1252, utf-16; got {name!r}"
        ) from error


def find(open_file: Callable[[], BinaryIO], shown: str, asked: str | None = None) -> Encoding:
    """Finds the encoding of a file: what its mark says, UTF-8 where all of it decodes so, else latin-1.

    Latin-1 takes any bytes for text, so a file of which some lines are UTF-8 and others are not is refused: one of the
    two would be garbled.

    Args:
      open_file: opens the file for reading its bytes, unpacked.
      shown: its name in messages.
      asked: the encoding that the user names; then nothing is looked for.

    Raises:
      LayoutError: the file is a mixture; `asked` is no encoding.
    """
    if asked is not None:
        return Encoding(check_known(asked), 0)
    size = lines = 0
    utf_8: _Line | None = None
    other: _Line | None = None
    rest = b""
    with open_file() as file:
        while block := file.read(_BLOCK_BYTES):
            marked = next((name for mark, name in _MARKS if not size and block.startswith(mark)), None)
            if marked is not None:
                return Encoding(marked, 0)
            size += len(block)
            end = block.rfind(b"\n") + 1
            whole, rest = (rest + block[:end], block[end:]) if end else (b"", rest + block)
            if len(rest) > _BLOCK_BYTES:  # no line that could be read
                whole, rest = rest, b""
            utf_8, other = _look_through(whole, lines, utf_8, other)
            lines += whole.count(b"\n")
    utf_8, other = _look_through(rest, lines, utf_8, other)
    if utf_8 and other:
        raise LayoutError(
            f"expected {shown} to be in one encoding; got UTF-8 in {utf_8}, and something else in {other}; save it in "
            f"one encoding, or name it with --encoding: with utf-8, lines that are not are bad rows"
        )
    return Encoding(LATIN_1 if other else UTF_8, size)


def _look_through(
    text: bytes, lines: int, utf_8: _Line | None, other: _Line | None
) -> tuple[_Line | None, _Line | None]:
    """The first line that is UTF-8 and not ASCII, and the first that is not UTF-8, when these lines are read, too."""
    if text.isascii() or (utf_8 and other):
        return utf_8, other
    # Where one of the two is known, most blocks hold no line of the other kind.
    if (utf_8 and _is_utf_8(text)) or (other and not _may_hold_utf_8(text)):
        return utf_8, other
    for match in _NOT_ASCII_LINE.finditer(text):
        is_utf_8 = _is_utf_8(match[0])
        if (utf_8 if is_utf_8 else other) is None:
            line = _Line(
                lines + text.count(b"\n", 0, match.start()) + 1, match[0].decode(UTF_8 if is_utf_8 else LATIN_1)
            )
            utf_8, other = (line, other) if is_utf_8 else (utf_8, line)
            if utf_8 and other:
                break
    return utf_8, other


def _may_hold_utf_8(text: bytes) -> bool:
    """Whether a byte that may begin a character of several stands before one that may go on with it."""
    codes = np.frombuffer(text, np.uint8)
    return bool(((codes[:-1] >= 0xC2) & (codes[1:] >> 6 == 0b10)).any())


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode(UTF_8)
    except UnicodeDecodeError:
        return False
    return True


class _Transcoded(io.BufferedIOBase):
    """A file of another encoding, read as UTF-8. What does not decode stays what it is: no valid UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str, shown: str) -> None:
        self._file, self._shown = file, shown
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._lines = 1

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """About as many bytes as asked for, more or fewer; none at the end of the file alone."""
        while True:
            block = self._file.read(-1 if size is None else size)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise LayoutError(
                    f"expected {self._shown} to be in {error.encoding}; got bytes behind line {self._lines} that do "
                    f"not decode: {error.reason}; name another with --encoding"
                ) from error
            self._lines += text.count("\n")
            if text or not block:
                return text.encode(UTF_8, "surrogateescape")

    def close(self) -> None:
        self._file.close()
        super().close()


def as_utf_8(file: BinaryIO, encoding: str, shown: str) -> BinaryIO:
    """The bytes of a text file as UTF-8."""
    if encoding == UTF_8:
        return file
    return _Transcoded(file, encoding, shown)  # type: ignore[return-value]
