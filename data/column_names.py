"""Which column of a file is which of ours, by its name or its number."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

from data.choices import Choices
from data.errors import LayoutError
from modules.features import COLUMNS, Column

_OURS = tuple(column.name for column in COLUMNS)
# What others call our columns, letters and digits alone: what a message proposes, and nothing that is taken unasked.
_SYNONYMS = {
    "user_id": "user userid uid username reviewerid customer customerid member memberid visitor visitorid person",
    "movie_title": "title movie movietitle film filmtitle name item itemid movieid product productid asin isbn book "
    "booktitle business businessid game artist artistname song track",
    "user_rating": "rating ratings stars star score overall grade value vote userrating bookrating plays playcount "
    "count weight hours",
    "timestamp": "time date datetime unixreviewtime reviewtime ratedat createdat watcheddate",
}
_NUMBERED = re.compile("#?([0-9]{1,6})")
_SHOWN_NAMES = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """The columns of a file that are ours.

    Attributes:
      fields: position of each, by our name, in our order.
      unused: what the file calls the others.
    """

    fields: Mapping[str, int]
    unused: tuple[str, ...]


def wanted_names(columns: Sequence[Column], choices: Choices) -> list[str]:
    """The names by which some columns of ours may be found in a file."""
    return [choices.columns.get(column.name, column.name) for column in columns if column.name not in choices.drop]


def check(choices: Choices) -> None:
    """Refuses choices about columns that no file could fulfil.

    Raises:
      LayoutError: a name is none of ours, a required column is dropped, or one is both named and dropped.
    """
    for name in (*choices.columns, *choices.drop):
        if name not in _OURS:
            raise LayoutError(f"expected names of ours in --columns and --drop: {', '.join(_OURS)}; got {name!r}")
    for name in choices.drop:
        if name in choices.columns or next(column for column in COLUMNS if column.name == name).required:
            raise LayoutError(
                f"expected an optional column in --drop that --columns does not name; got {name!r}; leave out --drop"
            )


def find(
    file: str, names: Sequence[str], width: int, choices: Choices, columns: Sequence[Column], example: str
) -> ColumnNames:
    """Finds some of our columns in a file.

    Args:
      file: its name in messages.
      names: of its columns; empty where it has no header, and columns are told by number.
      width: how many it has.
      choices: what the user calls them: by name, or by number with or without `#`, the first being 1.
      columns: ours that it may have; the required ones must be there.
      example: its first row for messages.

    Raises:
      LayoutError: one is missing, stands twice, or means two of ours.
    """
    fields: dict[str, int] = {}
    missing: list[str] = []
    for column in columns:
        theirs = choices.columns.get(column.name)
        if column.name in choices.drop or (theirs is None and not column.required and column.name not in names):
            continue
        position = _position(file, column.name, theirs or column.name, names, width)
        if position is None:
            missing.append(column.name if theirs in (None, column.name) else f"{theirs} (for {column.name})")
        else:
            fields[column.name] = position
    if missing:
        raise LayoutError(_missing(file, missing, names, example))
    for ours, position in fields.items():
        other = next(name for name, each in fields.items() if each == position)
        if other != ours:
            raise LayoutError(
                f"expected a column of its own for {ours} in {file}; got column {position + 1}, which is {other}, too; "
                "correct --columns"
            )
    unused = tuple(name for position, name in enumerate(names) if position not in fields.values())
    return ColumnNames(fields=fields, unused=unused)


def _position(file: str, ours: str, theirs: str, names: Sequence[str], width: int) -> int | None:
    """Where a column stands; None where there is none."""
    at = [position for position, name in enumerate(names) if name == theirs]
    if len(at) > 1:
        numbers = ", ".join(str(position + 1) for position in at)
        raise LayoutError(
            f"expected one column {theirs!r} in {file}; got {len(at)}, the columns {numbers}; say which by its number: "
            f"--columns {ours}=#{at[0] + 1}"
        )
    if at:
        return at[0]
    number = _NUMBERED.fullmatch(theirs)
    if number is None or (names and not theirs.startswith("#")):
        return None
    if not 1 <= int(number[1]) <= width:
        raise LayoutError(f"expected the number of a column of {file}, 1 to {width}, for {ours}; got {theirs}")
    return int(number[1]) - 1


def _missing(file: str, missing: Sequence[str], names: Sequence[str], example: str) -> str:
    if not names:
        return (
            f"expected the numbers of columns for {', '.join(missing)} in {file}, which is read without a header, such "
            f"as --columns user_id=1,movie_title=2,user_rating=3; its first row is {example}"
        )
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    proposed = {ours: theirs for ours, theirs in propose(names).items() if ours not in names}
    use = ",".join(f"{ours}={theirs}" for ours, theirs in proposed.items()) or "user_id=…,movie_title=…,user_rating=…"
    quoted = f"'{use}'" if re.search(r"[^\w=,.#…-]", use) else use
    nobody = (
        ""
        if "user_id" in (*proposed, *names) or "user_id" not in missing
        else (
            "; no column seems to say who rated, which a recommender learns from: where all ratings are one person's, "
            "add such a column"
        )
    )
    return (
        f"expected {', '.join(missing)} among the columns of {file}; got {', '.join(names[:_SHOWN_NAMES])}{more}; name "
        f"them, {'perhaps ' if proposed else ''}with --columns {quoted}{nobody}; where line 1 is no header, give "
        "--no-header; give a MovieLens release as its folder"
    )


def propose(names: Collection[str]) -> dict[str, str]:
    """For some of our columns, the first name that others give to such a column."""
    plain = {name: re.sub(r"[\W_]", "", name).casefold() for name in names}
    proposed: dict[str, str] = {}
    for ours, synonyms in _SYNONYMS.items():
        for synonym in (ours.replace("_", ""), *synonyms.split()):
            found = [name for name in names if plain[name] == synonym and name not in proposed.values()]
            if found:
                proposed[ours] = found[0]
                break
    return proposed
