"""Reads ratings into columns, each distinct cell of a block judged once, and side tables row by row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import numpy as np
import pyarrow as pa

from data.progress import Progress, silent
from data.rejects import BadFieldError, Rejects, Unread, parse_text, shown
from data.releases import ITEM_ID, RatingsTable, Release
from data.tables import Block, Table, records
from data.values import RatingParser, parse_cell, parse_timestamp, parse_timestamps
from data.vocabulary import Vocabulary
from modules import features
from modules.features import COLUMNS, MOVIE_TITLE, TIMESTAMP, USER_ID, USER_RATING, Column

# Integers that are not there; below all others, so that the latest of several timestamps is one that is there.
NO_TIMESTAMP = np.iinfo(np.int64).min

_NOT_REQUIRED = frozenset(column.name for column in COLUMNS if not column.required)


@dataclasses.dataclass(kw_only=True)
class RatingColumns:
    """Ratings as they were read; 12 or 20 bytes each.

    Attributes:
      user: int32 [ratings], number in Release.users.
      title: int32 [ratings], number in Release.titles.
      rating: float32 [ratings], stars.
      timestamp: int64 [ratings], seconds since 1970-01-01 UTC or NO_TIMESTAMP; None where the source has none.
    """

    user: np.ndarray
    title: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rating)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cells:
    """The cells of one column in consecutive rows.

    Attributes:
      values: what was made of the distinct ones, or int64 [rows], one for each row.
      codes: int [rows], position among them of each row's.
    """

    values: Any
    codes: np.ndarray

    def array(self, dtype: type[np.generic]) -> np.ndarray:
        """The value of each row, of the type given: [rows]."""
        return np.asarray(self.values, dtype)[self.codes]


class TimestampParser:
    """Makes timestamps of cells, NO_TIMESTAMP of empty ones; see `data.values.parse_timestamp`."""

    def __call__(self, text: str) -> int:
        value = parse_timestamp(text)
        return int(NO_TIMESTAMP) if value is None else value

    def parse_all(self, cells: pa.StringArray) -> tuple[Cells, dict[int, BadFieldError]]:
        """What `_parse_cells` says, most cells at once."""
        seconds = parse_timestamps(cells, int(NO_TIMESTAMP))
        doubtful = seconds.is_null()
        rows = np.flatnonzero(doubtful)
        values = seconds.fill_null(NO_TIMESTAMP).to_numpy()
        wrong: dict[int, BadFieldError] = {}
        if len(rows):
            rest, wrong = _parse_distinct(cells.filter(doubtful), self, missing=NO_TIMESTAMP)
            values = values.copy()
            values[rows] = rest.array(np.int64)
        return Cells(values=values, codes=np.arange(len(values))), {
            int(rows[row]): problem for row, problem in wrong.items()
        }


Parsers = Mapping[str, Callable[[str], Any]]


def judged(
    table: RatingsTable,
    parsers: Parsers,
    rejects: Rejects,
    progress: Progress = silent,
    *,
    unread: dict[str, Unread] | None = None,
) -> Iterator[dict[str, Cells]]:
    """The good rows of a table, a block at a time; the others go to `rejects`.

    Args:
      table: the file.
      parsers: for each column, by its name in `Table.fields`, what makes a value of a cell's text, and raises
        BadFieldError where the text is not what it must be. Called once for each distinct text of a block.
      rejects: takes the bad rows, in the order of lines. A row with several bad cells is named for the first parser's.
      progress: told how far the file is read.
      unread: takes, by column, what cannot be read of columns that are not required, which then counts as empty; by
        default the row is bad.

    Raises:
      LayoutError: a line is longer than `data.tables.BLOCK_BYTES`.
      RowError: there are more bad rows than allowed.
    """
    for block in table.blocks(progress):
        columns: dict[str, Cells] = {}
        problems: dict[int, BadFieldError] = {}
        left_out: dict[str, dict[int, BadFieldError]] = {}
        for name, parse in parsers.items():
            columns[name], wrong = _parse_cells(block.cells[name], parse)
            if unread is not None and name in _NOT_REQUIRED:
                left_out[name] = wrong
            else:
                problems = wrong | problems
        if block.bad or problems:
            _reject(block, problems, rejects)
        if unread is not None:
            for name, wrong in left_out.items():
                _leave_out(block, name, wrong, wrong.keys() - problems.keys(), unread)
        if problems:
            columns = {name: _without(cells, list(problems)) for name, cells in columns.items()}
        yield columns


def _parse_cells(cells: pa.StringArray, parse: Callable[[str], Any]) -> tuple[Cells, dict[int, BadFieldError]]:
    """The values of cells, and by row what is wrong with some, which count as empty."""
    return parse.parse_all(cells) if isinstance(parse, TimestampParser) else _parse_distinct(cells, parse)


def _parse_distinct(
    cells: pa.StringArray, parse: Callable[[str], Any], missing: Any = None
) -> tuple[Cells, dict[int, BadFieldError]]:
    """Parses each distinct cell once; bad ones become `missing`."""
    encoded = cells.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    values: list[Any] = []
    wrong: dict[int, BadFieldError] = {}
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            values.append(parse(text))
        except BadFieldError as problem:
            values.append(missing)
            wrong[code] = problem.with_traceback(None)  # which holds on to the frames
    rows = np.isin(codes, list(wrong)).nonzero()[0] if wrong else np.empty(0, np.int64)
    return Cells(values=values, codes=codes), dict(
        zip(rows.tolist(), map(wrong.__getitem__, codes[rows].tolist()), strict=True)
    )


def _without(cells: Cells, rows: list[int]) -> Cells:
    """The cells of all rows but some, and none but their values."""
    used, codes = np.unique(np.delete(cells.codes, rows), return_inverse=True)
    return Cells(values=[cells.values[code] for code in used], codes=codes)


def _reject(block: Block, problems: Mapping[int, BadFieldError], rejects: Rejects) -> None:
    """Hands over the bad rows of a block, in the order of lines."""
    rows = block.records() if problems else []
    bad = [(record, record.fields) for record in block.bad]
    bad += [(rows[row], problem) for row, problem in problems.items()]
    for record, problem in sorted(bad, key=lambda each: each[0].line):
        if isinstance(problem, BadFieldError):
            rejects.add(file=block.file, line=record.line, problem=problem, raw=record.raw, unit=block.unit)


def _leave_out(
    block: Block,
    column: str,
    wrong: Mapping[int, BadFieldError],
    rows: Set[int],
    unread: dict[str, Unread],
) -> None:
    """Takes note of the good rows of a block in which a column cannot be read."""
    if rows and column not in unread:
        first = min(rows)
        line = block.records()[first].line
        unread[column] = Unread(file=block.file, line=line, problem=wrong[first], unit=block.unit)
    if rows:
        unread[column].rows += len(rows)


def read(
    table: RatingsTable,
    release: Release,
    rejects: Rejects,
    progress: Progress = silent,
    *,
    strict: bool = True,
) -> RatingColumns:
    """Reads all ratings of a table; adds users, titles, their attributes and the decimal mark to the release.

    Args:
      table: one of `release.ratings`.
      release: the release it belongs to.
      rejects: takes the bad rows.
      progress: told how far the file is read.
      strict: a row is bad if any of its values cannot be read; otherwise one that is not required counts as empty, and
        `release.unread` takes note of it.

    Raises:
      RowError: there are more bad rows than allowed.
    """
    described = [
        column
        for column in COLUMNS
        if column.name in table.fields and not column.required and column.describes != "rating"
    ]
    with_timestamps = TIMESTAMP.name in table.fields
    title_field = MOVIE_TITLE.name if release.items is None else ITEM_ID
    parse_rating = RatingParser(release.scale, decimal_comma=table.decimal_comma)
    parsers: dict[str, Callable[[str], Any]] = {
        USER_ID.name: functools.cache(functools.partial(parse_text, what=USER_ID.name)),
        title_field: functools.cache(functools.partial(_parse_title, release)),
        USER_RATING.name: parse_rating,
        **({TIMESTAMP.name: TimestampParser()} if with_timestamps else {}),
        **{column.name: functools.partial(parse_cell, column=column) for column in described},
    }
    users: list[np.ndarray] = []
    titles: list[np.ndarray] = []
    ratings: list[np.ndarray] = []
    timestamps: list[np.ndarray] = []
    for cells in judged(table, parsers, rejects, progress, unread=None if strict else release.unread):
        # Numbers are given to users and titles of good rows alone.
        user, title = _numbers(cells[USER_ID.name], release.users), _numbers(cells[title_field], release.titles)
        for column in described:
            owners = user if column.describes == "user" else title
            _note_values(release, column, owners, cells[column.name])
        users.append(user)
        titles.append(title)
        ratings.append(cells[USER_RATING.name].array(np.float32))
        if with_timestamps:
            timestamps.append(cells[TIMESTAMP.name].array(np.int64))
    if parse_rating.mark == ",":
        release.decimal_commas.add(table.shown)
    return RatingColumns(
        user=_joined(users, np.int32),
        title=_joined(titles, np.int32),
        rating=_joined(ratings, np.float32),
        timestamp=_joined(timestamps, np.int64) if with_timestamps else None,
    )


def side_rows(
    table: Table, side: features.Table, rejects: Rejects, *, unread: dict[str, Unread] | None = None
) -> Iterator[tuple[str, dict[Column, str | int | None]]]:
    """The rows of a side table: the key, and the value of each other column that the file has, None where it is empty.

    Rows of bad form go to `rejects`, and so do those whose key is empty or that of an earlier row, or of which a value
    cannot be read; but with `unread`, which then takes note of it by column, such a value counts as empty.

    Raises:
      RowError: there are more such rows than allowed.
    """
    seen: set[str] = set()
    columns = [column for column in side.columns[1:] if column.name in table.fields]
    for record in records(table):
        values: dict[Column, str | int | None] = {}
        wrong: dict[str, BadFieldError] = {}
        try:
            if isinstance(record.fields, BadFieldError):
                raise record.fields
            key = parse_text(record.fields[table.fields[side.key.name]], side.key.name)
            if key in seen:
                raise BadFieldError(shown(key), f"a {side.key.name} that no earlier row has")
            for column in columns:
                try:
                    values[column] = parse_cell(record.fields[table.fields[column.name]], column)
                except BadFieldError as unreadable:
                    if unread is None:
                        raise
                    values[column], wrong[column.name] = None, unreadable
        except BadFieldError as problem:
            rejects.add(file=table.shown, line=record.line, problem=problem, raw=record.raw)
            continue
        if unread is not None:
            for name, first in wrong.items():
                unread.setdefault(name, Unread(file=table.shown, line=record.line, problem=first)).rows += 1
        seen.add(key)
        yield key, values


def read_side_table(
    release: Release, side: features.Table, table: Table, rejects: Rejects, *, strict: bool = True
) -> None:
    """Takes in what a side table says of users or of titles, by id.

    Raises:
      RowError: there are more bad rows than allowed.
    """
    for key, values in side_rows(table, side, rejects, unread=None if strict else release.unread):
        number = release.keys_of(side).add(key)
        for column, value in values.items():
            release.describe(column, number, value)


def _joined(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """One array of all parts, which are forgotten, so that no more than one column is held twice."""
    whole = np.concatenate(parts) if parts else np.empty(0, dtype)
    parts.clear()
    return whole


def _parse_title(release: Release, text: str) -> str:
    """The title that a field names, by itself or by an item id."""
    if release.items is None:
        return parse_text(text, MOVIE_TITLE.name)
    item_id = parse_text(text, ITEM_ID)
    if item_id not in release.items:
        raise BadFieldError(shown(item_id), f"an {ITEM_ID} that has a title")
    return release.titles.values[release.items[item_id]]


def _numbers(cells: Cells, vocabulary: Vocabulary) -> np.ndarray:
    """Numbers of the texts in a vocabulary, which takes in new ones: int32 [rows]."""
    return np.fromiter(map(vocabulary.add, cells.values), np.int32, len(cells.values))[cells.codes]


def _note_values(release: Release, column: Column, owners: np.ndarray, cells: Cells) -> None:
    """Notes what rows say of their users or titles, each saying once, in the order of rows."""
    telling = np.array([value is not None for value in cells.values], bool)[cells.codes].nonzero()[0]
    sayings = owners[telling].astype(np.int64) * len(cells.values) + cells.codes[telling]
    first = np.unique(sayings, return_index=True)[1]
    for row in telling[np.sort(first)].tolist():
        release.describe(column, int(owners[row]), cells.values[cells.codes[row]])
