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

    Counts are positive and have a long tail: their highest is more than ten times their median, as it is on no rating
    scale whose lower tenth holds less than half of the ratings. All numbers being the same says the same.

    Args:
      parts: float32 arrays of all numbers.
    """
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    if low == high:
        return f"all are {low:g}"
    median = float(np.median(np.concatenate(parts) if len(parts) > 1 else parts[0]))
    if low >= 0 and median > 0 and high > _TAIL * median:
        return f"half are at most {median:g}, and the highest is {high:g}"
    return None


def transform(counts: np.ndarray, how: Transform) -> np.ndarray:
    """What retrieval learns from: a preference in (0, 1] of each pair of user and title, float32 [pairs].

    - binary: 1. A pair with a count is a preference (Hu, Koren, Volinsky, "Collaborative Filtering for Implicit
      Feedback Datasets", ICDM 2008, equation 1), and there is nothing to learn of how strong it is.
    - log: log(1 + count) over that of the highest count, after the confidence that the same paper names in section 4.
    - rank: the share of all pairs with a count that is not higher, equal counts taking their mean rank.

    Args:
      counts: float32 [pairs], above 0.
      how: one of these.
    """
    if how == "binary":
        return np.ones(len(counts), np.float32)
    if how == "log":
        return (np.log1p(counts) / np.log1p(counts.max())).astype(np.float32)
    values, position, times = np.unique(counts, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    ranks = (last - (times - 1) / 2) / last[-1]
    return ranks[position.reshape(len(counts))].astype(np.float32) if len(values) else counts


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
