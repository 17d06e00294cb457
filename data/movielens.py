"""The layouts in which ratings come: every MovieLens release, RecBole's copy of one, and a CSV of the user's own.

| release                      | ratings       | titles            | users       | text            |
|------------------------------|---------------|-------------------|-------------|-----------------|
| 100K                         | `u.data`      | `u.item`          | `u.user`    | latin-1         |
| 1M                           | `ratings.dat` | `movies.dat`      | `users.dat` | latin-1         |
| 10M                          | `ratings.dat` | `movies.dat`      |             | UTF-8           |
| latest-small, 20M, 25M, 32M  | `ratings.csv` | `movies.csv`      |             | UTF-8, RFC 4180 |
| RecBole's copy of 100K       | `ml-100k.inter` | `ml-100k.item`  | `ml-100k.user` | UTF-8        |
| one's own                    | `ratings.csv` or another CSV | `titles.csv` | `users.csv` | UTF-8, RFC 4180 |
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from data.errors import LayoutError
from data.reader import side_rows
from data.rejects import BadFieldError, Rejects, in_bounds, parse_text, shown, tidy
from data.releases import ITEM_ID, Release
from data.splits import PUBLISHED_SPLITS
from data.tables import Table, parsed, read_header
from modules import features
from modules.features import (
    COLUMNS,
    GENRES,
    MOVIE_TITLE,
    RELEASE_YEAR,
    TIMESTAMP,
    TITLES,
    USER_AGE,
    USER_GENDER,
    USER_ID,
    USER_OCCUPATION,
    USER_RATING,
    USER_ZIP_CODE,
    USERS,
    Column,
)

MOVIELENS_100K = "MovieLens 100K"

WHOLE_STARS = (1.0, 5.0)
HALF_STARS = (0.5, 5.0)

# "Toy Story (1995)"; IMDb's mark for video and television may follow, and of a series' years the first counts.
_YEAR = re.compile(r"\(([0-9]{4})(?:[-–][0-9 ]*)?\)(?: \((?:V|TV)\))?$")
_NO_GENRE = ("unknown", "(no genres listed)")


def _positions_of(*names: str) -> dict[str, int]:
    return {name: position for position, name in enumerate(names)}


_RATING_FIELDS = _positions_of(USER_ID.name, ITEM_ID, USER_RATING.name, TIMESTAMP.name)
_USER_FIELDS = _positions_of(*(column.name for column in USERS.columns))
# MovieLens 1M names the gender first.
_USER_FIELDS_1M = _positions_of(
    *(column.name for column in (USER_ID, USER_GENDER, USER_AGE, USER_OCCUPATION, USER_ZIP_CODE))
)


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a release.

    Attributes:
      path: where the bytes are.
      shown: its name in messages.
    """

    path: pathlib.Path
    shown: str


