"""Pairs of user and title that more than one part of a split holds: a test row that was trained on tests nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data.writer import SortedRatings

# A part loses the pairs that a later one has: what is judged stays as it was given.
_ORDER = ("train", "eval", "test")


def in_both(parts: Mapping[str, SortedRatings]) -> dict[str, np.ndarray]:
    """For each part that shares pairs with a later one of train, eval and test: which, bool [ratings]."""
    names = [name for name in _ORDER if name in parts]
    shared = {}
    for position, name in enumerate(names):
        later = [parts[each].pair for each in names[position + 1 :]]
        if later:
            shared[name] = np.isin(parts[name].pair, np.concatenate(later))
    return {name: mask for name, mask in shared.items() if mask.any()}


def without(ratings: SortedRatings, dropped: np.ndarray) -> SortedRatings:
    """The ratings but some."""
    kept = ~dropped
    return SortedRatings(
        pair=ratings.pair[kept],
        rating=ratings.rating[kept],
        timestamp=None if ratings.timestamp is None else ratings.timestamp[kept],
    )


def in_test_alone(parts: Mapping[str, SortedRatings], titles: int) -> tuple[int, int]:
    """How many users and how many titles have ratings in the test part and none in training.

    Args:
      parts: ratings by part.
      titles: how many there are, by which a pair is taken apart.
    """
    if not {"train", "test"} <= set(parts):
        return 0, 0
    (train_users, train_titles), (test_users, test_titles) = (
        np.divmod(parts[name].pair, titles) for name in ("train", "test")
    )
    users, rated = np.setdiff1d(test_users, train_users), np.setdiff1d(test_titles, train_titles)
    return len(users), len(rated)
