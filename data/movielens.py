"""The layouts in which ratings come: every MovieLens release, RecBole's copy of one, and a CSV of the user's own.

| release                      | ratings       | titles            | users       | text            |
|------------------------------|---------------|-------------------|-------------|-----------------|
| 100K                         | `u.data`      | `u.item`          | `u.user`    | latin-1         |
| 1M                           | `ratings.dat` | `movies.dat`      | `users.dat` | latin-1         |
| 10M                          | `ratings.dat` | `movies.dat`      |             | UTF-8           |
| latest-small, 20M, 25M, 32M  | `ratings.csv` | `movies.csv`      |             | UTF-8, RFC 4180 |
| RecBole's copy of 100K       | `ml-100k.inter` | `ml-100k.item`  | `ml-100k.user` | UTF-8        |
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

from data.errors import LayoutError
from data.rejects import BadFieldError, Rejects, parse_integer, parse_text, shown, tidy
from data.releases import ITEM_ID, Release
from data.splits import PUBLISHED_SPLITS
from data.tables import Table, parsed, read_header
from data.vocabulary import Vocabulary
from modules.features import (
    COLUMNS,
    GENRES,
    MOVIE_TITLE,
    RELEASE_YEAR,
    TIMESTAMP,
    USER_AGE,
    USER_GENDER,
    USER_ID,
    USER_OCCUPATION,
    USER_RATING,
    USER_ZIP_CODE,
    Column,
)

MOVIELENS_100K = "MovieLens 100K"

WHOLE_STARS = (1.0, 5.0)
HALF_STARS = (0.5, 5.0)

# "Toy Story (1995)"; IMDb's mark for video and television may follow, and of a series' years the first counts.
_YEAR = re.compile(r"\(([0-9]{4})(?:[-–][0-9 ]*)?\)(?: \((?:V|TV)\))?$")
_NO_GENRE = ("unknown", "(no genres listed)")
_USER_COLUMNS = (USER_AGE, USER_GENDER, USER_OCCUPATION, USER_ZIP_CODE)


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
class Layout:
    """How to recognise a release and how to open it.

    Attributes:
      name: for messages.
      required: files that make a folder this layout.
      optional: files that are used where they are there.
      open: reads the small tables; gets the files by name, the collector of bad rows, and the split or None.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    open: Callable[[Files, Rejects, str | None], Release]


@dataclasses.dataclass(frozen=True)
class _Item:
    id: str
    title: str
    genres: str
    year: int | None


@dataclasses.dataclass(frozen=True)
class _User:
    id: str
    values: Mapping[str, str | int | None]


def release_year(title: str) -> int | None:
    """The year in brackets that ends a title; None where there is none."""
    match = _YEAR.search(title)
    return int(match[1]) if match else None


def _item(fields: Sequence[str], genres: Sequence[str]) -> _Item:
    title = parse_text(fields[1], "title")
    kept = [genre for genre in genres if genre not in _NO_GENRE]
    return _Item(parse_text(fields[0], "item id"), title, "|".join(kept), release_year(title))


def _read_items(release: Release, table: Table, rejects: Rejects, parse: Callable[[list[str]], _Item]) -> None:
    """Titles, genres and years; of items that share a title the first gives genres and year."""
    items: dict[str, int] = {}

    def first_of_its_id(fields: list[str]) -> _Item:
        item = parse(fields)
        if item.id in items:
            raise BadFieldError(shown(item.id), "an item id that no earlier row has")
        return item

    genres: dict[int, str | int] = {}
    years: dict[int, str | int] = {}
    for item in parsed(table, rejects, first_of_its_id):
        seen = len(release.titles)
        code = items[item.id] = release.titles.add(item.title)
        if code == seen:
            genres[code] = item.genres
            if item.year is not None:
                years[code] = item.year
    release.items = items
    release.attributes[GENRES.name] = genres
    release.attributes[RELEASE_YEAR.name] = years


