"""Ranges of bytes of a file whose rows are lines, so that several workers can read it at once."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from data.tables import Path, Table, open_local


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByteRange:
    """Consecutive whole lines of a file.

    Attributes:
      start: bytes of the file before them.
      end: bytes of the file up to where the last one ends.
      line: number of the first one, that of the file being 1.
    """

    start: int
    end: int
    line: int

    def of(self, table: Table) -> Table:
        """The table of these lines alone; the header, if the table has one, is in the range with the first line."""

        def open_range(path: Path) -> BinaryIO:
            return io.BufferedReader(_Part(table.open_file(path), self))

        return dataclasses.replace(
            table, open_file=open_range, head=table.head if self.start == 0 else 0, first_line=self.line
        )


def divide(
    path: Path, *, sha256: str, range_bytes: int, open_file: Callable[[Path], BinaryIO] = open_local
) -> list[ByteRange]:
    """Divides a file into ranges that end with the line in which, or before which, so many bytes are full.

    The ranges depend on the bytes alone. The file is read once, about a second a GB.

    Args:
      path: a file in which each row is one line.
      sha256: what its bytes must have, hexadecimal.
      range_bytes: size of a range, but for the rest of its last line.
      open_file: opens the path for reading bytes.

    Returns:
      all of the file, in order; none if it is another one than that of the checksum, of which nobody knows whether its
      rows are lines.
    """
    checksum = hashlib.sha256()
    ranges: list[ByteRange] = []
    start, line = 0, 1
    with open_file(path) as file:
        for lines in _whole_lines(file, range_bytes):
            checksum.update(lines)
            ranges.append(ByteRange(start=start, end=start + len(lines), line=line))
            start, line = ranges[-1].end, line + lines.count(b"\n")
    return ranges if checksum.hexdigest() == sha256 else []


def _whole_lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    while block := file.read(size):
        yield block + file.readline()


class _Part(io.RawIOBase):
    """The bytes of a range, and no others; closes the file with itself."""

    def __init__(self, file: BinaryIO, byte_range: ByteRange) -> None:
        file.seek(byte_range.start)
        self._file, self._left = file, byte_range.end - byte_range.start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(min(len(buffer), self._left))
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)

    def close(self) -> None:
        self._file.close()
        super().close()
