"""The predictors that every model has to beat: the mean, each title's mean, and biases of users and titles.

Each is fitted by its `fit(ratings)` and asked by `predict(user, title)`; ids outside the vocabulary are unknown users
and titles. Costs are linear in ratings; memory holds one number a user and a title.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from modules.ratings import Ratings

# A weight below this, or as near to one, is not worth a second model.
_NO_WEIGHT = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlobalMean:
    """The mean rating of the training rows, whoever rates whatever.

    Attributes:
      mean: stars.
    """

    mean: float

    @classmethod
    def fit(cls, ratings: Ratings) -> GlobalMean:
        """Raises ValueError if there are no ratings."""
        return cls(mean=_mean(ratings))

    def predict(self, user: np.ndarray, title: np.ndarray) -> np.ndarray:
        """Stars, float32 [ratings], of user ids and title ids, int [ratings]."""
        return np.full(np.broadcast(user, title).shape, self.mean, dtype=np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TitleMean:
    """Each title's mean rating, shrunk towards the global mean; the global mean for an unknown title.

    Attributes:
      title_mean: float64 [num_titles + 1], stars; the last is that of unknown titles.
    """

    title_mean: np.ndarray

    @classmethod
    def fit(cls, ratings: Ratings, *, damping: float = 5.0) -> TitleMean:
        """Computes (sum of ratings + damping x global mean) / (ratings + damping) for each title.

        Args:
          ratings: training rows.
          damping: how many ratings of the global mean each title is given, >= 0.

        Raises:
          ValueError: no ratings, or a negative damping.
        """
        mean = _mean(ratings)
        deviation = damped_mean(ratings.title, ratings.rating.astype(np.float64) - mean, ratings.num_titles, damping)
        return cls(title_mean=mean + np.append(deviation, 0.0))

    def predict(self, user: np.ndarray, title: np.ndarray) -> np.ndarray:
        """Stars, float32 [ratings], of user ids and title ids, int [ratings]; the user changes nothing."""
        user, title = np.broadcast_arrays(user, title)
        return self.title_mean[_position(title, len(self.title_mean))].astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserTitleBias:
    """rating = mean + bias of the user + bias of the title; an unknown user's or title's bias is zero.

    Source of the equation and of the damping: Koren 2010, "Factor in the neighbors", section 2.1.

    Attributes:
      mean: stars.
      user_bias: float64 [num_users + 1], stars; the last is that of unknown users.
      title_bias: float64 [num_titles + 1], stars; the last is that of unknown titles.
    """

    mean: float
    user_bias: np.ndarray
    title_bias: np.ndarray

    @classmethod
    def fit(
        cls, ratings: Ratings, *, user_damping: float = 5.0, title_damping: float = 2.5, sweeps: int = 10
    ) -> UserTitleBias:
        """Minimises the squared error plus damping x bias^2 by alternating least squares.

        Args:
          ratings: training rows.
          user_damping: how many ratings without deviation each user is given, >= 0.
          title_damping: the same for titles.
          sweeps: alternations; the error settles to four decimals within ten.

        Raises:
          ValueError: no ratings, or a negative damping.
        """
        mean = _mean(ratings)
        deviation = ratings.rating.astype(np.float64) - mean
        user_bias = np.zeros(ratings.num_users)
        title_bias = np.zeros(ratings.num_titles)
        for _ in range(sweeps):
            title_bias = damped_mean(
                ratings.title, deviation - user_bias[ratings.user], ratings.num_titles, title_damping
            )
            user_bias = damped_mean(
                ratings.user, deviation - title_bias[ratings.title], ratings.num_users, user_damping
            )
        return cls(mean=mean, user_bias=np.append(user_bias, 0.0), title_bias=np.append(title_bias, 0.0))

    def predict(self, user: np.ndarray, title: np.ndarray) -> np.ndarray:
        """Stars, float32 [ratings], unclipped, of user ids and title ids, int [ratings]."""
        users = self.user_bias[_position(user, len(self.user_bias))]
        titles = self.title_bias[_position(title, len(self.title_bias))]
        return (self.mean + users + titles).astype(np.float32)


def _mean(ratings: Ratings) -> float:
    if not len(ratings):
        raise ValueError("expected at least one rating to fit; got none; check the training split")
    return float(np.mean(ratings.rating, dtype=np.float64))


def damped_mean(ids: np.ndarray, values: np.ndarray, size: int, damping: float) -> np.ndarray:
    """Float64 [size]: sum of an id's values / (its count + damping), 0 for an id without values."""
    if damping < 0:
        raise ValueError(f"damping must be at least 0; got {damping}; 0 switches shrinkage off")
    sums = np.bincount(ids, weights=values, minlength=size)
    counts = np.bincount(ids, minlength=size)
    return np.divide(sums, counts + damping, out=np.zeros(size), where=counts > 0)


def _position(ids: np.ndarray, size: int) -> np.ndarray:
    """The rows of ids in a table of `size`, whose last row is that of all unknown ones."""
    return np.minimum(np.asarray(ids), size - 1)


def blending_weight(ratings: np.ndarray, predictions: np.ndarray, simple: np.ndarray, noise: float = 0.0) -> float:
    """The weight of predictions, beside simpler ones, with the least squared error on held-out ratings.

    Args:
      ratings: float [ratings].
      predictions: float [ratings].
      simple: float [ratings], what counts for the rest.
      noise: variance of the predictions that later ones will not have.

    Returns:
      mean(gain (ratings - simple)) / (mean(gain^2) - noise), gain = predictions - simple; 0 where nothing is gained, 1
      for what is near 1.
    """
    gain = predictions.astype(np.float64) - simple
    spread = float(np.mean(np.square(gain))) - noise
    weight = float(np.mean(gain * (ratings - simple))) / spread if spread > 0 else 0.0
    return 0.0 if weight < _NO_WEIGHT else 1.0 if weight > 1.0 - _NO_WEIGHT else round(weight, 2)