def _read_users(release: Release, table: Table, rejects: Rejects) -> None:
    """Users and what is known of them."""
    seen: set[str] = set()

    def parse(fields: list[str]) -> _User:
        user_id = parse_text(fields[table.fields[USER_ID.name]], "user id")
        if user_id in seen:
            raise BadFieldError(shown(user_id), "a user id that no earlier row has")
        values: dict[str, str | int | None] = {}
        for column in _USER_COLUMNS:
            field = fields[table.fields[column.name]]
            values[column.name] = parse_integer(field, column.name) if column.dtype == "int" else tidy(field)
        return _User(user_id, values)

    for column in _USER_COLUMNS:
        release.attributes[column.name] = {}
    for user in parsed(table, rejects, parse):
        seen.add(user.id)
        code = release.users.add(user.id)
        for name, value in user.values.items():
            if value not in (None, ""):
                release.attributes[name][code] = value  # type: ignore[assignment]


def _release(
    name: str, ratings: Mapping[str, Table], scale: tuple[float, float] | None, columns: Sequence[Column]
) -> Release:
    return Release(
        name=name,
        ratings=ratings,
        columns=tuple(column for column in COLUMNS if column.required or column in columns),
        scale=scale,
        users=Vocabulary(),
        titles=Vocabulary(),
        items=None,
        attributes={},
    )


_RATING_FIELDS = {USER_ID.name: 0, ITEM_ID: 1, USER_RATING.name: 2, TIMESTAMP.name: 3}


def _open_100k(files: Files, rejects: Rejects, split: str | None) -> Release:
    parts = {"": "u.data"} if split is None else {"train": f"{split}.base", "test": f"{split}.test"}
    missing = [name for name in parts.values() if name not in files]
    if missing:
        raise LayoutError(
            f"expected {' and '.join(parts.values())} beside u.data for the split {split}; missing: "
            f"{', '.join(missing)}; take the complete release"
        )
    ratings = {
        part: Table(
            path=files[name].path,
            shown=files[name].shown,
            separator="\t",
            width=4,
            fields=_RATING_FIELDS,
            encoding="latin-1",
        )
        for part, name in parts.items()
    }
    columns = [TIMESTAMP, RELEASE_YEAR]
    genres: list[str] = []
    if "u.genre" in files:
        columns.append(GENRES)
        table = Table(
            path=files["u.genre"].path,
            shown=files["u.genre"].shown,
            separator="|",
            width=2,
            fields={},
            encoding="latin-1",
        )
        genres = list(parsed(table, rejects, lambda fields: parse_text(fields[0], "genre")))
    if "u.user" in files:
        columns.extend(_USER_COLUMNS)
    release = _release(MOVIELENS_100K, ratings, WHOLE_STARS, columns)

    def parse(fields: list[str]) -> _Item:
        flags = fields[5:]
        strange = [flag for flag in flags if flag not in ("0", "1")]
        if strange:
            raise BadFieldError(shown(strange[0]), "genre flags of 0 or 1")
        # Without u.genre the flags have no names.
        return _item(fields, [genre for genre, flag in zip(genres, flags, strict=bool(genres)) if flag == "1"])

    items = Table(
        path=files["u.item"].path,
        shown=files["u.item"].shown,
        separator="|",
        width=5 + (len(genres) or 19),
        fields={},
        encoding="latin-1",
    )
    _read_items(release, items, rejects, parse)
    if "u.user" in files:
        users = Table(
            path=files["u.user"].path,
            shown=files["u.user"].shown,
            separator="|",
            width=5,
            fields={
                USER_ID.name: 0,
                USER_AGE.name: 1,
                USER_GENDER.name: 2,
                USER_OCCUPATION.name: 3,
                USER_ZIP_CODE.name: 4,
            },
            encoding="latin-1",
        )
        _read_users(release, users, rejects)
    return release


