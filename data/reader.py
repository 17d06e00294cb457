"""Reads a table of ratings into columns: vectorised where the file is clean, row by row where it is not."""

from __future__ import annotations

import array
import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data.progress import Progress, silent
from data.rejects import (
    BLANKS,
    INTEGER_PATTERN,
    BadFieldError,
    Rejects,
    parse_integer,
    parse_rating,
    parse_text,
    shown,
    tidy,
)
from data.releases import ITEM_ID, Release
from data.tables import Table, parsed
from modules.features import COLUMNS, MOVIE_TITLE, TIMESTAMP, USER_ID, USER_RATING, Column

# Timestamps that are not there; below all others, so that the latest of several is one that is there.
NO_TIMESTAMP = np.iinfo(np.int64).min

_BLOCK_BYTES = 4 << 20


class _UnclearError(Exception):
    """The vectorised path met something that only reading row by row can judge."""


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
    try:
        return _read_clean(table, release, progress)
    except (_UnclearError, BadFieldError, pa.ArrowInvalid, UnicodeDecodeError):
        # All of it again, so that rows are numbered and judged by one reader; what the first attempt added to the
        # vocabularies came from good rows and is found there again.
        return _read_by_row(table, release, rejects, progress)


class _Lookups:
    """Numbers of users and titles by the text that stands in the file."""

    def __init__(self, release: Release) -> None:
        @functools.cache
        def user(text: str) -> int:
            return release.users.add(parse_text(text, "user id"))

        @functools.cache
        def title(text: str) -> int:
            if release.items is None:
                return release.titles.add(parse_text(text, "title"))
            item_id = parse_text(text, "item id")
            if item_id not in release.items:
                raise BadFieldError(shown(item_id), "an item id that has a title")
            return release.items[item_id]

        self.user: Callable[[str], int] = user
        self.title: Callable[[str], int] = title
        self.title_field = MOVIE_TITLE.name if release.items is None else ITEM_ID


def _described(table: Table) -> list[Column]:
    """The columns of a table of ratings that describe users or titles."""
    return [column for column in COLUMNS if column.name in table.fields and not _is_rating(column)]


def _is_rating(column: Column) -> bool:
    return column.required or column.describes == "rating"


def _parse_attribute(text: str, column: Column) -> str | int | None:
    return parse_integer(text, column.name) if column.dtype == "int" else tidy(text) or None


def _read_by_row(table: Table, release: Release, rejects: Rejects, progress: Progress) -> RatingColumns:
    users, titles, ratings, timestamps = array.array("i"), array.array("i"), array.array("f"), array.array("q")
    lookups = _Lookups(release)
    described = _described(table)
    user_at, title_at = table.fields[USER_ID.name], table.fields[lookups.title_field]
    rating_at, timestamp_at = table.fields[USER_RATING.name], table.fields.get(TIMESTAMP.name)

    @functools.lru_cache(maxsize=1024)
    def parse_stars(text: str) -> float:
        return parse_rating(text, release.scale)

    def parse(fields: list[str]) -> tuple[int, int, float, int | None, list[str | int | None]]:
        # A user or title of bad rows alone gets a number, too; it describes no rating and so never shows.
        user, title = lookups.user(fields[user_at]), lookups.title(fields[title_at])
        rating = parse_stars(fields[rating_at])
        timestamp = None if timestamp_at is None else parse_integer(fields[timestamp_at], TIMESTAMP.name)
        attributes = [_parse_attribute(fields[table.fields[column.name]], column) for column in described]
        return user, title, rating, timestamp, attributes

    for user, title, rating, timestamp, attributes in parsed(table, rejects, parse, progress):
        users.append(user)
        titles.append(title)
        ratings.append(rating)
        timestamps.append(NO_TIMESTAMP if timestamp is None else timestamp)
        for column, value in zip(described, attributes, strict=True):
            if value is not None:
                release.attributes[column.name].setdefault(user if column.describes == "user" else title, value)
    return RatingColumns(
        user=np.frombuffer(users, np.int32),
        title=np.frombuffer(titles, np.int32),
        rating=np.frombuffer(ratings, np.float32),
        timestamp=None if timestamp_at is None else np.frombuffer(timestamps, np.int64),
    )


