r"""Sorts ratings, merges repeated ones and writes the tables of a data folder, ratings a chunk at a time.

The bytes depend on what is said alone, not on the order or the form in which it came:

- ratings sorted by user id, then title; side tables by their key; all by code point;
- UTF-8, `\n` after each row and nowhere else;
- fields quoted as RFC 4180 says and only where they hold a comma or a quote;
- a rating is the shortest decimal that reads back as the same float32, without exponent and without `.0`: `4`, `3.5`,
  `3.6666667`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.choices import Repeated
from data.progress import Progress, silent
from data.reader import NO_TIMESTAMP, RatingColumns
from data.releases import Release, columns_of, files_of, side_tables_of
from data.scales import decimal
from data.sidecar import TableFile
from data.vocabulary import Vocabulary
from modules import features
from modules.features import Column

_CHUNK_ROWS = 1 << 18
_FLOAT32 = (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max))


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


def rated_keys(ratings: Collection[RatingColumns], release: Release) -> dict[str, np.ndarray]:
    """Numbers of the titles that are rated and of the users who rate, ascending, by the name of their side table."""
    return {
        features.TITLES.name: _distinct([part.title for part in ratings], len(release.titles)),
        features.USERS.name: _distinct([part.user for part in ratings], len(release.users)),
    }


def _distinct(numbers: Sequence[np.ndarray], size: int) -> np.ndarray:
    """The numbers, below `size`, that occur in any of some arrays, ascending."""
    occurs = np.zeros(size, bool)
    for part in numbers:
        occurs[part] = True
    return occurs.nonzero()[0]


def merge(columns: RatingColumns, users: Vocabulary, titles: Vocabulary, repeated: Repeated = "mean") -> SortedRatings:
    """Sorts the ratings and makes one of those of one pair; its timestamp is the latest of theirs.

    Empties `columns`, so that no rating is held twice for longer than needed.

    Args:
      columns: the ratings in the order of the source.
      users: the user ids.
      titles: the titles.
      repeated: the rating that counts: "mean" of all, or that of the "latest" timestamp; of equal timestamps, and where
        there are none, the last one; or the "sum" of all.
    """
    pair = users.ranks()[columns.user]
    columns.user = np.empty(0, np.int32)
    pair *= len(titles)
    pair += titles.ranks()[columns.title]
    columns.title = np.empty(0, np.int32)
    if repeated == "latest" and columns.timestamp is not None:
        order = np.lexsort((columns.timestamp, pair))
    else:
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
    ends = np.append(starts[1:], len(pair))
    if repeated == "latest":
        rating = rating[ends - 1]
    else:
        total = np.add.reduceat(rating, starts, dtype=np.float64)
        rating = (total.clip(*_FLOAT32) if repeated == "sum" else total / (ends - starts)).astype(np.float32)
    return SortedRatings(
        pair=pair[starts],
        rating=rating,
        timestamp=None if timestamp is None else np.maximum.reduceat(timestamp, starts),
    )


def write_tables(
    folder: pathlib.Path,
    release: Release,
    parts: Mapping[str, SortedRatings],
    listed: Mapping[str, np.ndarray],
    progress: Progress = silent,
) -> tuple[TableFile, ...]:
    """Writes the files of a release, and gives the record of each.

    Args:
      folder: where to write; what is there is replaced.
      release: says which columns there are, and what users and titles are.
      parts: ratings of each part of the release.
      listed: numbers of the titles and of the users that have a row, int [rows], by the name of the side table.
      progress: told how many ratings are written.
    """
    files = files_of(parts, release.columns)
    for name, ratings in zip(files, parts.values(), strict=False):
        (folder / name).parent.mkdir(exist_ok=True)
        columns = columns_of(features.RATINGS, release.columns)
        _write_ratings(folder / name, ratings, columns, release.users, release.titles, progress)
    for table in side_tables_of(release.columns):
        columns, keys = columns_of(table, release.columns), release.keys_of(table).values
        rows = sorted(listed[table.name].tolist(), key=keys.__getitem__)
        cells = [[keys[row] for row in rows]]
        cells += [[str(release.attributes[column.name].get(row, "")) for row in rows] for column in columns[1:]]
        lines = [_header(columns), *(",".join(map(_field, row)) for row in zip(*cells, strict=True)), ""]
        (folder / table.file).write_text("\n".join(lines), encoding="utf-8", newline="")
    return tuple(dataclasses.replace(TableFile.of(folder, name), rows_are_lines=True) for name in files)


def _write_ratings(
    path: pathlib.Path,
    ratings: SortedRatings,
    columns: Sequence[Column],
    users: Vocabulary,
    titles: Vocabulary,
    progress: Progress,
) -> None:
    # By rank, as in `pair`.
    user_ids, title_names = (pa.array(map(_field, sorted(each.values)), pa.string()) for each in (users, titles))
    with path.open("wb") as file:
        file.write((_header(columns) + "\n").encode())
        for start in range(0, len(ratings), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            user, title = np.divmod(ratings.pair[rows], len(titles))
            cells = [user_ids.take(pa.array(user)), title_names.take(pa.array(title)), _decimals(ratings.rating[rows])]
            if ratings.timestamp is not None:
                cells.append(_timestamps(ratings.timestamp[rows]))
            lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*cells, ","), "", "\n")
            file.write(_bytes_of(lines))
            progress(f"writing {path.name}", min(start + _CHUNK_ROWS, len(ratings)), len(ratings), "rows")


def _header(columns: Sequence[Column]) -> str:
    return ",".join(column.name for column in columns)


def _field(text: str) -> str:
    """The text as a field of a CSV file."""
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def _decimals(values: np.ndarray) -> pa.Array:
    distinct, indices = np.unique(values, return_inverse=True)
    return pa.array([decimal(value) for value in distinct], pa.string()).take(pa.array(indices.reshape(-1)))


def _timestamps(values: np.ndarray) -> pa.Array:
    return pc.fill_null(pa.array(values, mask=values == NO_TIMESTAMP).cast(pa.string()), "")


def _bytes_of(texts: pa.Array) -> memoryview:
    """All texts one after the other, without copying: they lie so in memory."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
