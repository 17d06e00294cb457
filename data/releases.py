"""A release of ratings, opened: its small tables are in memory, its ratings are about to be read."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping

from data.tables import Table
from data.vocabulary import Vocabulary
from modules import features
from modules.features import Column

# Field names of a ratings table beside those of modules.features.
ITEM_ID = "item_id"


@dataclasses.dataclass(kw_only=True)
class Release:
    """What the ratings of one source mean.

    Attributes:
      name: the source, for people.
      ratings: the table of ratings of each part; one part named "" unless the source publishes a split.
      columns: what the three tables will hold, in the order of modules.features.COLUMNS.
      scale: lowest and highest possible rating, stars; None where only the data can tell.
      users: user ids; those of the user table, and those met in the ratings later.
      titles: titles; those of the item table, and those met in the ratings later.
      items: number of the title of each item id; None where the ratings name titles themselves.
      shared_titles: the item ids of each title that several items have.
      attributes: values of the columns that describe users or titles, by column name, then by number of the user or
        title.
      contradicted: by column name, numbers of users or titles of which the source says more than one thing.
    """

    name: str
    ratings: Mapping[str, Table]
    columns: tuple[Column, ...]
    scale: tuple[float, float] | None
    users: Vocabulary = dataclasses.field(default_factory=Vocabulary)
    titles: Vocabulary = dataclasses.field(default_factory=Vocabulary)
    items: dict[str, int] | None = None
    shared_titles: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    attributes: dict[str, dict[int, str | int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(dict)
    )
    contradicted: dict[str, set[int]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))

    def describe(self, column: Column, number: int, value: str | int | None) -> None:
        """Takes note of what the source says of a user or a title; of values that are not empty the first counts."""
        if value is None or value == "":
            return
        if self.attributes[column.name].setdefault(number, value) != value:
            self.contradicted[column.name].add(number)

    def keys_of(self, table: features.Table) -> Vocabulary:
        """The ids by which rows of a side table are found."""
        return self.titles if table is features.TITLES else self.users


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
