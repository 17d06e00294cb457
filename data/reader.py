"""Reads ratings into columns, each distinct cell of a block judged once, and side tables row by row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.progress import Progress, silent
from data.rejects import (
    BLANKS,
    INTEGER_PATTERN,
    BadFieldError,
    Rejects,
    parse_cell,
    parse_integer,
    parse_rating,
    parse_text,
    shown,
)
from data.releases import ITEM_ID, Release
from data.tables import Block, Table, blocks, parsed
from data.vocabulary import Vocabulary
from modules import features
from modules.features import COLUMNS, MOVIE_TITLE, TIMESTAMP, USER_ID, USER_RATING, Column

# Integers that are not there; below all others, so that the latest of several timestamps is one that is there.
NO_TIMESTAMP = np.iinfo(np.int64).min


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


class IntegerParser:
    """Makes integers of the cells of a column, NO_TIMESTAMP of empty ones: of one, or of many at once."""

    def __init__(self, column: Column) -> None:
        self._column = column

    def __call__(self, text: str) -> int:
        value = parse_integer(text, self._column)
        return int(NO_TIMESTAMP) if value is None else value

    def parse_all(self, cells: pa.StringArray) -> np.ndarray | None:
        """int64 [rows]; None where a cell is bad."""
        trimmed = pc.utf8_trim(cells, characters=BLANKS)
        empty = pc.equal(trimmed, "")
        if not pc.all(pc.or_(empty, pc.match_substring_regex(trimmed, f"^({INTEGER_PATTERN})$"))).as_py():
            return None
        values = pc.if_else(empty, str(NO_TIMESTAMP), trimmed).cast(pa.int64()).to_numpy(zero_copy_only=False)
        there = values[values != NO_TIMESTAMP]
        low, high = self._column.low, self._column.high
        good = (low is None or bool((there >= low).all())) and (high is None or bool((there <= high).all()))
        return values if good else None


Parsers = Mapping[str, Callable[[str], Any]]


def judged(table: Table, parsers: Parsers, rejects: Rejects, progress: Progress = silent) -> Iterator[dict[str, Cells]]:
    """The good rows of a table, a block at a time; the others go to `rejects`.

    Args:
      table: the file.
      parsers: for each column, by its name in `Table.fields`, what makes a value of a cell's text, and raises
        BadFieldError where the text is not what it must be. Called once for each distinct text of a block.
      rejects: takes the bad rows, in the order of lines. A row with several bad cells is named for the first parser's.
      progress: told how far the file is read.

    Raises:
      LayoutError: a line is longer than `data.tables.BLOCK_BYTES`.
      RowError: there are more bad rows than allowed.
    """
    for block in blocks(table, progress):
        columns: dict[str, Cells] = {}
        problems: dict[int, BadFieldError] = {}
        for name, parse in parsers.items():
            columns[name] = _parse_cells(block.cells[name], parse, problems)
        if block.bad or problems:
            _reject(table, block, problems, rejects)
        if problems:
            columns = {name: _without(cells, list(problems)) for name, cells in columns.items()}
        yield columns


def _parse_cells(cells: pa.StringArray, parse: Callable[[str], Any], problems: dict[int, BadFieldError]) -> Cells:
    """Parses each distinct cell once; adds what is wrong in rows that had nothing wrong yet."""
    if isinstance(parse, IntegerParser) and (numbers := parse.parse_all(cells)) is not None:
        return Cells(values=numbers, codes=np.arange(len(numbers)))
    encoded = cells.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    values: list[Any] = []
    wrong: dict[int, BadFieldError] = {}
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            values.append(parse(text))
        except BadFieldError as problem:
            values.append(None)
            wrong[code] = problem
    for row in np.isin(codes, list(wrong)).nonzero()[0].tolist() if wrong else ():
        problems.setdefault(row, wrong[codes[row]])
    return Cells(values=values, codes=codes)


def _without(cells: Cells, rows: list[int]) -> Cells:
    """The cells of all rows but some, and none but their values."""
    used, codes = np.unique(np.delete(cells.codes, rows), return_inverse=True)
    return Cells(values=[cells.values[code] for code in used], codes=codes)


def _reject(table: Table, block: Block, problems: Mapping[int, BadFieldError], rejects: Rejects) -> None:
    """Hands over the bad rows of a block, in the order of lines."""
    rows = block.records() if problems else []
    bad = [(record, record.fields) for record in block.bad]
    bad += [(rows[row], problem) for row, problem in problems.items()]
    for record, problem in sorted(bad, key=lambda each: each[0].line):
        if isinstance(problem, BadFieldError):
            rejects.add(file=table.shown, line=record.line, problem=problem, raw=record.raw)


def read(table: Table, release: Release, rejects: Rejects, progress: Progress = silent) -> RatingColumns:
    """Reads all ratings of a table; adds users, titles and their attributes to the release.

    Args:
      table: one of `release.ratings`.
      release: the release it belongs to.
      rejects: takes the bad rows.
      progress: told how far the file is read.

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
    parsers: dict[str, Callable[[str], Any]] = {
        USER_ID.name: functools.cache(functools.partial(parse_text, what="user id")),
        title_field: functools.cache(functools.partial(_parse_title, release)),
        USER_RATING.name: functools.partial(parse_rating, scale=release.scale),
        **({TIMESTAMP.name: IntegerParser(TIMESTAMP)} if with_timestamps else {}),
        **{column.name: functools.partial(parse_cell, column=column) for column in described},
    }
    users: list[np.ndarray] = []
    titles: list[np.ndarray] = []
    ratings: list[np.ndarray] = []
    timestamps: list[np.ndarray] = []
    for cells in judged(table, parsers, rejects, progress):
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
    return RatingColumns(
        user=_joined(users, np.int32),
        title=_joined(titles, np.int32),
        rating=_joined(ratings, np.float32),
        timestamp=_joined(timestamps, np.int64) if with_timestamps else None,
    )


def side_rows(
    table: Table, side: features.Table, rejects: Rejects
) -> Iterator[tuple[str, dict[Column, str | int | None]]]:
    """The rows of a side table: the key, and the value of each other column that the file has, None where it is empty.

    Rows of bad form go to `rejects`, and so do those whose key is empty or that of an earlier row, or of which a value
    is none of its column's.

    Raises:
      RowError: there are more such rows than allowed.
    """
    seen: set[str] = set()
    columns = [column for column in side.columns[1:] if column.name in table.fields]

    def parse(fields: list[str]) -> tuple[str, dict[Column, str | int | None]]:
        key = parse_text(fields[table.fields[side.key.name]], side.key.name)
        if key in seen:
            raise BadFieldError(shown(key), f"a {side.key.name} that no earlier row has")
        values = {column: parse_cell(fields[table.fields[column.name]], column) for column in columns}
        seen.add(key)
        return key, values

    return parsed(table, rejects, parse)


def _joined(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """One array of all parts, which are forgotten, so that no more than one column is held twice."""
    whole = np.concatenate(parts) if parts else np.empty(0, dtype)
    parts.clear()
    return whole


def _parse_title(release: Release, text: str) -> str:
    """The title that a field names, by itself or by an item id."""
    if release.items is None:
        return parse_text(text, "title")
    item_id = parse_text(text, "item id")
    if item_id not in release.items:
        raise BadFieldError(shown(item_id), "an item id that has a title")
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
