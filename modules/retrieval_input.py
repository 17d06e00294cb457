"""What retrieval is fitted on: who rated what, each rating weighed by how high it is among all.

The weight of a rating is the share of the training ratings that are not higher, h(r) = P(R <= r): in (0, 1], never
falling, the same in any unit, and 1 for data in which all ratings are equal, such as purchases. On MovieLens 100K one
to five stars weigh .06, .17, .45, .79 and 1. A low rating weighs little, but more than none: who rated a title chose
it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from modules.ratings import Ratings

# Knots of the map; ratings with more values than these are interpolated in between.
_MOST_KNOTS = 101


@dataclasses.dataclass(frozen=True)
class RatingWeight:
    """The map of ratings onto weights, linear between its knots and constant beyond them.

    Attributes:
      rating: float32 [knots], rising, stars.
      weight: float32 [knots], in (0, 1], rising; the last is 1.
    """

    rating: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, rating: np.ndarray) -> RatingWeight:
        """Finds the map.

        Args:
          rating: float [ratings], stars.

        Raises:
          ValueError: there is no rating.
        """
        if not len(rating):
            raise ValueError("expected ratings to weigh; got none; pass the training ratings")
        values, counts = np.unique(rating, return_counts=True)
        share = np.cumsum(counts) / len(rating)
        if len(values) > _MOST_KNOTS:
            levels = np.linspace(share[0], 1.0, _MOST_KNOTS)
            kept = np.unique(np.searchsorted(share, levels - 1e-9))
            values, share = values[kept], share[kept]
        return cls(values.astype(np.float32), share.astype(np.float32))

    def __call__(self, rating: np.ndarray) -> np.ndarray:
        """Float32 [...]: the weights of ratings, float [...]."""
        return np.interp(rating, self.rating, self.weight).astype(np.float32)


def weighted(ratings: Ratings, weight: RatingWeight) -> sparse.csr_matrix:
    """X = h(R), float32 [num_users, num_titles], rows sorted by title, zero where unrated.

    Args:
      ratings: sorted by user, then title, each pair once.
      weight: the map h.
    """
    return rows_of(ratings.user, ratings.title, weight(ratings.rating), ratings.num_users, ratings.num_titles)


def rows_of(user: np.ndarray, title: np.ndarray, value: np.ndarray, users: int, titles: int) -> sparse.csr_matrix:
    """Float32 [users, titles] of entries sorted by user, then title; ids beyond either end are left out."""
    kept = (user < users) & (title < titles)
    splits = np.concatenate([[0], np.cumsum(np.bincount(user[kept], minlength=users))])
    return sparse.csr_matrix((value[kept].astype(np.float32), title[kept], splits), shape=(users, titles))


def rated(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Float32 of the same shape: 1 where there is a rating."""
    return sparse.csr_matrix((np.ones_like(weights.data), weights.indices, weights.indptr), shape=weights.shape)
