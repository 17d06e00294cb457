"""Text files of records: read a block of rows at a time where they are clean, and one record at a time where not.

One record at a time is how the form of a file is judged: Python's `csv` in strict mode, with physical line numbers,
whatever state the file is in. It takes some microseconds a row. So blocks of a few MB are first looked at whole, all
columns of them, and parsed by Arrow if nothing in them could be judged otherwise; any doubt leads to the slow judge,
for that block alone. Memory is bounded by a few blocks.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import functools
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data.errors import LayoutError
from data.progress import Progress, silent
from data.rejects import LINE, BadFieldError, Rejects, shown
from modules.features import Column
from modules.normalization import normalize

T = TypeVar("T")
Path = Any  # a str or os.PathLike[str]

# Bytes read at once; no line may be longer. What is made of them takes some 15 times as much memory.
BLOCK_BYTES = 4 << 20

# What to do about a file of a data folder that is not as it should be.
PREPARE = "run `movie-ranking data prepare` on the file, which writes what is expected, or fix it by hand"
_MAX_PROBLEMS_SHOWN = 10
_QUOTES_ARE_TEXT = ", or --no-quotes where quotes are text"

_UNDECODABLE = re.compile("[\udc80-\udcff]")


def open_local(path: Path) -> BinaryIO:
    """Opens a local file for reading bytes."""
    return open(path, "rb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A text file of records, one a line, or more where a quoted field holds line breaks.

    Attributes:
      path: where the bytes are.
      shown: the file's name in messages.
      separator: stands between fields; one or two characters, one where fields may be quoted.
      width: fields in a record.
      fields: position of each field that is used, by its name.
      quoted: fields may be quoted as RFC 4180 says.
      escape: stands before a character of a quoted file that means nothing but itself; empty where there is no such.
      decimal_comma: numbers may have a comma for a decimal point.
      head: lines before the first record, such as the header.
      first_line: number of the line that `open_file` begins with; above 1 for a part of a file.
      size: bytes that `open_file` gives, 0 where nobody knows; for progress alone.
      open_file: opens the path for reading UTF-8.
    """

    path: Path
    shown: str
    separator: str
    width: int
    fields: Mapping[str, int]
    quoted: bool = False
    escape: str = ""
    decimal_comma: bool = False
    head: int = 0
    first_line: int = 1
    size: int = 0
    open_file: Callable[[Path], BinaryIO] = open_local

    def blocks(self, progress: Progress = silent) -> Iterator[Block]:
        """Every record of the file, a few MB at a time; as `records` has them.

        Raises:
          LayoutError: a line is longer than `BLOCK_BYTES`.
        """
        return _blocks(self, progress)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined:
    """Several files of the same fields, read one behind the other as one.

    Attributes:
      tables: the files, at least one.
    """

    tables: Sequence[Table]

    @property
    def shown(self) -> str:
        """Their names in messages."""
        return ", ".join(table.shown for table in self.tables)

    @property
    def fields(self) -> Mapping[str, int]:
        """Position of each field that is used, by its name."""
        return self.tables[0].fields

    @property
    def decimal_comma(self) -> bool:
        """Numbers may have a comma for a decimal point."""
        return self.tables[0].decimal_comma

    def blocks(self, progress: Progress = silent) -> Iterator[Block]:
        """Every record of the files; see `Table.blocks`."""
        for table in self.tables:
            yield from table.blocks(progress)


