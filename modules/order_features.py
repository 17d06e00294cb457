"""What the final order weighs: a number a feature for each title, given what somebody rated.

Scores are standardised over the titles that the user has not rated, so that they mean the same for everybody:

  z_i = (s_i - mean s) / deviation of s; zeros where the scores are all equal, as they are where nothing is known.

Popularity is log(1 + sum of the weights of a title's ratings), less its mean over titles; a mean rating is damped. The
genres' affinity is (sum_j x_j g_j / sum_j x_j - mean g) . g_i, with x the weights of the user's ratings, g genres
divided by the square root of their number, and their mean over all ratings, weighed likewise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy import sparse

from modules import features
from modules.ratings import Ratings, standardize

ALS, EASE, EASE_RATED, RATING, GENRES, POPULARITY, MEAN_RATING = (
    "iALS",
    "EASE",
    "EASE of what was rated",
    "ranking model",
    "genres",
    "popularity",
    "mean rating",
)
# Of titles, whatever the models say.
COLUMNS = (GENRES, POPULARITY, MEAN_RATING)
# Ratings that damp a title's mean.
_DAMPING = 5.0
_FLOOR = 1e-12


class TitleColumns(tf.Module):
    """What is known of titles, whoever asks; those that nobody has rated stand behind the others.

    Attributes:
      popularity: float32 [titles], log(1 + sum of the weights of a title's ratings).
      mean_rating: float32 [titles], damped, in standard deviations from the mean of all ratings.
      genres: float32 [genres, titles], without genres that no title has.
      typical: float32 [genres], their mean over all ratings.
    """

    def __init__(self, ratings: Ratings, weights: sparse.csr_matrix, unrated: np.ndarray | None = None) -> None:
        """Sums up the training ratings.

        Args:
          ratings: training rows and side features.
          weights: float32 [users, titles], X.
          unrated: float32 [unrated titles, features], side features of titles without ratings; None for none.
        """
        super().__init__()
        titles = ratings.num_titles
        total = np.asarray(weights.sum(axis=0), np.float64)[0]
        count = np.bincount(ratings.title, minlength=titles)
        mean = np.bincount(ratings.title, standardize(ratings.rating), titles) / (count + _DAMPING)
        categories = _categories(ratings.title_features)
        has_any = categories.any(axis=0)
        genres = categories[:, has_any]
        of_unrated = genres[:0] if unrated is None else _categories(unrated)[:, has_any]
        none = np.zeros(len(of_unrated))
        self.popularity = _column("popularity", np.log1p(np.append(total, none)))
        self.mean_rating = _column("mean_rating", np.append(mean, none))
        self.genres = _column("genres", np.concatenate([genres, of_unrated]).T)
        self.typical = _column("typical_genres", total @ genres / max(total.sum(), _FLOOR))

    def affinity(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Float32 [titles]: of the genres of what somebody rated, int32 [known] and float32 [known]."""
        seen = tf.linalg.matvec(tf.gather(self.genres, titles, axis=1), weights)
        return self._affinity(seen[tf.newaxis], tf.reduce_sum(weights, keepdims=True)[tf.newaxis])[0]

    def affinity_of_rows(self, weights: tf.Tensor) -> tf.Tensor:
        """Float32 [users, titles]: the same of many users' weights, float32 [users, titles], zero where unrated."""
        seen = tf.matmul(weights, self.genres[:, : tf.shape(weights)[1]], transpose_b=True)
        return self._affinity(seen, tf.reduce_sum(weights, axis=1, keepdims=True))

    def affinity_in_bulk(self, ratings: sparse.csr_matrix) -> np.ndarray:
        """Float32 [users, titles]: the same of a sparse matrix."""
        return self._affinity(
            ratings @ self.genres.numpy()[:, : ratings.shape[1]].T, np.asarray(ratings.sum(axis=1), np.float32)
        ).numpy()

    def _affinity(self, seen: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        """Float32 [users, titles], of sums of genres, float32 [users, genres], and of weights, [users, 1]."""
        taste = tf.where(total > 0.0, seen / tf.maximum(total, _FLOOR) - self.typical, 0.0)
        return tf.matmul(taste, self.genres)


def moments(scores: tf.Tensor, is_free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and 1 / deviation over the titles that are free, float32 [users, 1]; the latter 0 where all are equal.

    Args:
      scores: float32 [users, titles].
      is_free: bool [users, titles].
    """
    free = tf.cast(is_free, tf.float32)
    count = tf.maximum(tf.reduce_sum(free, axis=1, keepdims=True), 1.0)
    mean = tf.reduce_sum(scores * free, axis=1, keepdims=True) / count
    variance = tf.reduce_sum(tf.square(scores - mean) * free, axis=1, keepdims=True) / count
    return mean, tf.where(variance > _FLOOR, tf.math.rsqrt(tf.maximum(variance, _FLOOR)), 0.0)


def standardize_scores(scores: tf.Tensor, is_free: tf.Tensor) -> tf.Tensor:
    """Z, float32 [users, titles], of scores over the titles that are free; both [users, titles], the latter bool."""
    mean, rate = moments(scores, is_free)
    return (scores - mean) * rate


def features_of(
    scores: Mapping[str, tf.Tensor], affinity: tf.Tensor, columns: TitleColumns, is_free: tf.Tensor
) -> dict[str, tf.Tensor]:
    """All features by name, float32 [users, titles] or [1, titles] each.

    Args:
      scores: by name, float32 [users, titles]: those of the models of who rated what, and of the ranking model.
      affinity: float32 [users, titles].
      columns: what is known of titles.
      is_free: bool [users, titles]: others have rated the title, and the user has not.
    """
    return {
        **{name: standardize_scores(values, is_free) for name, values in scores.items()},
        GENRES: affinity,
        POPULARITY: (columns.popularity - tf.reduce_mean(columns.popularity))[tf.newaxis],
        MEAN_RATING: columns.mean_rating[tf.newaxis],
    }


def _categories(title_features: np.ndarray) -> np.ndarray:
    return title_features[:, len(features.YEAR_BOUNDARIES) + 1 : -features.FLAGS]


def _column(name: str, values: np.ndarray) -> tf.Variable:
    return tf.Variable(values.astype(np.float32), name=name, trainable=False)
