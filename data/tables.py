"""Text files of records, read one record at a time with physical line numbers, whatever state the file is in."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, TypeVar

from data.errors import LayoutError
from data.progress import Progress, silent
from data.rejects import BadFieldError, Rejects, shown

T = TypeVar("T")

_UNDECODABLE = re.compile("[\udc80-\udcff]")
_BYTE_ORDER_MARK = "\ufeff"
_LINES_BETWEEN_REPORTS = 50_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A text file of records, one a line, or more where a quoted field holds line breaks.

    Attributes:
      path: where the bytes are.
      shown: the file's name in messages.
      separator: stands between fields; one or two characters.
      width: fields in a record.
      fields: position of each field that is used, by its name.
      encoding: "utf-8" or "latin-1".
      quoted: fields may be quoted as RFC 4180 says.
      header: the first line names the fields.
    """

    path: pathlib.Path
    shown: str
    separator: str
    width: int
    fields: Mapping[str, int]
    encoding: str = "utf-8"
    quoted: bool = False
    header: bool = False


@dataclasses.dataclass(frozen=True)
class Record:
    r"""One record as it stands in the file.

    Attributes:
      line: physical line it starts on, the first being 1.
      raw: its text; NUL and undecodable bytes as `\xNN`.
      fields: its fields, or what is wrong with it as a whole.
    """

    line: int
    raw: str
    fields: list[str] | BadFieldError


class _Lines:
    """Physical lines, decoded and counted, that can be given back."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.number = 0
        self.bytes_read = 0
        self.taken: list[str] = []
        self.ended = False
        self._file = file
        self._encoding = encoding
        self._returned: collections.deque[str] = collections.deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._returned:
            line = self._returned.popleft()
        else:
            data = self._file.readline()
            if not data:
                self.ended = True
                raise StopIteration
            self.bytes_read += len(data)
            # Undecodable bytes become lone surrogates, which no valid text holds, so the record can be judged whole.
            line = data.decode(self._encoding, "surrogateescape")
            if self.number == 0:
                line = line.removeprefix(_BYTE_ORDER_MARK)
        self.number += 1
        self.taken.append(line)
        return line

    def give_back_all_but_first(self) -> None:
        self._returned.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        del self.taken[1:]
        self.ended = False


def records(table: Table, progress: Progress = silent) -> Iterator[Record]:
    """Every record of the file; blank lines are none.

    A quote that is opened and not closed as RFC 4180 says would swallow the lines behind it: such a record is bad, is
    taken to be its first line alone, and reading goes on with the second.
    """
    total = table.path.stat().st_size
    with table.path.open("rb") as file:
        lines = _Lines(file, table.encoding)
        if table.header:
            next(lines, None)
        parse = _parse_quoted if table.quoted else _parse_split
        reported = 0
        while True:
            lines.taken.clear()
            start = lines.number + 1
            parsed = parse(table, lines)
            if parsed is None:
                return
            if not isinstance(parsed, BadFieldError):
                if not parsed:
                    continue
                if len(parsed) != table.width:
                    parsed = BadFieldError(f"{len(parsed)} fields", f"{table.width} fields")
            if isinstance(parsed, BadFieldError):
                lines.give_back_all_but_first()
            raw = (lines.taken[0] if len(lines.taken) == 1 else "".join(lines.taken)).rstrip("\r\n")
            if not raw.isascii() and _UNDECODABLE.search(raw):
                raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                parsed = BadFieldError(shown(raw), f"text in {table.encoding}")
            yield Record(start, raw.replace("\0", r"\x00"), parsed)
            if lines.number - reported >= _LINES_BETWEEN_REPORTS:
                reported = lines.number
                progress(f"checking {table.path.name}", lines.bytes_read, total)


def _parse_split(table: Table, lines: _Lines) -> list[str] | None:
    line = next(lines, None)
    if line is None:
        return None
    text = line.rstrip("\r\n")
    return text.split(table.separator) if text else []


def _parse_quoted(table: Table, lines: _Lines) -> list[str] | BadFieldError | None:
    first = next(lines, None)
    if first is None:
        return None
    text = first.rstrip("\r\n")
    if '"' not in text and "\r" not in text and "\0" not in text:
        return text.split(table.separator) if text else []
    try:
        fields = next(csv.reader(itertools.chain([first], lines), delimiter=table.separator))
        if len(lines.taken) > 1:
            if lines.ended:
                return BadFieldError("a quote that is never closed", "closed quotes")
            list(csv.reader(lines.taken, delimiter=table.separator, strict=True))
    except csv.Error as error:
        return BadFieldError(f"a row that breaks off: {error}", "fields quoted as RFC 4180 says")
    return fields


def parsed(table: Table, rejects: Rejects, parse: Callable[[list[str]], T], progress: Progress = silent) -> Iterator[T]:
    """What `parse` makes of each record; records that it, or the file's form, refuses go to `rejects`.

    Args:
      table: the file.
      rejects: takes the bad records.
      parse: gets the fields of a record; raises BadFieldError where one does not hold what it must.
      progress: told how far the file is read.

    Raises:
      RowError: there are more bad records than allowed.
    """
    for record in records(table, progress):
        try:
            if isinstance(record.fields, BadFieldError):
                raise record.fields
            value = parse(record.fields)
        except BadFieldError as problem:
            rejects.add(file=table.shown, line=record.line, problem=problem, raw=record.raw)
        else:
            yield value


def read_header(path: pathlib.Path, name: str) -> list[str]:
    """The names in the first line of a CSV file, stripped.

    Raises:
      LayoutError: there is no such line, or it is not UTF-8.
    """
    with path.open("rb") as file:
        first = file.readline()
    try:
        text = first.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise LayoutError(f"expected a header in UTF-8 in line 1 of {name}; got: {error}; save it as UTF-8") from error
    names = [field.strip() for field in next(csv.reader([text]), [])]
    if not any(names):
        raise LayoutError(f"expected the columns' names in line 1 of {name}; got an empty line; add a header")
    return names