@dataclasses.dataclass(frozen=True)
class Record:
    r"""One record as it stands in the file.

    Attributes:
      line: physical line it starts on, the first being 1; of a file without lines, number of the record.
      raw: its text; NUL and undecodable bytes as `\xNN`.
      fields: its fields, or what is wrong with it as a whole.
    """

    line: int
    raw: str
    fields: list[str] | BadFieldError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive records of a file.

    Attributes:
      file: its name in messages.
      unit: what its records are counted by, `data.rejects.LINE` or `ROW`.
      cells: string [rows] for each field that is used, by its name; rows of bad form are left out.
      bad: the records of bad form.
      records: reads the records of good form once more, a list [rows], for what must be said of one.
    """

    file: str
    unit: str = LINE
    cells: Mapping[str, pa.StringArray]
    bad: list[Record]
    records: Callable[[], list[Record]]


class _Source:
    """The bytes of a file, taken by the line or by the block.

    Attributes:
      buffer: what was read and is not let go of.
      start: where in the buffer the record at hand begins.
      at: where in the buffer the next line begins.
      line: number of that line, the first being 1.
      ended: the buffer holds all that is left of the file.
    """

    def __init__(self, file: BinaryIO, table: Table, line: int) -> None:
        self.buffer, self.start, self.at, self.line, self.ended = b"", 0, 0, line, False
        self._file, self._shown = file, table.shown
        self._read_before = 0

    @property
    def taken(self) -> int:
        """Bytes of the file before `at`."""
        return self._read_before + self.at

    def read_on(self) -> None:
        """Reads a block more, and lets go of all before the record at hand."""
        block = self._file.read(BLOCK_BYTES)
        self.ended = not block
        self._read_before += self.start
        self.buffer = self.buffer[self.start :] + block
        self.at, self.start = self.at - self.start, 0

    def take(self, end: int) -> None:
        """Takes the bytes up to a place in the buffer."""
        self.line += self.buffer.count(b"\n", self.at, end)
        self.at = self.start = end

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        end = self.buffer.find(b"\n", self.at) + 1
        while not end and not self.ended:
            if len(self.buffer) - self.at > BLOCK_BYTES:
                raise LayoutError(
                    f"{self._shown}, line {self.line}: expected lines of at most {BLOCK_BYTES} bytes; got a longer "
                    "one; see that the file is text"
                )
            self.read_on()
            end = self.buffer.find(b"\n", self.at) + 1
        line = self.buffer[self.at : end or len(self.buffer)]
        if not line:
            raise StopIteration
        self.at += len(line)
        self.line += 1
        # Undecodable bytes become lone surrogates, which no valid text holds, so the record can be judged whole. So
        # does NUL, at which some releases of `csv` stop.
        return line.decode("utf-8", "surrogateescape").replace("\0", "\udc00")

    def skip_head(self, table: Table) -> None:
        """Takes what stands before the first record: a byte order mark, and the header."""
        self.read_on()
        if self.line == 1 and self.buffer.startswith(codecs.BOM_UTF8):
            self.take(len(codecs.BOM_UTF8))
        for _ in range(table.head):
            next(self, None)
        self.start = self.at


def _next_record(table: Table, source: _Source) -> Record | None:
    """The next record; None at the end of the file. Blank lines are none.

    A quote that is opened and not closed as RFC 4180 says would swallow the lines behind it: such a record is bad, is
    taken to be its first line alone, and reading goes on with the second.
    """
    fields: list[str] | BadFieldError = []
    while not fields:
        source.start, line = source.at, source.line
        first = next(source, None)
        if first is None:
            return None
        behind_first = source.at - source.start
        text = first.rstrip("\r\n")
        if table.quoted and ('"' in text or "\r" in text or (table.escape and table.escape in text)):
            fields = _parse_quoted(first, source, table)
        else:
            fields = text.split(table.separator) if text else []
            if max(map(len, fields), default=0) > csv.field_size_limit():
                fields = _too_long(first)
    if not isinstance(fields, BadFieldError) and len(fields) != table.width:
        fields = BadFieldError(f"{len(fields)} fields", f"{table.width} fields")
    if isinstance(fields, BadFieldError):
        source.at, source.line = source.start + behind_first, line + 1
    raw = source.buffer[source.start : source.at].decode("utf-8", "surrogateescape").rstrip("\r\n")
    if "\0" in raw or (not raw.isascii() and _UNDECODABLE.search(raw)):
        raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\0", r"\x00")
        fields = BadFieldError(shown(raw), "text in UTF-8 without NUL characters")
    return Record(line, raw, fields)


def parse_record(lines: Iterator[str], separator: str, escape: str = "", *, quoted: bool = True) -> list[str]:
    """The fields of the first record that some lines hold, none of a blank line or at the end.

    Raises:
      csv.Error: it may be quoted, and is so otherwise than RFC 4180 says.
    """
    if quoted:
        return next(csv.reader(lines, delimiter=separator, escapechar=escape or None, strict=True), [])
    line = next(lines, "").rstrip("\r\n")
    return line.split(separator) if line else []


def _parse_quoted(first: str, following: Iterator[str], table: Table) -> list[str] | BadFieldError:
    try:
        return parse_record(itertools.chain([first], following), table.separator, table.escape)
    except csv.Error as error:
        if "unexpected end" in str(error):
            return BadFieldError("a quote that is never closed", f"closed quotes{_QUOTES_ARE_TEXT}")
        if "field limit" in str(error):
            return _too_long(first)
        backslash = r", or --escape '\' where a backslash stands before a quote" if '\\"' in first else ""
        return BadFieldError(
            f"a row that breaks off: {error}", f"fields quoted as RFC 4180 says{backslash}{_QUOTES_ARE_TEXT}"
        )


def _too_long(first: str) -> BadFieldError:
    value = f"a longer one, perhaps of a quote that is never closed: {shown(first)}"
    return BadFieldError(value, f"fields of at most {csv.field_size_limit()} characters")


def records(table: Table) -> Iterator[Record]:
    """Every record of the file, one at a time.

    Raises:
      LayoutError: a line is longer than `BLOCK_BYTES`.
    """
    with table.open_file(table.path) as file:
        source = _Source(file, table, table.first_line)
        source.skip_head(table)
        yield from iter(functools.partial(_next_record, table, source), None)


def _blocks(table: Table, progress: Progress) -> Iterator[Block]:
    reading = f"reading {os.path.basename(table.path)}"
    progress(reading, 0, table.size, "bytes")
    with table.open_file(table.path) as file:
        source = _Source(file, table, table.first_line)
        source.skip_head(table)
        while True:
            source.read_on()
            if not source.buffer:
                return
            plain = _without_escapes(table, source.buffer)
            quotes = _positions(plain, b'"') if table.quoted else np.empty(0, np.int64)
            end = len(plain) if source.ended else _end_of_records(plain, quotes)
            is_clean = (
                end
                and not (table.escape and table.escape.encode() in plain)
                and _quotes_are_clean(plain, end, quotes[: quotes.searchsorted(end)], table.separator)
            )
            cells = _clean_cells(table, source.buffer, end) if is_clean else None
            if cells is not None:
                again = functools.partial(_records_of, table, source.buffer, end, source.line)
                source.take(end)
                yield Block(file=table.shown, cells=cells, bad=[], records=again)
            else:
                yield _judged_block(table, source)
            progress(reading, min(source.taken, table.size), table.size, "bytes")


def _without_escapes(table: Table, buffer: bytes) -> bytes:
    """The buffer with something that is no quote in the place of each escaped quote and each escaped escape."""
    escape = table.escape.encode()
    if not escape or escape not in buffer:
        return buffer
    return re.sub(re.escape(escape) + b'["' + re.escape(escape) + b"]", b"__", buffer)


def _positions(buffer: bytes, character: bytes) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(buffer, np.uint8) == ord(character))


def _end_of_records(buffer: bytes, quotes: np.ndarray) -> int:
    """The place behind the last line break that stands outside quotes; 0 where there is none."""
    end = buffer.rfind(b"\n") + 1
    if quotes.searchsorted(end) % 2 == 0:
        return end
    breaks = _positions(buffer, b"\n")
    outside = breaks[quotes.searchsorted(breaks) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def _records_of(table: Table, buffer: bytes, end: int, line: int) -> list[Record]:
    source = _Source(io.BytesIO(buffer[:end]), table, line)
    return list(iter(functools.partial(_next_record, table, source), None))


def _judged_block(table: Table, source: _Source) -> Block:
    """The records that begin in the buffer before its last line break, and at least one, judged one at a time."""
    end = source.taken + (len(source.buffer) if source.ended else source.buffer.rfind(b"\n") + 1)
    good: list[Record] = []
    bad: list[Record] = []
    for record in iter(functools.partial(_next_record, table, source), None):
        (bad if isinstance(record.fields, BadFieldError) else good).append(record)
        if source.taken >= end:
            break
    source.start = source.at
    fields = [record.fields for record in good if isinstance(record.fields, list)]
    cells = {name: pa.array([each[at] for each in fields], pa.string()) for name, at in table.fields.items()}
    return Block(file=table.shown, cells=cells, bad=bad, records=lambda: good)


def _clean_cells(table: Table, buffer: bytes, end: int) -> dict[str, pa.StringArray] | None:
    """The fields that are used, of every record before a place in the buffer; None where only the slow judge can tell.

    All columns are parsed, used or not, so that what is wrong in one of them shows.
    """
    # Places in the buffer, since a copy of it would take as long as a third of the parsing.
    if buffer.find(b"\0", 0, end) >= 0 or buffer.startswith(codecs.BOM_UTF8):
        return None
    if b"\r" in buffer and buffer.count(b"\r", 0, end) != buffer.count(b"\r\n", 0, end):
        return None
    step = len(table.separator)  # "a::b" split at ":" has an empty field between any two
    names = [str(position) for position in range((table.width - 1) * step + 1)]
    try:
        # `read_csv` looks through all objects of the process for the frame that called it, and so takes 50 ms longer.
        reader = pyarrow.csv.open_csv(
            pa.BufferReader(memoryview(buffer)[:end]),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=end + 1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=table.separator[0],
                quote_char='"' if table.quoted else False,
                escape_char=table.escape or False,
                newlines_in_values=table.quoted,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        cells = reader.read_all()
    except pa.ArrowInvalid:  # another number of fields, or bytes that are no text
        return None
    lengths = [pc.max(pc.binary_length(column)).as_py() or 0 for column in cells.columns]
    if max(lengths) > csv.field_size_limit() or any(length for at, length in enumerate(lengths) if at % step):
        return None
    return {name: cells.column(at * step).combine_chunks() for name, at in table.fields.items()}


def _quotes_are_clean(buffer: bytes, end: int, quotes: np.ndarray, separator: str) -> bool:
    """Whether every quote opens a field, closes one or is one of two inside, as RFC 4180 says."""
    if not len(quotes):
        return True
    if len(quotes) % 2:
        return False
    characters = np.frombuffer(buffer, np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    doubled = opening[1:] == closing[:-1] + 1
    before = characters[opening[1:] - 1]
    opens = doubled | (before == ord(separator)) | (before == ord("\n"))
    behind = characters[closing[:-1] + 1]
    closes = doubled | (behind == ord(separator)) | (behind == ord("\n")) | (behind == ord("\r"))
    first, last = int(opening[0]), int(closing[-1])
    return (
        bool(opens.all() and closes.all())
        and (first == 0 or buffer[first - 1] in (ord(separator), ord("\n")))
        and (last == end - 1 or buffer[last + 1] in (ord(separator), ord("\n"), ord("\r")))
    )


def parsed(table: Table, rejects: Rejects, parse: Callable[[list[str]], T]) -> Iterator[T]:
    """What `parse` makes of each record; records that it, or the file's form, refuses go to `rejects`.

    Args:
      table: the file.
      rejects: takes the bad records.
      parse: gets the fields of a record; raises BadFieldError where one does not hold what it must.

    Raises:
      RowError: there are more bad records than allowed.
    """
    for record in records(table):
        try:
            if isinstance(record.fields, BadFieldError):
                raise record.fields
            value = parse(record.fields)
        except BadFieldError as problem:
            rejects.add(file=table.shown, line=record.line, problem=problem, raw=record.raw)
        else:
            yield value


def read_header(path: Path, name: str, open_file: Callable[[Path], BinaryIO] = open_local) -> tuple[list[str], int]:
    """The names in the header of a CSV file, and the lines that it takes.

    Raises:
      LayoutError: there is no header, or it is not UTF-8.
    """
    with open_file(path) as file:
        first = file.read(BLOCK_BYTES)
    return header_of(lines_of(first), name)


def lines_of(start: bytes) -> io.StringIO:
    """The text that a file starts with, without its mark; undecodable bytes as lone surrogates."""
    return io.StringIO(start.decode("utf-8", "surrogateescape").removeprefix("\ufeff"), newline="\n")


def header_of(
    lines: io.StringIO, name: str, separator: str = ",", escape: str = "", *, quoted: bool = True
) -> tuple[list[str], int]:
    """The names in the first record of some lines, each without line breaks and blanks around it, and its lines.

    Raises:
      LayoutError: there is none, it is not UTF-8, or not quoted as RFC 4180 says.
    """
    start = lines.tell()
    try:
        names = [normalize(field) for field in parse_record(lines, separator, escape, quoted=quoted)]
        "".join(names).encode()
    except (UnicodeEncodeError, csv.Error) as error:
        raise LayoutError(
            f"expected a header in UTF-8 in line 1 of {name}; got: {error}; save it as UTF-8 whose lines end with \\n"
        ) from error
    if not any(names):
        raise LayoutError(f"expected the columns' names in line 1 of {name}; got an empty line; add a header")
    taken = lines.getvalue()[start : lines.tell()]
    return names, taken.count("\n") + (not taken.endswith("\n"))


def csv_table(path: str, columns: Sequence[Column], open_file: Callable[[str], BinaryIO] = open_local) -> Table:
    """A CSV of a data folder, whose header names some of the columns in any order.

    Args:
      path: the file.
      columns: those that it may have; it must have the required ones.
      open_file: opens the path for reading bytes.

    Raises:
      LayoutError: the header is missing, lacks a required column, repeats one or has one that is not known.
    """
    header, head = read_header(path, path, open_file)
    names = [column.name for column in columns]
    problems = [f"column {name!r} is not known" for name in dict.fromkeys(header) if name not in names]
    problems += [f"column {name!r} stands twice" for name in dict.fromkeys(header) if header.count(name) > 1]
    problems += [f"column {each.name!r} is missing" for each in columns if each.required and each.name not in header]
    if problems:
        raise LayoutError(
            f"{path}: expected a header with columns among {', '.join(names)}; "
            f"got: {'; '.join(problems[:_MAX_PROBLEMS_SHOWN])}; {PREPARE}"
        )
    fields = {name: position for position, name in enumerate(header)}
    return Table(
        path=path,
        shown=path,
        separator=",",
        width=len(header),
        fields=fields,
        quoted=True,
        head=head,
        open_file=open_file,
    )
