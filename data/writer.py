r"""Sorts ratings, merges repeated ones and writes them as `ratings.csv`, a chunk at a time.

The bytes depend on the ratings alone, not on the order or the form in which they came:

- rows sorted by user id, then title, both by code point;
- UTF-8, `\n` after each row, fields quoted as RFC 4180 says and only where they hold a comma or a quote;
- a rating is the shortest decimal that reads back as the same float32, without exponent and without `.0`: `4`, `3.5`,
  `3.6666667`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.progress import Progress, silent
from data.reader import NO_TIMESTAMP, RatingColumns
from data.vocabulary import Vocabulary
from modules.features import TIMESTAMP, Column

_CHUNK_ROWS = 1 << 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class SortedRatings:
    """One rating for each pair of user and title, in the order of `ratings.csv`.

    Attributes:
      pair: int64 [ratings], ascending; rank of the user times the number of titles, plus the rank of the title.
      rating: float32 [ratings], stars.
      timestamp: int64 [ratings] or None, as in RatingColumns.
    """

    pair: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rating)


def merge(columns: RatingColumns, users: Vocabulary, titles: Vocabulary) -> SortedRatings:
    """Sorts the ratings and merges those of one pair: mean of the ratings, latest of the timestamps.

    Empties `columns`, so that no rating is held twice for longer than needed.
    """
    pair = users.ranks()[columns.user]
    columns.user = np.empty(0, np.int32)
    pair *= len(titles)
    pair += titles.ranks()[columns.title]
    columns.title = np.empty(0, np.int32)
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    rating = columns.rating[order]
    columns.rating = np.empty(0, np.float32)
    timestamp = None
    if columns.timestamp is not None:
        timestamp = columns.timestamp[order]
        columns.timestamp = None
    del order
    is_first = np.ones(len(pair), bool)
    np.not_equal(pair[1:], pair[:-1], out=is_first[1:])
    if is_first.all():
        return SortedRatings(pair=pair, rating=rating, timestamp=timestamp)
    starts = is_first.nonzero()[0]
    counts = np.diff(starts, append=len(pair))
    mean = np.add.reduceat(rating, starts, dtype=np.float64) / counts
    return SortedRatings(
        pair=pair[starts],
        rating=mean.astype(np.float32),
        timestamp=None if timestamp is None else np.maximum.reduceat(timestamp, starts),
    )


def scale_of(ratings: Sequence[SortedRatings]) -> tuple[float, float]:
    """Lowest and highest rating there is, as they are written.

    Raises:
      DataError: all ratings are the same, which gives no scale.
    """
    low, high = min(part.rating.min() for part in ratings), max(part.rating.max() for part in ratings)
    if low == high:
        raise DataError(f"expected ratings that differ, to tell the scale; got {_decimal(low)} alone; give --scale")
    return float(_decimal(low)), float(_decimal(high))


def count_users_and_titles(ratings: Sequence[SortedRatings], num_titles: int) -> tuple[int, int]:
    """How many distinct users and titles the parts hold together."""
    titles = np.zeros(num_titles, bool)
    users: set[int] = set()
    for part in ratings:
        for start in range(0, len(part), _CHUNK_ROWS):
            user, title = np.divmod(part.pair[start : start + _CHUNK_ROWS], num_titles)
            titles[title] = True
            users.update(user[np.diff(user, prepend=-1) != 0].tolist())
    return len(users), int(titles.sum())


def write(
    path: pathlib.Path,
    ratings: SortedRatings,
    *,
    columns: Sequence[Column],
    users: Vocabulary,
    titles: Vocabulary,
    attributes: Mapping[str, Mapping[int, str | int]],
    checksum: hashlib._Hash,
    progress: Progress = silent,
) -> None:
    """Writes `ratings.csv`.

    Args:
      path: the file; replaced where there is one.
      ratings: what to write.
      columns: the columns, in their order.
      users: the user ids.
      titles: the titles.
      attributes: values of the columns that describe users or titles, by column name, then by number.
      checksum: updated with the bytes written.
      progress: told how many rows are written.
    """
    user_fields = [_fields(users.values)]
    title_fields = [_fields(titles.values)]
    for column in columns:
        if column.describes != "rating" and not column.required:
            owners = users if column.describes == "user" else titles
            values = attributes[column.name]
            fields = _fields([str(values.get(code, "")) for code in range(len(owners))])
            (user_fields if column.describes == "user" else title_fields).append(fields)
    # By rank from here on, as in `pair`. What stands side by side in a row is joined once for each user or title.
    user_order, title_order = np.argsort(users.ranks()), np.argsort(titles.ranks())
    user_id, user_rest = _by_rank(user_fields, user_order)
    title, title_rest = _by_rank(title_fields, title_order)
    with path.open("wb") as file:
        header = (",".join(column.name for column in columns) + "\n").encode()
        file.write(header)
        checksum.update(header)
        for start in range(0, len(ratings), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            user, item = np.divmod(ratings.pair[rows], len(titles))
            parts = [user_id.take(pa.array(user)), title.take(pa.array(item)), _decimals(ratings.rating[rows])]
            if TIMESTAMP in columns:
                if ratings.timestamp is None:
                    raise ValueError("expected timestamps, since they are among the columns; got none")
                parts.append(_timestamps(ratings.timestamp[rows]))
            if title_rest is not None:
                parts.append(title_rest.take(pa.array(item)))
            if user_rest is not None:
                parts.append(user_rest.take(pa.array(user)))
            lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*parts, ","), "", "\n")
            block = _bytes_of(lines)
            file.write(block)
            checksum.update(block)
            progress(f"writing {path.name}", min(start + _CHUNK_ROWS, len(ratings)), len(ratings))


def _fields(values: Sequence[str]) -> pa.Array:
    """The values as CSV fields."""
    return pa.array(
        ['"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value for value in values],
        pa.string(),
    )


def _by_rank(fields: Sequence[pa.Array], order: np.ndarray) -> tuple[pa.Array, pa.Array | None]:
    """The first field, and all others as they stand side by side in a row, sorted."""
    positions = pa.array(order)
    rest = None
    if len(fields) > 1:
        rest = pc.binary_join_element_wise(*fields[1:], ",").take(positions)
    return fields[0].take(positions), rest


def _decimal(value: np.floating) -> str:
    return np.format_float_positional(np.float32(value), unique=True, trim="-")


def _decimals(values: np.ndarray) -> pa.Array:
    distinct, indices = np.unique(values, return_inverse=True)
    return pa.array([_decimal(value) for value in distinct], pa.string()).take(pa.array(indices.reshape(-1)))


def _timestamps(values: np.ndarray) -> pa.Array:
    return pc.fill_null(pa.array(values, mask=values == NO_TIMESTAMP).cast(pa.string()), "")


def _bytes_of(texts: pa.Array) -> memoryview:
    """All texts one after the other, without copying: they lie so in memory."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
