"""A release of ratings, opened: its small tables are in memory, its ratings are about to be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from data.tables import Table
from data.vocabulary import Vocabulary
from modules.features import Column

# Field names of a ratings table beside those of modules.features.
ITEM_ID = "item_id"


@dataclasses.dataclass(kw_only=True)
class Release:
    """What the ratings of one source mean.

    Attributes:
      name: the source, for people.
      ratings: the table of ratings of each part; one part named "" unless the source publishes a split.
      columns: what `ratings.csv` will hold, in the order of modules.features.COLUMNS.
      scale: lowest and highest possible rating, stars; None where only the data can tell.
      users: user ids; those of the user table, and those met in the ratings later.
      titles: titles; those of the item table, and those met in the ratings later.
      items: number of the title of each item id; None where the ratings name titles themselves.
      attributes: values of the columns that describe users or titles, by column name, then by number of the user or
        title. The first value that is not empty counts.
    """

    name: str
    ratings: Mapping[str, Table]
    columns: tuple[Column, ...]
    scale: tuple[float, float] | None
    users: Vocabulary
    titles: Vocabulary
    items: dict[str, int] | None
    attributes: dict[str, dict[int, str | int]]
