"""Numbers that are no ratings: counts of plays, hours or purchases, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.choices import Transform
from data.errors import DataError

# How many times the median the highest count is, at least.
_TAIL = 10.0


def looks_like_counts(parts: Sequence[np.ndarray]) -> str | None:
    """Why numbers look like counts rather than ratings; None where they do not.

    Counts are never below 0 and have a long tail: their highest is more than ten times the median of those above 0, as
    it is on no rating scale whose lower tenth holds less than half of the ratings. All numbers being the same says the
    same.

    Args:
      parts: float32 arrays of all numbers; some may be empty.
    """
    parts = [part for part in parts if len(part)]
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    if low == high:
        return f"all are {low:g}"
    if low < 0:
        return None
    median = float(np.median(np.concatenate([part[part > 0] for part in parts]), overwrite_input=True))
    return (
        f"half of those above 0 are at most {median:g}, and the highest is {high:g}" if high > _TAIL * median else None
    )


def transform(counts: np.ndarray, how: Transform) -> np.ndarray:
    """What retrieval learns from: a preference in (0, 1] of each pair of user and title, float32 [pairs].

    - binary: 1. A pair with a count is a preference, and there is nothing to learn of how strong it is (Hu, Koren,
      Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, section 4).
    - log: log(1 + count) over that of the highest count, after the logarithmic confidence of the same section.
    - rank: the share of all pairs with a count that is not higher, equal counts taking their mean rank.

    Args:
      counts: float32 [pairs], above 0, one at least.
      how: one of these.
    """
    if how == "binary":
        return np.ones(len(counts), np.float32)
    if how == "log":
        return (np.log1p(counts) / np.log1p(counts.max())).astype(np.float32)
    values, times = np.unique(counts, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2) / len(counts)
    return ranks.astype(np.float32)[values.searchsorted(counts)]


def check(counts: np.ndarray) -> None:
    """Refuses counts below 0.

    Raises:
      DataError: there are some.
    """
    if len(counts) and counts.min() < 0:
        raise DataError(
            f"expected counts of 0 or more with --implicit; got {counts.min():g}; leave out --implicit where these are "
            "ratings"
        )
