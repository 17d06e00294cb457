"""Ratings as columns in memory: what every model is fitted on."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratings:
    """Ratings by dense ids, sorted by user, then title, so that no storage order reaches a model.

    Memory: 12 bytes a rating, and one float vector a user and a title.

    Attributes:
      user: int32 [ratings], id >= 0; below num_users in ratings to fit on.
      title: int32 [ratings], id >= 0; below num_titles in ratings to fit on.
      rating: float32 [ratings], stars.
      num_users: users in the vocabulary; ids from here on are out-of-vocabulary buckets.
      num_titles: titles in the vocabulary; ids from here on are out-of-vocabulary buckets.
      low: lowest rating of the scale.
      high: highest rating of the scale.
      user_features: float32 [num_users, features.USER_FEATURES_SIZE], zeros where nothing is known;
        the last two columns are flags, `side_features.DESCRIBED` and `LISTED`.
      title_features: float32 [num_titles, features.TITLE_FEATURES_SIZE], zeros where nothing is known;
        the last two columns are flags, `side_features.DESCRIBED` and `LISTED`.
    """

    user: np.ndarray
    title: np.ndarray
    rating: np.ndarray
    num_users: int
    num_titles: int
    low: float
    high: float
    user_features: np.ndarray
    title_features: np.ndarray

    def __len__(self) -> int:
        return len(self.rating)

    def select(self, rows: np.ndarray) -> Ratings:
        """The same users and titles with some of the ratings; `rows` is a bool mask or int positions."""
        return dataclasses.replace(self, user=self.user[rows], title=self.title[rows], rating=self.rating[rows])

    def of_users(self, users: np.ndarray) -> Ratings:
        """What some users rated, int [users], rising; they have their positions there for ids."""
        place = np.full(self.num_users, -1, np.int32)
        place[users] = np.arange(len(users))
        rows = np.flatnonzero(np.isin(self.user, users))
        return dataclasses.replace(
            self.select(rows),
            user=place[self.user[rows]],
            num_users=len(users),
            user_features=self.user_features[users],
        )


# Decimals of standardised ratings: in another unit they differ by rounding alone, and so not at all.
_DECIMALS = 6


def standard_unit(rating: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of ratings, stars; 1 for the latter where all are equal."""
    values = rating.astype(np.float64)
    return float(values.mean()), float(values.std()) or 1.0


def standardize(rating: np.ndarray) -> np.ndarray:
    """Float64 [ratings]: standard deviations from the mean, the same whatever the unit and the zero of the scale."""
    mean, deviation = standard_unit(rating)
    return np.round((rating.astype(np.float64) - mean) / deviation, _DECIMALS)
