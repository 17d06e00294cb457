"""Parquet files of ratings, read as the text that they would be in a CSV, a batch of rows at a time."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

if int(pa.__version__.partition(".")[0]) < 14:
    import pyarrow_hotfix  # noqa: F401  # switches off what lets a file run code (CVE-2023-47248)

from data.errors import LayoutError
from data.progress import Progress, silent
from data.rejects import ROW
from data.tables import Block, Record

_MAGIC = b"PAR1"
_BATCH_ROWS = 1 << 17
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as Parquet does."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], shown: str) -> Iterator[pa.parquet.ParquetFile]:
    try:
        with open(path, "rb") as file:
            yield pyarrow.parquet.ParquetFile(file)
    except (pa.ArrowException, OSError, RuntimeError) as error:
        raise LayoutError(
            f"expected {shown} to be a whole Parquet file; got: {error}; fetch or write it again"
        ) from error


def columns(path: str | os.PathLike[str], shown: str) -> list[str]:
    """The names of its columns.

    Raises:
      LayoutError: it is damaged.
    """
    with _opened(path, shown) as file:
        return list(file.schema_arrow.names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParquetTable:
    """A Parquet file of ratings, whose rows are counted from 1.

    Attributes:
      path: where the bytes are.
      shown: the file's name in messages.
      fields: position of each column that is used, by our name.
      decimal_comma: false; numbers are numbers.
    """

    path: Any
    shown: str
    fields: Mapping[str, int]
    decimal_comma: bool = False

    def blocks(self, progress: Progress = silent) -> Iterator[Block]:
        """Its rows, some at a time.

        Raises:
          LayoutError: it is damaged, or a column that is used holds what has no text.
        """
        with _opened(self.path, self.shown) as file:
            total, done = file.metadata.num_rows, 0
            reading = f"reading {os.path.basename(self.path)}"
            progress(reading, 0, total, "rows")
            names = file.schema_arrow.names
            wanted = {names[position] for position in self.fields.values()}
            for batch in file.iter_batches(_BATCH_ROWS, columns=sorted(wanted)):
                cells = {name: self._cells(batch, names, position) for name, position in self.fields.items()}
                first = done + 1
                done += batch.num_rows
                yield Block(
                    file=self.shown,
                    unit=ROW,
                    cells=cells,
                    bad=[],
                    records=functools.partial(_records, cells, first),
                )
                progress(reading, done, total, "rows")

    def _cells(self, batch: pa.RecordBatch, names: Sequence[str], position: int) -> pa.StringArray:
        """The text of a column of the file; of several under its name, in whose order the batch has them, that one."""
        name = names[position]
        same = [at for at, other in enumerate(batch.schema.names) if other == name]
        return _texts(batch.column(same[names[:position].count(name)]), name, self.shown)


def _records(cells: Mapping[str, pa.StringArray], first: int) -> list[Record]:
    """The rows as lines of CSV, of the columns that are used."""
    records = []
    for number, fields in enumerate(zip(*(column.to_pylist() for column in cells.values()), strict=True), first):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(fields)
        records.append(Record(number, line.getvalue(), list(fields)))
    return records


def _texts(column: pa.Array, name: str, shown: str) -> pa.StringArray:
    """The text of each cell, empty for null.

    Numbers are written so that they read back, times as seconds since 1970-01-01 UTC, dates as ISO 8601, and lists of
    texts joined by `|`.

    Raises:
      LayoutError: the cells are of a type that has no such text.
    """
    try:
        return pc.fill_null(_plain(column).cast(pa.string()), "")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LayoutError(
            f"expected texts, numbers or times in column {name!r} of {shown}; got {column.type}; write it anew, or "
            "leave it out"
        ) from error


def _plain(column: pa.Array) -> pa.Array:
    """The cells of a column as something whose text is that of `_texts`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_timestamp(kind):
        ticks = column.cast(pa.int64())
        seconds = pc.fill_null(ticks, 0).to_numpy() // _PER_SECOND[kind.unit]
        return pa.array(seconds, mask=pc.is_null(ticks).to_numpy(zero_copy_only=False))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lists = column.cast(pa.list_(pa.string()))
        if lists.flatten().null_count:  # of which Arrow would make no text at all
            return pa.array(["|".join(filter(None, each or [])) for each in lists.to_pylist()], pa.string())
        return pc.binary_join(lists, "|")
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        encoded = column.dictionary_encode()
        # NumPy's numbers have the fewest digits that read back as their type. What is not equal to itself is NaN, which
        # pandas writes for what is missing.
        distinct = [
            str(value) if value == value else None for value in encoded.dictionary.to_numpy(zero_copy_only=False)
        ]
        return pa.array(distinct, pa.string()).take(encoded.indices)
    return column.cast(pa.int8()) if pa.types.is_boolean(kind) else column
