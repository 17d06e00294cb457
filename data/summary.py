"""What came of preparing a data folder, for its owner to check at a glance."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.oddities import Oddity
from data.rejects import LINE, Rejected
from data.scales import decimal, tally
from data.sidecar import Sidecar
from data.sources import ReadAs

_BARS = 11
# Shares of all ratings.
_COMMON = 0.001
_OTHERS_AT_MOST = 0.01
_OTHER = "other"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reason:
    """A reason for which rows were rejected.

    Attributes:
      rows: how many.
      file: the file with the first, as the user knows it.
      line: physical line that it starts on, the first being 1; of what has no lines, number of the row.
      unit: what is so counted, "line" or "row".
    """

    rows: int
    file: str
    line: int
    unit: str = LINE


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
      reasons: by what was expected, the rows that were rejected, the most frequent first.
      pairs_in_both: pairs of user and title that two parts of a split hold, or held.
      users_in_test_alone: users of the test part without ratings in training.
      titles_in_test_alone: titles likewise.
      contradictions: by column, how many users or titles the source says more than one thing of.
      unread: by optional column, how many cells could not be read, and the first of them.
      scale_is: where the scale is from: "given", "the release's", "found in the ratings" or "that of preferences".
      histogram: how many ratings there are of each value, or between two of them, in ascending order.
      counts: why these look like counts and no ratings; empty where they do not.
      read_as: how each file was read.
      oddities: the oddest things about the ratings, the oddest first.
    """

    folder: pathlib.Path
    sidecar: Sidecar
    rows: int = 0
    written: bool = True
    reused: bool = False
    rejected_elsewhere: int = 0
    reasons: Mapping[str, Reason] = dataclasses.field(default_factory=dict)
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


def reasons_of(rows: Sequence[Rejected]) -> dict[str, Reason]:
    """The reasons for which rows were rejected, the most frequent first; what came in the row left out of them."""
    reasons: dict[str, Reason] = {}
    for row in rows:
        expected = row.reason.partition("; got ")[0]
        reason = reasons.setdefault(expected, Reason(rows=0, file=row.file, line=row.line, unit=row.unit))
        reasons[expected] = dataclasses.replace(reason, rows=reason.rows + 1)
    return dict(sorted(reasons.items(), key=lambda each: -each[1].rows))


def histogram(ratings: Sequence[np.ndarray], scale: tuple[float, float]) -> dict[str, int]:
    """How many ratings there are of each common value where these are few, else in equal parts of the scale.

    The common values, one rating of a thousand or more, tell all if they are at most 11 and 99% of the ratings; what
    others there are, such as means of repeated ratings, are counted together as "other".

    Args:
      ratings: float32 arrays.
      scale: the lowest and the highest.
    """
    rows = sum(map(len, ratings))
    common = {value: count for value, count in tally(ratings).items() if count >= _COMMON * rows}
    others = rows - sum(common.values())
    if 0 < len(common) <= _BARS and others <= _OTHERS_AT_MOST * rows:
        bars = {decimal(value): count for value, count in common.items()}
        return {**bars, _OTHER: others} if others else bars
    # As float32 has them, so that the lowest rating is not below the lowest edge.
    low, high = (float(np.float32(end)) for end in scale)
    counts = np.sum([np.histogram(part, _BARS - 1, (low, high))[0] for part in ratings], axis=0)
    edges = itertools.pairwise(np.linspace(*scale, _BARS))
    return {f"{low:g} to {high:g}": int(count) for (low, high), count in zip(edges, counts, strict=True)}