def _open_recbole(files: Files, rejects: Rejects, split: str | None) -> Release:
    def table(name: str, width: int, fields: Mapping[str, int]) -> Table:
        return Table(
            path=files[name].path, shown=files[name].shown, separator="\t", width=width, fields=fields, header=True
        )

    ratings = {"": table("ml-100k.inter", 4, _RATING_FIELDS)}
    columns = [TIMESTAMP, GENRES, RELEASE_YEAR]
    if "ml-100k.user" in files:
        columns.extend(_USER_COLUMNS)
    release = _release(MOVIELENS_100K, ratings, WHOLE_STARS, columns)

    def parse(fields: list[str]) -> _Item:
        item_id, title, bracket, genres = fields
        # "Toy Story (1995)" was cut into "Toy Story" and what the last brackets hold, which once is the "V" of a video.
        # The one title without brackets, "unknown", stands misspelt in both fields.
        whole = "unknown" if title == bracket == "unkonwn" else f"{title} ({bracket})"
        return _item([item_id, whole], genres.split(" "))

    _read_items(release, table("ml-100k.item", 4, {}), rejects, parse)
    if "ml-100k.user" in files:
        fields = {
            USER_ID.name: 0,
            USER_AGE.name: 1,
            USER_GENDER.name: 2,
            USER_OCCUPATION.name: 3,
            USER_ZIP_CODE.name: 4,
        }
        _read_users(release, table("ml-100k.user", 5, fields), rejects)
    return release


def _open_dat(files: Files, rejects: Rejects, split: str | None) -> Release:
    # Of the two releases in this layout, 1M alone has users, and 10M alone has half stars and UTF-8.
    is_1m = "users.dat" in files
    encoding = "latin-1" if is_1m else "utf-8"

    def table(name: str, width: int, fields: Mapping[str, int]) -> Table:
        return Table(
            path=files[name].path,
            shown=files[name].shown,
            separator="::",
            width=width,
            fields=fields,
            encoding=encoding,
        )

    columns = [TIMESTAMP, GENRES, RELEASE_YEAR, *(_USER_COLUMNS if is_1m else ())]
    release = _release(
        "MovieLens 1M" if is_1m else "MovieLens 10M",
        {"": table("ratings.dat", 4, _RATING_FIELDS)},
        WHOLE_STARS if is_1m else HALF_STARS,
        columns,
    )
    _read_items(release, table("movies.dat", 3, {}), rejects, lambda fields: _item(fields, tidy(fields[2]).split("|")))
    if is_1m:
        fields = {
            USER_ID.name: 0,
            USER_GENDER.name: 1,
            USER_AGE.name: 2,
            USER_OCCUPATION.name: 3,
            USER_ZIP_CODE.name: 4,
        }
        _read_users(release, table("users.dat", 5, fields), rejects)
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


def _csv_table(file: File, fields: Mapping[str, int], width: int) -> Table:
    return Table(path=file.path, shown=file.shown, separator=",", width=width, fields=fields, quoted=True, header=True)


def _open_csv(files: Files, rejects: Rejects, split: str | None) -> Release:
    wanted = {USER_ID.name: "userId", ITEM_ID: "movieId", USER_RATING.name: "rating", TIMESTAMP.name: "timestamp"}
    ratings = _csv_table(files["ratings.csv"], *_positions(files["ratings.csv"], wanted))
    release = _release("MovieLens", {"": ratings}, HALF_STARS, [TIMESTAMP, GENRES, RELEASE_YEAR])
    wanted = {ITEM_ID: "movieId", MOVIE_TITLE.name: "title", GENRES.name: "genres"}
    items = _csv_table(files["movies.csv"], *_positions(files["movies.csv"], wanted))

    def parse(fields: list[str]) -> _Item:
        item_id, title, genres = (fields[position] for position in items.fields.values())
        return _item([item_id, title], tidy(genres).split("|"))

    _read_items(release, items, rejects, parse)
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
    fields, width = _positions(file, wanted)
    release = _release(
        file.shown, {"": _csv_table(file, fields, width)}, scale, [c for c in COLUMNS if c.name in wanted]
    )
    release.attributes = {
        column.name: {} for column in release.columns if not column.required and column.describes != "rating"
    }
    return release