def _read_clean(table: Table, release: Release, progress: Progress) -> RatingColumns:
    lookups = _Lookups(release)
    described = _described(table)
    users: list[np.ndarray] = []
    titles: list[np.ndarray] = []
    ratings: list[np.ndarray] = []
    timestamps: list[np.ndarray] = []
    with_timestamps = TIMESTAMP.name in table.fields
    for batch in _batches(table, progress):
        rating = _mapped(batch[USER_RATING.name], lambda text: parse_rating(text, release.scale), np.float32)
        timestamp = _integers(batch[TIMESTAMP.name]) if with_timestamps else None
        attributes = [_indexed(batch[column.name], column) for column in described]
        user = _mapped(batch[USER_ID.name], lookups.user, np.int32)
        title = _mapped(batch[lookups.title_field], lookups.title, np.int32)
        for column, (values, indices) in zip(described, attributes, strict=True):
            owners = user if column.describes == "user" else title
            known = np.array([value is not None for value in values], bool)[indices].nonzero()[0]
            found, first = np.unique(owners[known], return_index=True)
            of_owner = release.attributes[column.name]
            for owner, row in zip(found.tolist(), known[first].tolist(), strict=True):
                value = values[indices[row]]
                if owner not in of_owner and value is not None:
                    of_owner[owner] = value
        users.append(user)
        titles.append(title)
        ratings.append(rating)
        if timestamp is not None:
            timestamps.append(timestamp)
    return RatingColumns(
        user=_joined(users, np.int32),
        title=_joined(titles, np.int32),
        rating=_joined(ratings, np.float32),
        timestamp=_joined(timestamps, np.int64) if with_timestamps else None,
    )


def _joined(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """One array of all parts, which are forgotten, so that no more than one column is held twice."""
    whole = np.concatenate(parts) if parts else np.empty(0, dtype)
    parts.clear()
    return whole


def _batches(table: Table, progress: Progress) -> Iterator[dict[str, pa.Array]]:
    """Columns of strings, by our names, a few MB of the file at a time.

    Raises:
      pa.ArrowInvalid: a row has another number of fields, or bytes are not UTF-8.
      _UnclearError: something stands between the two characters of a separator.
    """
    step = len(table.separator)  # "a::b" split at ":" has an empty field between any two
    names = [f"f{position}" for position in range((table.width - 1) * step + 1)]
    gaps = [name for position, name in enumerate(names) if position % step]
    wanted = {ours: f"f{position * step}" for ours, position in table.fields.items()}
    total = table.path.stat().st_size
    with table.path.open("rb") as file:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(
                column_names=names,
                skip_rows=1 if table.header else 0,
                block_size=_BLOCK_BYTES,
                encoding=table.encoding,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=table.separator[0],
                quote_char='"' if table.quoted else False,
                newlines_in_values=table.quoted,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[*wanted.values(), *gaps],
                strings_can_be_null=False,
            ),
        )
        done = 0
        for batch in reader:
            by_name = dict(zip(batch.schema.names, batch.columns, strict=True))
            if any(pc.max(pc.binary_length(by_name[gap])).as_py() for gap in gaps):
                raise _UnclearError
            yield {ours: by_name[theirs] for ours, theirs in wanted.items()}
            done += len(batch)
            progress(f"reading {table.path.name}", min(file.tell(), total), total)


def _distinct(column: pa.Array) -> tuple[list[str], np.ndarray]:
    """The distinct texts of a column, and the position among them of each row's.

    Raises:
      _UnclearError: a text holds a line break, which may come from a quote that was left open.
    """
    encoded = column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    if any("\n" in text or "\r" in text for text in texts):
        raise _UnclearError
    return texts, encoded.indices.to_numpy(zero_copy_only=False)


def _mapped(column: pa.Array, parse: Callable[[str], float], dtype: type[np.generic]) -> np.ndarray:
    texts, indices = _distinct(column)
    return np.fromiter(map(parse, texts), dtype, len(texts))[indices]


def _indexed(column: pa.Array, description: Column) -> tuple[list[str | int | None], np.ndarray]:
    texts, indices = _distinct(column)
    return [_parse_attribute(text, description) for text in texts], indices


def _integers(column: pa.Array) -> np.ndarray:
    """What `parse_integer` gives for each row, NO_TIMESTAMP for None: int64 [rows]."""
    trimmed = pc.utf8_trim(column, characters=BLANKS)
    empty = pc.equal(trimmed, "")
    if not pc.all(pc.or_(empty, pc.match_substring_regex(trimmed, f"^({INTEGER_PATTERN})$"))).as_py():
        raise _UnclearError
    return pc.if_else(empty, str(NO_TIMESTAMP), trimmed).cast(pa.int64()).to_numpy(zero_copy_only=False)
