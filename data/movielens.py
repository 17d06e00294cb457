"""The layouts in which MovieLens releases come, and those of others that copied them.

| release                      | ratings         | titles         | users          |
|------------------------------|-----------------|----------------|----------------|
| 100K                         | `u.data`        | `u.item`       | `u.user`       |
| 1M, 10M, MovieTweetings      | `ratings.dat`   | `movies.dat`   | `users.dat`    |
| latest-small, 20M, 25M, 32M  | `ratings.csv`   | `movies.csv`   |                |
| RecBole's copy of 100K       | `ml-100k.inter` | `ml-100k.item` | `ml-100k.user` |

100K and 1M are published in latin-1, the others in UTF-8; copies of any are found in both, so each file is looked at.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.choices import Choices
from data.errors import LayoutError
from data.forms import separator_name
from data.reader import read_side_table
from data.rejects import BadFieldError, Rejects, parse_text, shown
from data.releases import ITEM_ID, Item, Release, release_of
from data.sources import Files
from data.splits import PUBLISHED_SPLITS
from data.tables import Table, lines_of, parsed, read_header
from data.values import in_bounds
from modules.features import (
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
)
from modules.normalization import normalize

MOVIELENS_100K = "MovieLens 100K"

WHOLE_STARS = (1.0, 5.0)
HALF_STARS = (0.5, 5.0)
TEN = (0.0, 10.0)

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

    @property
    def files(self) -> tuple[str, ...]:
        """All files that may be used."""
        return *self.required, *self.optional


def release_year(title: str) -> int | None:
    """The year in brackets that ends a title; None where there is none, or none in which a film can be released."""
    match = _YEAR.search(title)
    return int(match[1]) if match and in_bounds(int(match[1]), RELEASE_YEAR) else None


def _item(fields: Sequence[str], genres: Sequence[str]) -> Item:
    title = parse_text(fields[1], MOVIE_TITLE.name)
    named = [genre for genre in genres if genre not in _NO_GENRE]
    return Item(parse_text(fields[0], ITEM_ID), title, "|".join(named), release_year(title))


def _read_items(
    release: Release, table: Table, rejects: Rejects, choices: Choices, parse: Callable[[list[str]], Item]
) -> None:
    """Reads titles, genres and years."""
    items: dict[str, Item] = {}

    def first_of_its_id(fields: list[str]) -> Item:
        item = parse(fields)
        if item.id in items:
            raise BadFieldError(shown(item.id), f"an {ITEM_ID} that no earlier row has")
        return item

    for item in parsed(table, rejects, first_of_its_id):
        items[item.id] = item
    release.add_items(items.values(), keep_apart=choices.keep_items_apart)


def _table(files: Files, name: str, width: int, fields: Mapping[str, int], **form: Any) -> Table:
    """The rows of a file, whose columns are known, but for those that the user drops."""
    source = files.source(name)
    files.note(name, separator=separator_name(form["separator"]), header=bool(form.get("head")))
    return Table(
        path=source.file.path,
        shown=source.file.shown,
        width=width,
        fields={name: position for name, position in fields.items() if name not in files.choices.drop},
        size=source.size,
        open_file=source.open,
        **form,
    )


def _open_100k(files: Files, rejects: Rejects, choices: Choices) -> Release:
    split = choices.split
    parts = {"": "u.data"} if split is None else {"train": f"{split}.base", "test": f"{split}.test"}
    missing = [name for name in parts.values() if name not in files]
    if missing:
        raise LayoutError(
            f"expected {' and '.join(parts.values())} beside u.data for the split {split}; missing: "
            f"{', '.join(missing)}; take the complete release"
        )
    table = functools.partial(_table, files, separator="|")
    ratings = {part: _table(files, name, 4, _RATING_FIELDS, separator="\t") for part, name in parts.items()}
    columns = [TIMESTAMP, RELEASE_YEAR]
    genres: list[str] = []
    if "u.genre" in files:
        columns.append(GENRES)
        genres = list(parsed(table("u.genre", 2, {}), rejects, lambda fields: parse_text(fields[0], "genre")))
    if "u.user" in files:
        columns.extend(USERS.columns)
    release = release_of(MOVIELENS_100K, ratings, WHOLE_STARS, columns)

    def parse(fields: list[str]) -> Item:
        flags = fields[5:]
        strange = [flag for flag in flags if flag not in ("0", "1")]
        if strange:
            raise BadFieldError(shown(strange[0]), "genre flags of 0 or 1")
        # Without u.genre the flags have no names.
        return _item(fields, [genre for genre, flag in zip(genres, flags, strict=bool(genres)) if flag == "1"])

    _read_items(release, table("u.item", 5 + (len(genres) or 19), {}), rejects, choices, parse)
    if "u.user" in files:
        read_side_table(release, USERS, table("u.user", 5, _USER_FIELDS), rejects, strict=choices.strict)
    return release


def _open_recbole(files: Files, rejects: Rejects, choices: Choices) -> Release:
    table = functools.partial(_table, files, separator="\t", head=1)
    ratings = {"": table("ml-100k.inter", 4, _RATING_FIELDS)}
    columns = [TIMESTAMP, *TITLES.columns, *(USERS.columns if "ml-100k.user" in files else ())]
    release = release_of(MOVIELENS_100K, ratings, WHOLE_STARS, columns)

    def parse(fields: list[str]) -> Item:
        item_id, title, bracket, genres = fields
        # "Toy Story (1995)" was cut into "Toy Story" and what the last brackets hold, which once is the "V" of a video.
        # The one title without brackets, "unknown", stands misspelt in both fields.
        whole = "unknown" if title == bracket == "unkonwn" else f"{title} ({bracket})"
        return _item([item_id, whole], genres.split(" "))

    _read_items(release, table("ml-100k.item", 4, {}), rejects, choices, parse)
    if "ml-100k.user" in files:
        read_side_table(release, USERS, table("ml-100k.user", 5, _USER_FIELDS), rejects, strict=choices.strict)
    return release


def _open_dat(files: Files, rejects: Rejects, choices: Choices) -> Release:
    # Of those in this layout, MovieLens 1M alone describes users. MovieTweetings, which goes up to 10, links theirs to
    # another service, and is told from MovieLens 10M by its ratings.
    is_1m = "users.dat" in files and _width(files, "users.dat", "::") == len(_USER_FIELDS_1M)
    table = functools.partial(_table, files, separator="::")
    release = release_of(
        "MovieLens 1M" if is_1m else "ratings.dat and movies.dat",
        {"": table("ratings.dat", 4, _RATING_FIELDS)},
        WHOLE_STARS if is_1m else None,
        [TIMESTAMP, *TITLES.columns, *(USERS.columns if is_1m else ())],
    )
    release.scales = () if is_1m else (HALF_STARS, TEN)
    items = table("movies.dat", 3, {})
    _read_items(release, items, rejects, choices, lambda fields: _item(fields, normalize(fields[2]).split("|")))
    if is_1m:
        read_side_table(release, USERS, table("users.dat", 5, _USER_FIELDS_1M), rejects, strict=choices.strict)
    return release


def _width(files: Files, name: str, separator: str) -> int:
    """Fields in the first row of a file."""
    return len(lines_of(files.source(name).head()).readline().split(separator))


def _csv_table(files: Files, name: str, wanted: Mapping[str, str]) -> Table:
    """A CSV file with a header that has the wanted columns, by our name.

    Raises:
      LayoutError: the header lacks one, or has one twice.
    """
    source = files.source(name)
    header, head = read_header(source.file.path, source.file.shown, source.open)
    for theirs in wanted.values():
        if header.count(theirs) != 1:
            raise LayoutError(
                f"expected the columns {', '.join(wanted.values())} in {source.file.shown}, each once; got "
                f"{header.count(theirs)} of {theirs}: {', '.join(header)}; name them so"
            )
    fields = {ours: header.index(theirs) for ours, theirs in wanted.items()}
    return _table(files, name, len(header), fields, separator=",", quoted=True, head=head)


def _open_csv(files: Files, rejects: Rejects, choices: Choices) -> Release:
    wanted = {USER_ID.name: "userId", ITEM_ID: "movieId", USER_RATING.name: "rating", TIMESTAMP.name: "timestamp"}
    ratings = _csv_table(files, "ratings.csv", wanted)
    release = release_of("MovieLens", {"": ratings}, HALF_STARS, [TIMESTAMP, *TITLES.columns])
    items = _csv_table(files, "movies.csv", {ITEM_ID: "movieId", MOVIE_TITLE.name: "title", GENRES.name: "genres"})

    def parse(fields: list[str]) -> Item:
        genres = fields[items.fields[GENRES.name]] if GENRES.name in items.fields else ""
        ours = [fields[items.fields[name]] for name in (ITEM_ID, MOVIE_TITLE.name)]
        return _item(ours, normalize(genres).split("|"))

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
        name="ratings.dat and movies.dat (MovieLens 1M, 10M, MovieTweetings)",
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
