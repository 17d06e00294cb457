"""What came of preparing a data folder, for its owner to check at a glance."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.oddities import Oddity
from data.rejects import Rejected
from data.scales import decimal
from data.sidecar import Sidecar
from data.sources import ReadAs

_BARS = 11


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of preparing a data folder.

    Attributes:
      folder: the data folder.
      sidecar: its record.
      rows: ratings that it holds; of a dry run, would hold.
      written: it is there; not after a dry run.
      reused: it was complete already, and nothing was done.
      rejected_elsewhere: bad rows of the item and user tables.
      reasons: how many rows were rejected for each reason, the most frequent first.
      pairs_in_both: pairs of user and title that two parts of a split hold, or held.
      users_in_test_alone: users of the test part without ratings in training.
      titles_in_test_alone: titles likewise.
      contradictions: by column, how many users or titles the source says more than one thing of.
      unread: by optional column, how many cells could not be read, and the first of them.
      scale_is: where the scale is from: "given", "the release's" or "found in the ratings".
      histogram: how many ratings there are of each value, or between two of them, in ascending order.
      counts: why these look like counts and no ratings; empty where they do not.
      read_as: how each file was read.
      oddities: the oddest things about the ratings.
    """

    folder: pathlib.Path
    sidecar: Sidecar
    rows: int = 0
    written: bool = True
    reused: bool = False
    rejected_elsewhere: int = 0
    reasons: Mapping[str, int] = dataclasses.field(default_factory=dict)
    pairs_in_both: int = 0
    users_in_test_alone: int = 0
    titles_in_test_alone: int = 0
    contradictions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unread: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scale_is: str = ""
    histogram: Mapping[str, int] = dataclasses.field(default_factory=dict)
    counts: str = ""
    read_as: tuple[ReadAs, ...] = ()
    oddities: Sequence[Oddity] = ()

    @property
    def density(self) -> float:
        """The share of all pairs of a user who rates and a title that is rated that have a rating."""
        return self.rows / (self.sidecar.users * self.sidecar.titles)

    def as_json(self) -> dict[str, Any]:
        """All of it by the names of the attributes, as plain data."""
        return {**dataclasses.asdict(self), "folder": str(self.folder), "density": self.density}


def reasons_of(rows: Sequence[Rejected]) -> dict[str, int]:
    """How many rows were rejected for each reason, what came in its place left out."""
    return dict(collections.Counter(row.reason.partition("; got ")[0] for row in rows).most_common())


def histogram(ratings: Sequence[np.ndarray], scale: tuple[float, float]) -> dict[str, int]:
    """How many ratings there are of each value where these are few, else in equal parts of the scale."""
    values = np.unique(np.concatenate([np.unique(part) for part in ratings]))
    if len(values) <= _BARS:
        return {decimal(value): sum(int((part == value).sum()) for part in ratings) for value in values}
    edges = np.linspace(*scale, _BARS)
    counts = np.sum([np.histogram(part, edges)[0] for part in ratings], axis=0)
    return {
        f"{low:g} to {high:g}": int(count) for (low, high), count in zip(itertools.pairwise(edges), counts, strict=True)
    }