Files = Mapping[str, File]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be had of a release in more than one way.

    Attributes:
      split: one of data.splits.PUBLISHED_SPLITS, or None for all ratings in one.
      keep_items_apart: items that share a title stay apart, by their ids behind the title.
    """

    split: str | None = None
    keep_items_apart: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How to recognise a release and how to open it.

    Attributes:
      name: for messages.
      required: files that make a folder this layout.
      optional: files that are used where they are there.
      open: reads the small tables; gets the files by name, the collector of bad rows, and the choices.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    open: Callable[[Files, Rejects, Choices], Release]


@dataclasses.dataclass(frozen=True)
class _Item:
    id: str
    title: str
    genres: str
    year: int | None


def release_year(title: str) -> int | None:
    """The year in brackets that ends a title; None where there is none, or none in which a film can be released."""
    match = _YEAR.search(title)
    return int(match[1]) if match and in_bounds(int(match[1]), RELEASE_YEAR) else None


def _item(fields: Sequence[str], genres: Sequence[str]) -> _Item:
    title = parse_text(fields[1], "title")
    named = [genre for genre in genres if genre not in _NO_GENRE]
    return _Item(parse_text(fields[0], "item id"), title, "|".join(named), release_year(title))


def _read_items(
    release: Release, table: Table, rejects: Rejects, choices: Choices, parse: Callable[[list[str]], _Item]
) -> None:
    """Reads titles, genres and years."""
    items: dict[str, _Item] = {}

    def first_of_its_id(fields: list[str]) -> _Item:
        item = parse(fields)
        if item.id in items:
            raise BadFieldError(shown(item.id), "an item id that no earlier row has")
        return item

    ids_of: dict[str, list[str]] = {}
    for item in parsed(table, rejects, first_of_its_id):
        items[item.id] = item
        ids_of.setdefault(item.title, []).append(item.id)
    release.shared_titles = {title: ids for title, ids in ids_of.items() if len(ids) > 1}
    release.items = {}
    for item in items.values():
        apart = choices.keep_items_apart and item.title in release.shared_titles
        number = release.titles.add(f"{item.title} [{item.id}]" if apart else item.title)
        release.items[item.id] = number
        release.describe(GENRES, number, item.genres)
        release.describe(RELEASE_YEAR, number, item.year)


def _read_side_table(release: Release, side: features.Table, table: Table, rejects: Rejects) -> None:
    """Reads what is known of users or of titles, by id."""
    for key, values in side_rows(table, side, rejects):
        number = release.keys_of(side).add(key)
        for column, value in values.items():
            release.describe(column, number, value)


def _release(
    name: str, ratings: Mapping[str, Table], scale: tuple[float, float] | None, columns: Collection[Column]
) -> Release:
    columns = tuple(column for column in COLUMNS if column.required or column in columns)
    return Release(name=name, ratings=ratings, columns=columns, scale=scale)


def _table(file: File, width: int, fields: Mapping[str, int], **form: Any) -> Table:
    return Table(path=file.path, shown=file.shown, width=width, fields=fields, **form)


def _open_100k(files: Files, rejects: Rejects, choices: Choices) -> Release:
    split = choices.split
    parts = {"": "u.data"} if split is None else {"train": f"{split}.base", "test": f"{split}.test"}
    missing = [name for name in parts.values() if name not in files]
    if missing:
        raise LayoutError(
            f"expected {' and '.join(parts.values())} beside u.data for the split {split}; missing: "
            f"{', '.join(missing)}; take the complete release"
        )
    table = functools.partial(_table, separator="|", encoding="latin-1")
    ratings = {
        part: _table(files[name], 4, _RATING_FIELDS, separator="\t", encoding="latin-1") for part, name in parts.items()
    }
    columns = [TIMESTAMP, RELEASE_YEAR]
    genres: list[str] = []
    if "u.genre" in files:
        columns.append(GENRES)
        genres = list(parsed(table(files["u.genre"], 2, {}), rejects, lambda fields: parse_text(fields[0], "genre")))
    if "u.user" in files:
        columns.extend(USERS.columns)
    release = _release(MOVIELENS_100K, ratings, WHOLE_STARS, columns)

    def parse(fields: list[str]) -> _Item:
        flags = fields[5:]
        strange = [flag for flag in flags if flag not in ("0", "1")]
        if strange:
            raise BadFieldError(shown(strange[0]), "genre flags of 0 or 1")
        # Without u.genre the flags have no names.
        return _item(fields, [genre for genre, flag in zip(genres, flags, strict=bool(genres)) if flag == "1"])

    _read_items(release, table(files["u.item"], 5 + (len(genres) or 19), {}), rejects, choices, parse)
    if "u.user" in files:
        _read_side_table(release, USERS, table(files["u.user"], 5, _USER_FIELDS), rejects)
    return release


def _open_recbole(files: Files, rejects: Rejects, choices: Choices) -> Release:
    table = functools.partial(_table, separator="\t", header=True)
    ratings = {"": table(files["ml-100k.inter"], 4, _RATING_FIELDS)}
    columns = [TIMESTAMP, *TITLES.columns, *(USERS.columns if "ml-100k.user" in files else ())]
    release = _release(MOVIELENS_100K, ratings, WHOLE_STARS, columns)

    def parse(fields: list[str]) -> _Item:
        item_id, title, bracket, genres = fields
        # "Toy Story (1995)" was cut into "Toy Story" and what the last brackets hold, which once is the "V" of a video.
        # The one title without brackets, "unknown", stands misspelt in both fields.
        whole = "unknown" if title == bracket == "unkonwn" else f"{title} ({bracket})"
        return _item([item_id, whole], genres.split(" "))

    _read_items(release, table(files["ml-100k.item"], 4, {}), rejects, choices, parse)
    if "ml-100k.user" in files:
        _read_side_table(release, USERS, table(files["ml-100k.user"], 5, _USER_FIELDS), rejects)
    return release


def _open_dat(files: Files, rejects: Rejects, choices: Choices) -> Release:
    # Of the two releases in this layout, 1M alone has users, and 10M alone has half stars and UTF-8.
    is_1m = "users.dat" in files
    table = functools.partial(_table, separator="::", encoding="latin-1" if is_1m else "utf-8")
    release = _release(
        "MovieLens 1M" if is_1m else "MovieLens 10M",
        {"": table(files["ratings.dat"], 4, _RATING_FIELDS)},
        WHOLE_STARS if is_1m else HALF_STARS,
        [TIMESTAMP, *TITLES.columns, *(USERS.columns if is_1m else ())],
    )
    items = table(files["movies.dat"], 3, {})
    _read_items(release, items, rejects, choices, lambda fields: _item(fields, tidy(fields[2]).split("|")))
    if is_1m:
        _read_side_table(release, USERS, table(files["users.dat"], 5, _USER_FIELDS_1M), rejects)
    return release


def _positions(file: File, wanted: Mapping[str, str]) -> tuple[dict[str, int], int]:
    """Position of each wanted column in the header of a CSV file, by our name, and the number of columns.

    Raises:
      LayoutError: the header lacks one, or has one twice.
    """
    header = read_header(file.path, file.shown)
    missing = [name for name in wanted.values() if name not in header]
    if missing:
        raise LayoutError(
            f"expected the columns {', '.join(wanted.values())} in {file.shown}; missing: {', '.join(missing)}; "
            f"available: {', '.join(header)}"
        )
    twice = [name for name in wanted.values() if header.count(name) > 1]
    if twice:
        raise LayoutError(f"expected each column of {file.shown} once; got {twice[0]} more than once; rename one")
    return {ours: header.index(theirs) for ours, theirs in wanted.items()}, len(header)


def _csv_table(file: File, wanted: Mapping[str, str]) -> Table:
    """A CSV file with a header that has the wanted columns, by our name.

    Raises:
      LayoutError: the header lacks one, or has one twice.
    """
    fields, width = _positions(file, wanted)
    return _table(file, width, fields, separator=",", quoted=True, header=True)


def _open_csv(files: Files, rejects: Rejects, choices: Choices) -> Release:
    wanted = {USER_ID.name: "userId", ITEM_ID: "movieId", USER_RATING.name: "rating", TIMESTAMP.name: "timestamp"}
    ratings = _csv_table(files["ratings.csv"], wanted)
    release = _release("MovieLens", {"": ratings}, HALF_STARS, [TIMESTAMP, *TITLES.columns])
    items = _csv_table(files["movies.csv"], {ITEM_ID: "movieId", MOVIE_TITLE.name: "title", GENRES.name: "genres"})

    def parse(fields: list[str]) -> _Item:
        item_id, title, genres = (fields[position] for position in items.fields.values())
        return _item([item_id, title], tidy(genres).split("|"))

    _read_items(release, items, rejects, choices, parse)
    return release


LAYOUTS = (
    Layout(
        name="u.data and u.item (MovieLens 100K)",
        required=("u.data", "u.item"),
        optional=("u.genre", "u.user", *(f"{split}.{part}" for split in PUBLISHED_SPLITS for part in ("base", "test"))),
        open=_open_100k,
    ),
    Layout(
        name="ml-100k.inter and ml-100k.item (RecBole's copy of MovieLens 100K)",
        required=("ml-100k.inter", "ml-100k.item"),
        optional=("ml-100k.user",),
        open=_open_recbole,
    ),
    Layout(
        name="ratings.dat and movies.dat (MovieLens 1M, 10M)",
        required=("ratings.dat", "movies.dat"),
        optional=("users.dat",),
        open=_open_dat,
    ),
    Layout(
        name="ratings.csv and movies.csv (MovieLens latest, 20M, 25M, 32M)",
        required=("ratings.csv", "movies.csv"),
        open=_open_csv,
    ),
)


def open_own_csv(file: File, columns: Mapping[str, str] | None, scale: tuple[float, float] | None) -> Release:
    """Opens a CSV with a header that names users, titles and ratings in its own words.

    Args:
      file: the CSV, UTF-8, quoted as RFC 4180 says.
      columns: their name of each of our columns; ours are also found under their own names.
      scale: lowest and highest possible rating; None to take what the data hold.

    Raises:
      LayoutError: a column is not there, or a name of ours is not one.
    """
    named = dict(columns or {})
    ours = [column.name for column in COLUMNS]
    unknown = [name for name in named if name not in ours]
    if unknown:
        raise LayoutError(f"expected names of ours left of `=` in --columns: {', '.join(ours)}; got {unknown[0]!r}")
    header = read_header(file.path, file.shown)
    wanted = {
        column.name: named.get(column.name, column.name)
        for column in COLUMNS
        if column.required or column.name in named or column.name in header
    }
    missing = [
        ours if ours == theirs else f"{theirs} (for {ours})" for ours, theirs in wanted.items() if theirs not in header
    ]
    if missing:
        raise LayoutError(
            f"expected {', '.join(missing)} among the columns of {file.shown}; available: {', '.join(header)}; "
            "name them with --columns user_id=…,movie_title=…,user_rating=…; give a MovieLens release as its folder"
        )
    ours_there = [column for column in COLUMNS if column.name in wanted]
    return _release(file.shown, {"": _csv_table(file, wanted)}, scale, ours_there)


def read_own_side_tables(release: Release, files: Files, rejects: Rejects) -> None:
    """Reads `titles.csv` and `users.csv` beside a CSV of the user's own, with those of our columns that they have.

    Raises:
      LayoutError: one lacks the column of ids, or has a column twice.
      RowError: there are more bad rows than allowed.
    """
    for side in features.SIDE_TABLES:
        if side.file in files:
            file = files[side.file]
            header = read_header(file.path, file.shown)
            columns = [column for column in side.columns if column.required or column.name in header]
            table = _csv_table(file, {column.name: column.name for column in columns})
            _read_side_table(release, side, table, rejects)
            release.columns = tuple(column for column in COLUMNS if column in (*release.columns, *columns))
