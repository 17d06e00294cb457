"""Ratings from CSV to serialized, hashed and framed tf.Examples, a block of rows at a time.

No row is handled in Python. Ratings repeat their users, titles and stars, so each distinct cell of a block is
checked, parsed and encoded once, and Arrow puts the rows together from these pieces. The bytes of a row are those of
`tf.train.Example.SerializeToString(deterministic=True)`: features in the order of their names, none for a missing
value. (The C++ coder of tfx_bsl gives the features of a row another order in every process, and takes longer.)
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data.errors import DataError, LayoutError
from data.rejects import BadFieldError, parse_integer, parse_rating, parse_text, shown, tidy
from modules.features import COLUMNS, MOVIE_TITLE, REQUIRED_COLUMNS, USER_ID, Column

# Bytes of CSV read at once; what is made of them takes some 15 times as much memory. No row may be longer.
BLOCK_BYTES = 4 << 20

_REMEDY = "run `movie-ranking data prepare` on the file, which writes what is expected, or fix it by hand"
_MAX_VALUES_SHOWN = 10

# Texts of a column whose encoding is kept, some 250 bytes each: all users and titles of the largest MovieLens release.
_CELLS_KEPT = 1 << 18
_HASHED = (USER_ID, MOVIE_TITLE)

Opener = Callable[[str], BinaryIO]
Values = list[str] | list[int] | list[float]


class RatingsRowError(DataError):
    """A row of a ratings file is bad.

    Attributes:
      file: the file as it was named to the reader.
      line: physical line the row starts on, the first being 1; None where it is not known.
      value: what was found.
      expected: what should have been there.
    """

    def __init__(self, *, file: str, line: int | None, value: str, expected: str) -> None:
        where = file if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: expected {expected}; got {value}; {_REMEDY}")
        self.file, self.line, self.value, self.expected = file, line, value, expected

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled by their positional arguments, and this one has none.
        return _row_error, (self.file, self.line, self.value, self.expected)


def _row_error(file: str, line: int | None, value: str, expected: str) -> RatingsRowError:
    return RatingsRowError(file=file, line=line, value=value, expected=expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleBlock:
    """Consecutive rows of a ratings file.

    Attributes:
      examples: binary [rows], serialized tf.Examples.
      user_hash: uint64 [rows], `text_hash` of the user id.
      title_hash: uint64 [rows], `text_hash` of the title.
    """

    examples: pa.BinaryArray
    user_hash: np.ndarray
    title_hash: np.ndarray

    def __len__(self) -> int:
        return len(self.examples)


class _BadCellError(Exception):
    """A cell of a block is bad; the reader adds file and line.

    Attributes:
      row: position in the block, the first being 0.
      problem: what was expected, and what was there.
    """

    def __init__(self, row: int, problem: BadFieldError) -> None:
        super().__init__(row, problem)
        self.row, self.problem = row, problem


def read_examples(path: str, open_file: Opener, *, block_bytes: int = BLOCK_BYTES) -> Iterator[ExampleBlock]:
    """Reads a ratings file as tf.Examples, in the order of its rows.

    The file is CSV as of RFC 4180 in UTF-8, with a header that names columns of `modules.features.COLUMNS` in any
    order. Fields may be quoted and hold commas, quotes and line breaks; empty lines are skipped. Cells are read by
    the rules of `movie-ranking data prepare`: stripped, line breaks in a text turned into one blank.

    Args:
      path: the file, as `open_file` and messages name it.
      open_file: opens the path for reading bytes; called once more to find the line of a bad row.
      block_bytes: bytes of CSV read at once, which bounds memory and the length of a row.

    Yields:
      blocks of at least one row.

    Raises:
      LayoutError: the header is missing, lacks a required column, repeats one or has one that is not known.
      RatingsRowError: a row has the wrong number of fields, an empty user or title, a number that is none, bytes
        that are not UTF-8, a quote without its partner, or more than `block_bytes` bytes.
    """
    rows_before = 0
    with open_file(path) as file:
        for batch in _read_cells(file, path, open_file, block_bytes):
            try:
                block = _encode_block(batch)
            except _BadCellError as error:
                raise RatingsRowError(
                    file=path,
                    line=_line_of_row(path, open_file, rows_before + error.row),
                    value=error.problem.value,
                    expected=error.problem.expected,
                ) from error.problem
            rows_before += len(block)
            yield block


def text_hash(text: str) -> int:
    """First 8 bytes of BLAKE2b (RFC 7693, digest size 8) of the UTF-8 text, as a little-endian unsigned integer."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def pair_hash(user_hash: np.ndarray, title_hash: np.ndarray) -> np.ndarray:
    """Hash of each user-title pair, which decides its split.

    It depends on the user id and the title alone, so a pair keeps its split whatever columns and rows surround it.
    The hashes of both are joined by `user_hash * 0x9E3779B97F4A7C15 + title_hash` modulo 2**64, and mixed by the
    finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).

    Args:
      user_hash: uint64 [rows].
      title_hash: uint64 [rows].

    Returns:
      uint64 [rows].
    """
    mixed = user_hash * np.uint64(0x9E3779B97F4A7C15) + title_hash
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hash_splits(hashes: np.ndarray, hash_buckets: Sequence[int]) -> np.ndarray:
    """The split of each hash: with buckets 72, 8 and 20, a hash modulo 100 below 72 is in the first.

    Args:
      hashes: uint64 [rows].
      hash_buckets: buckets of each split, all above 0.

    Returns:
      int64 [rows], 0 <= split < number of splits.
    """
    upper = np.cumsum(np.asarray(hash_buckets, dtype=np.int64))
    return np.searchsorted(upper, (hashes % np.uint64(upper[-1])).astype(np.int64), side="right")


