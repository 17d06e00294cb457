"""A release of ratings, opened: its small tables are in memory, its ratings are about to be read."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from data.progress import Progress, silent
from data.rejects import Unread
from data.tables import Block
from data.vocabulary import Vocabulary
from modules import features
from modules.features import Column

# Field names of a ratings table beside those of modules.features.
ITEM_ID = "item_id"


class RatingsTable(Protocol):
    """A file of ratings.

    Attributes:
      shown: its name in messages.
      fields: position of each column that is used, by its name.
      decimal_comma: ratings may have a comma for a decimal point.
    """

    @property
    def shown(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, int]: ...
    @property
    def decimal_comma(self) -> bool: ...

    def blocks(self, progress: Progress = silent) -> Iterator[Block]:
        """Its records, some at a time.

        Raises:
          LayoutError: the file is not what it seemed to be.
        """


@dataclasses.dataclass(frozen=True)
class Item:
    """What a release says of one of its items; genres are joined by `|`."""

    id: str
    title: str
    genres: str = ""
    year: int | None = None


@dataclasses.dataclass(kw_only=True)
class Release:
    """What the ratings of one source mean.

    Attributes:
      name: the source, for people.
      ratings: the table of ratings of each part; one part named "" unless the source publishes a split.
      columns: what the three tables will hold, in the order of modules.features.COLUMNS.
      scale: lowest and highest possible rating, stars; None where only the data can tell.
      scales: without `scale`, those that it may be, of which the first that holds all ratings is.
      users: user ids; those of the user table, and those met in the ratings later.
      titles: titles; those of the item table, and those met in the ratings later.
      items: number of the title of each item id; None where the ratings name titles themselves.
      shared_titles: the item ids of each title that several items have.
      attributes: values of the columns that describe users or titles, by column name, then by number of the user or
        title.
      unread: by column name, values that could not be read and count as empty.
      decimal_commas: files, by their names in messages, whose ratings have commas for decimal points.
      contradicted: by column name, numbers of users or titles of which the source says more than one thing.
    """

    name: str
    ratings: Mapping[str, RatingsTable]
    columns: tuple[Column, ...]
    scale: tuple[float, float] | None
    scales: tuple[tuple[float, float], ...] = ()
    users: Vocabulary = dataclasses.field(default_factory=Vocabulary)
    titles: Vocabulary = dataclasses.field(default_factory=Vocabulary)
    items: dict[str, int] | None = None
    shared_titles: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    attributes: dict[str, dict[int, str | int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(dict)
    )
    unread: dict[str, Unread] = dataclasses.field(default_factory=dict)
    decimal_commas: set[str] = dataclasses.field(default_factory=set)
    contradicted: dict[str, set[int]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))

    def describe(self, column: Column, number: int, value: str | int | None) -> None:
        """Takes note of what the source says of a user or a title; of values that are not empty the first counts."""
        if value is None or value == "":
            return
        if self.attributes[column.name].setdefault(number, value) != value:
            self.contradicted[column.name].add(number)

    def add_items(self, items: Collection[Item], *, keep_apart: bool) -> None:
        """Takes in the items that ratings name by their ids.

        Args:
          items: each id once.
          keep_apart: items that share a title stay apart, by their ids behind it; otherwise they are one title.
        """
        ids_of: dict[str, list[str]] = {}
        for item in items:
            ids_of.setdefault(item.title, []).append(item.id)
        self.shared_titles = {title: ids for title, ids in ids_of.items() if len(ids) > 1}
        self.items = {}
        for item in items:
            apart = keep_apart and item.title in self.shared_titles
            number = self.titles.add(f"{item.title} [{item.id}]" if apart else item.title)
            self.items[item.id] = number
            self.describe(features.GENRES, number, item.genres)
            self.describe(features.RELEASE_YEAR, number, item.year)

    def keys_of(self, table: features.Table) -> Vocabulary:
        """The ids by which rows of a side table are found."""
        return self.titles if table is features.TITLES else self.users


def release_of(
    name: str,
    ratings: Mapping[str, RatingsTable],
    scale: tuple[float, float] | None,
    columns: Collection[Column],
) -> Release:
    """A release with the required columns and some others."""
    columns = tuple(column for column in features.COLUMNS if column.required or column in columns)
    return Release(name=name, ratings=ratings, columns=columns, scale=scale)


def columns_of(table: features.Table, columns: Collection[Column]) -> tuple[Column, ...]:
    """Those of some columns that one of the three tables has, in its order."""
    return tuple(column for column in table.columns if column in columns)


def side_tables_of(columns: Collection[Column]) -> tuple[features.Table, ...]:
    """The side tables of which some columns say more than the key."""
    return tuple(table for table in features.SIDE_TABLES if len(columns_of(table, columns)) > 1)


def files_of(parts: Iterable[str], columns: Collection[Column]) -> tuple[str, ...]:
    """The tables that hold some columns, relative to the data folder: ratings of each part, and side tables above."""
    ratings = (f"{part}/{features.RATINGS.file}" if part else features.RATINGS.file for part in parts)
    return *ratings, *(table.file for table in side_tables_of(columns))