def frame_records(records: pa.BinaryArray) -> pa.BinaryArray:
    """Records as they stand in a TFRecord file: length, its checksum, the record, its checksum.

    Args:
      records: binary [rows].

    Returns:
      binary [rows], 16 bytes longer each. A file is nothing but these in a row: see `contiguous`.
    """
    if not len(records):
        return records
    crc = np.fromiter(map(google_crc32c.value, records.to_numpy(zero_copy_only=False)), np.uint64, len(records))
    masked = _mask_crc(crc).astype("<u4")
    offsets = np.arange(0, 4 * len(records) + 1, 4, dtype=np.int32)
    footers = pa.BinaryArray.from_buffers(
        pa.binary(), len(records), [None, pa.py_buffer(offsets), pa.py_buffer(masked)], null_count=0
    )
    headers = _map_distinct(pc.binary_length(records), _record_header)
    return pc.binary_join_element_wise(headers, records, footers, b"")


def contiguous(records: pa.BinaryArray) -> memoryview:
    """The bytes of all records, one after the other, without a copy."""
    if not len(records):
        return memoryview(b"")
    _, offsets, values = records.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[records.offset : records.offset + len(records) + 1]
    return memoryview(values)[ends[0] : ends[-1]]


def _mask_crc(crc: Any) -> Any:
    """How TFRecord files store a checksum: rotated right by 15 bits, plus a constant, in 32 bits.

    Args:
      crc: an int, or uint64 [any], below 2**32.

    Returns:
      the like.
    """
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _record_header(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", _mask_crc(google_crc32c.value(packed)))


def _read_cells(file: BinaryIO, path: str, open_file: Opener, block_bytes: int) -> Iterator[pa.RecordBatch]:
    """Record batches of the raw cells, each column binary."""
    invalid: list[Any] = []

    def note_invalid(row: Any) -> str:
        invalid.append(row)
        return "error"

    counter = _QuoteCounter(file)
    rows = 0
    try:
        reader = pyarrow.csv.open_csv(
            pa.PythonFile(counter, mode="r"),
            # Rows are numbered only where one thread parses them.
            read_options=pyarrow.csv.ReadOptions(block_size=block_bytes, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note_invalid),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={column.name: pa.binary() for column in COLUMNS}, strings_can_be_null=False
            ),
        )
        _check_header(reader.schema.names, path)
        for batch in reader:
            if batch.num_rows:
                yield batch
                rows += batch.num_rows
    except pa.ArrowInvalid as error:
        if invalid:
            row = invalid[0]
            raise RatingsRowError(
                file=path,
                # The parser counts the header as row 1.
                line=_line_of_row(path, open_file, row.number - 2),
                value=f"{row.actual_columns}: {shown(row.text)}",
                expected=f"{row.expected_columns} fields, as in the header",
            ) from error
        if "straddling" in str(error):
            raise RatingsRowError(
                file=path,
                line=_line_of_row(path, open_file, rows),
                value="a longer one: is a quote left open?",
                expected=f"rows of at most {block_bytes} bytes",
            ) from error
        if "Empty CSV" in str(error):
            raise LayoutError(
                f"{path}: expected a header line and a line for each rating; got no complete line; {_REMEDY}"
            ) from error
        raise
    if counter.quotes % 2:
        raise RatingsRowError(
            file=path,
            line=_line_of_odd_quotes(path, open_file),
            value="one that stands alone",
            expected="quotes in pairs",
        )


def _check_header(names: Sequence[str], path: str) -> None:
    known = {column.name for column in COLUMNS}
    problems = [f"column {name!r} is not known" for name in dict.fromkeys(names) if name not in known]
    problems += [f"column {name!r} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [f"column {column.name!r} is missing" for column in REQUIRED_COLUMNS if column.name not in names]
    if problems:
        raise LayoutError(
            f"{path}: expected a header with columns among {', '.join(column.name for column in COLUMNS)}; "
            f"got: {'; '.join(problems[:_MAX_VALUES_SHOWN])}; "
            "rename or drop columns with `movie-ranking data prepare PATH --columns ...`"
        )


class _QuoteCounter(io.RawIOBase):
    """Passes a file through and counts its quotes, which come in pairs in a complete file.

    The parser takes a quote that nothing closes for the start of a field that runs to the end of the file, rows and
    all, and does not complain where such a field is the last one.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self.quotes += block.count(b'"')
        buffer[: len(block)] = block
        return len(block)


def _records(path: str, open_file: Opener) -> Iterator[tuple[int, int]]:
    """First line and number of quotes of every row that is not empty, the header among them."""
    quotes = 0

    def counted(lines: Iterable[str]) -> Iterator[str]:
        nonlocal quotes
        for line in lines:
            quotes += line.count('"')
            yield line

    with open_file(path) as file:
        # Files of Beam lack some methods that a text file is made of.
        buffered = io.BufferedReader(_QuoteCounter(file))
        reader = csv.reader(counted(io.TextIOWrapper(buffered, encoding="utf-8", errors="replace", newline="")))
        first_line = 1
        for record in reader:
            if record:
                yield first_line, quotes
            first_line, quotes = reader.line_num + 1, 0


def _line_of_row(path: str, open_file: Opener, row: int) -> int | None:
    """Line on which a row starts, the first below the header being row 0; None where it cannot be told.

    Reads the file a second time, by rows: only for a message.
    """
    try:
        for index, (line, _) in enumerate(_records(path, open_file)):
            if index == row + 1:
                return line
    except csv.Error:
        pass  # The row is not told from its neighbours; the message goes without a line.
    return None


def _line_of_odd_quotes(path: str, open_file: Opener) -> int | None:
    """Line on which the first row with an odd number of quotes starts; None where it cannot be told."""
    try:
        return next((line for line, quotes in _records(path, open_file) if quotes % 2), None)
    except csv.Error:
        return None


def _encode_block(cells: pa.RecordBatch) -> ExampleBlock:
    """Encodes raw cells.

    Raises:
      _BadCellError: for the first row with a bad cell.
    """
    columns: dict[str, _EncodedColumn] = {}
    bad: list[_BadCellError] = []
    for column in sorted(COLUMNS, key=lambda column: column.name):
        if column.name in cells.schema.names:
            try:
                columns[column.name] = _encode_column(column, cells.column(cells.schema.names.index(column.name)))
            except _BadCellError as error:
                bad.append(error)
    if bad:
        raise min(bad, key=lambda error: error.row)
    lengths = sum(column.lengths for column in columns.values())
    heads = _map_distinct(pa.array(lengths), lambda length: b"\n" + _varint(length))
    return ExampleBlock(
        examples=pc.binary_join_element_wise(heads, *(column.features for column in columns.values()), b""),
        user_hash=columns[USER_ID.name].hashes,
        title_hash=columns[MOVIE_TITLE.name].hashes,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _EncodedColumn:
    """Cells of one column.

    Attributes:
      features: binary [rows], entries of the feature map.
      lengths: int64 [rows], bytes of these.
      hashes: uint64 [rows], `text_hash` of the user ids or titles; empty for other columns.
    """

    features: pa.BinaryArray
    lengths: np.ndarray
    hashes: np.ndarray


def _encode_column(column: Column, cells: pa.BinaryArray) -> _EncodedColumn:
    """Encodes each distinct cell once.

    Raises:
      _BadCellError: for the column's first row with a bad cell.
    """
    coded = cells.dictionary_encode()
    codes = coded.indices.to_numpy()
    encode = _cell_encoder(column)
    hashed = column in _HASHED
    features: list[bytes] = []
    hashes: list[int] = []
    for code, cell in enumerate(coded.dictionary.to_pylist()):
        try:
            feature, cell_hash = encode(cell)
        except BadFieldError as problem:
            # Codes are given in the order of rows, so no row before this one is bad.
            raise _BadCellError(int(np.argmax(codes == code)), problem) from problem
        features.append(feature)
        hashes.append(cell_hash)
    return _EncodedColumn(
        features=pa.array(features, pa.binary()).take(coded.indices),
        lengths=np.array([len(feature) for feature in features], dtype=np.int64)[codes],
        hashes=np.array(hashes, dtype=np.uint64)[codes] if hashed else np.empty(0, dtype=np.uint64),
    )


@functools.cache
def _cell_encoder(column: Column) -> Callable[[bytes], tuple[bytes, int]]:
    """Gives a cell's entry of a feature map and, of a user or title, its `text_hash`.

    Texts come again from block to block, so those met last are kept.
    """

    def encode(cell: bytes) -> tuple[bytes, int]:
        values = parse_cell(column, cell)
        return encode_feature(column, values), text_hash(str(values[0])) if column in _HASHED else 0

    return functools.lru_cache(_CELLS_KEPT)(encode) if column.dtype == "string" else encode


def _map_distinct(values: pa.Array, encode: Callable[[Any], bytes]) -> pa.BinaryArray:
    """Binary [rows]: each value encoded, with one call for equal ones."""
    coded = values.dictionary_encode()
    return pa.array([encode(value) for value in coded.dictionary.to_pylist()], pa.binary()).take(coded.indices)


def parse_cell(column: Column, cell: bytes) -> Values:
    """The values of a cell of a ratings file: one, none where an optional cell is empty, or any number of genres.

    Raises:
      BadFieldError: the cell does not hold what the column must.
    """
    try:
        text = cell.decode()
    except UnicodeDecodeError as error:
        raise BadFieldError(repr(cell), f"a {column.name} in UTF-8") from error
    if column.dtype == "string":
        if column.required:
            return [parse_text(text, column.name)]
        parts = text.split("|") if column.multivalent else [text]
        return [part for part in map(tidy, parts) if part]
    if column.dtype == "int":
        number = parse_integer(text, column.name)
        return [] if number is None else [number]
    if not column.required and not text.strip():
        return []
    return [parse_rating(text, None)]


def encode_feature(column: Column, values: Values) -> bytes:
    """The entry of a tf.Example's feature map, in protocol buffer wire format; empty for no values."""
    if not values:
        return b""
    if column.dtype == "string":
        kind, content = b"\x0a", b"".join(_delimited(b"\x0a", str(value).encode()) for value in values)
    elif column.dtype == "float":
        kind, content = b"\x12", _delimited(b"\x0a", struct.pack(f"<{len(values)}f", *values))
    else:
        kind, content = b"\x1a", _delimited(b"\x0a", b"".join(_varint(int(value)) for value in values))
    feature = _delimited(kind, content)
    return _delimited(b"\x0a", _delimited(b"\x0a", column.name.encode()) + _delimited(b"\x12", feature))


def _delimited(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Base-128, low digits first; negative numbers as of two's complement in 64 bits."""
    if 0 <= number < 0x80:
        return number.to_bytes(1, "little")
    number &= (1 << 64) - 1
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
