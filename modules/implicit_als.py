"""Matrix factorisation of who rated what, by alternating least squares (iALS), with titles' features as a prior.

With c the weights of ratings (see `retrieval_input`), w_u and h_i vectors, f_i a title's features, the loss

  sum over ratings of c (1 - w_u.h_i)^2 + a0 sum over all pairs of (w_u.h_i)^2
  + sum over users of l_u |w_u|^2 + sum over titles of l_i |h_i - beta' f_i|^2,
  l_u = reg (n_u + a0 titles)^nu,  l_i = reg (n_i + a0 users)^nu,  n the number of ratings,

has its minimum over the users' vectors at

  w_u = (a0 H'H + sum c h h' + l_u I)^-1 sum c h

over the titles that u rated, and over the titles' likewise with l_i beta' f_i added to the sum. The regression beta is
damped, and refitted in every round. A title without ratings is left with beta' f_i, nearly; a new user is folded in by
the same formula, so that only titles' vectors have to be kept.

Sources: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets"; Rendle, Krichene, Zhang
and Koren 2021, "Revisiting the performance of iALS on item recommendation benchmarks" (l_u and l_i).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy import sparse

from modules.padded_rows import PaddedRows, padded_rows
from modules.side_features import LISTED

# Of the titles' first vectors.
_INITIAL_LENGTH = 0.1
# Titles that damp the regression on features.
_PRIOR_TITLES = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlsConfig:
    """Size and regularisation.

    Attributes:
      dimension: numbers in a vector.
      unobserved_weight: a0, of every pair of user and title.
      regularization: reg.
      exponent: nu, how fast regularisation grows with the number of ratings.
    """

    dimension: int = 48
    unobserved_weight: float = 0.3
    regularization: float = 0.26
    exponent: float = 0.5

    def penalty(self, count: np.ndarray, others: int) -> np.ndarray:
        """Float32 [rows]: l of rows with so many ratings, where the other side has so many rows."""
        return (self.regularization * (count + self.unobserved_weight * others) ** self.exponent).astype(np.float32)


class ImplicitAls:
    """The alternating fit; it goes on from where it was, with another regularisation if that is wanted.

    Attributes:
      titles: float32 [titles, dimension], H.
    """

    def __init__(self, weights: sparse.csr_matrix, title_features: np.ndarray, start: np.ndarray) -> None:
        """Deals the ratings out.

        Args:
          weights: float32 [users, titles], X.
          title_features: float32 [titles, features], `Ratings.title_features`.
          start: float32 [titles, dimension], the titles' first vectors.
        """
        dimension = start.shape[1]
        self._of_users = padded_rows(weights, dimension)
        by_title = weights.tocsc()
        self._of_titles = padded_rows(
            sparse.csr_matrix((by_title.data, by_title.indices, by_title.indptr), shape=weights.shape[::-1]), dimension
        )
        self._user_count, self._title_count = np.diff(weights.indptr), np.diff(by_title.indptr)
        self._described = np.asarray(described(title_features).any(axis=0))
        self._prior = design(title_features, self._described)
        self.titles = tf.constant(start)

    def run(self, config: AlsConfig, rounds: int) -> tf.Tensor:
        """Float32 [titles, dimension]: the titles' vectors after so many rounds more."""
        users, titles = len(self._user_count), len(self._title_count)
        of_user, of_title = config.penalty(self._user_count, titles), config.penalty(self._title_count, users)
        none = tf.zeros([users, config.dimension])
        for _ in range(rounds):
            user_vectors = _solved(self._of_users, self.titles, of_user, none, config.unobserved_weight)
            prior = self._regressed(of_title)
            self.titles = _solved(self._of_titles, user_vectors, of_title, prior, config.unobserved_weight)
        return self.titles

    def unrated(self, title_features: np.ndarray, config: AlsConfig) -> tf.Tensor:
        """Float32 [titles, dimension]: vectors of titles that nobody rated, by their features, [titles, features]."""
        users, titles = len(self._user_count), len(self._title_count)
        of_user, none = config.penalty(self._user_count, titles), tf.zeros([users, config.dimension])
        user_vectors = _solved(self._of_users, self.titles, of_user, none, config.unobserved_weight)
        beta = self._regression(config.penalty(self._title_count, users))
        number = len(title_features)
        return solve(
            config.unobserved_weight * tf.matmul(user_vectors, user_vectors, transpose_a=True),
            tf.zeros([number, 0, config.dimension]),
            tf.zeros([number, 0]),
            tf.constant(config.penalty(np.zeros(number), users)),
            design(title_features, self._described) @ beta,
        )

    def _regressed(self, penalty: np.ndarray) -> tf.Tensor:
        """Float32 [titles, dimension]: F beta."""
        return self._prior @ self._regression(penalty)

    def _regression(self, penalty: np.ndarray) -> tf.Tensor:
        """Float32 [columns, dimension]: beta = (F' diag(l) F + damping I)^-1 F' diag(l) H."""
        weighted = self._prior * penalty[:, np.newaxis]
        damping = _PRIOR_TITLES * float(penalty.mean()) * np.eye(self._prior.shape[1], dtype=np.float32)
        return tf.linalg.solve(
            tf.constant(weighted.T @ self._prior + damping), tf.matmul(weighted, self.titles, transpose_a=True)
        )


def first_vectors(titles: int, dimension: int, seed: int) -> np.ndarray:
    """Float32 [titles, dimension]: vectors to start from, short and random."""
    drawn = np.random.default_rng(seed).standard_normal((titles, dimension))
    return (drawn * _INITIAL_LENGTH / np.sqrt(dimension)).astype(np.float32)


def described(title_features: np.ndarray) -> np.ndarray:
    """Float32 [titles, columns]: the features without the flags."""
    return title_features[:, : title_features.shape[1] + LISTED - 1]


def design(title_features: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Float32 [titles, 1 + columns]: a column of ones, and these of what is described, bool [features]."""
    ones = np.ones((len(title_features), 1), np.float32)
    return np.concatenate([ones, described(title_features)[:, columns]], axis=1)


def fold_in(weights: sparse.csr_matrix, titles: tf.Tensor, config: AlsConfig) -> tf.Tensor:
    """Float32 [users, dimension]: vectors of users by what they rated, whether they were fitted on or not.

    Args:
      weights: float32 [users, titles].
      titles: float32 [titles, dimension], H.
      config: as H was fitted.
    """
    penalty = config.penalty(np.diff(weights.indptr), weights.shape[1])
    none = tf.zeros([weights.shape[0], titles.shape[1]])
    return _solved(padded_rows(weights, titles.shape[1]), titles, penalty, none, config.unobserved_weight)


def _solved(
    buckets: Sequence[PaddedRows], vectors: tf.Tensor, penalty: np.ndarray, prior: tf.Tensor, unobserved_weight: float
) -> tf.Tensor:
    """Float32 [rows, dimension]: the vectors of all rows, given those of the columns; prior is their expectation."""
    everything = unobserved_weight * tf.matmul(vectors, vectors, transpose_a=True)
    parts = [
        _solve_bucket(everything, vectors, columns, values, penalty[rows], tf.gather(prior, rows))
        for rows, columns, values in buckets
    ]
    if not parts:
        return prior
    places = np.argsort(np.concatenate([bucket.rows for bucket in buckets]), kind="stable")
    return tf.gather(tf.concat(parts, axis=0), places)


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None]),
        tf.TensorSpec([None, None]),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None, None]),
        tf.TensorSpec([None]),
        tf.TensorSpec([None, None]),
    ],
    autograph=False,
)
def _solve_bucket(
    everything: tf.Tensor,
    vectors: tf.Tensor,
    columns: tf.Tensor,
    weights: tf.Tensor,
    penalty: tf.Tensor,
    prior: tf.Tensor,
) -> tf.Tensor:
    return solve(everything, tf.gather(vectors, columns), weights, penalty, prior)


def solve(
    everything: tf.Tensor, rated: tf.Tensor, weights: tf.Tensor, penalty: tf.Tensor, prior: tf.Tensor
) -> tf.Tensor:
    """(a0 V'V + sum c v v' + l I)^-1 (sum c v + l prior), a row each.

    Args:
      everything: float32 [dimension, dimension], a0 V'V over all columns.
      rated: float32 [rows, width, dimension], v of each rated column.
      weights: float32 [rows, width], c; zero where there is no rating.
      penalty: float32 [rows], l.
      prior: float32 [rows, dimension], what is expected without ratings.

    Returns:
      float32 [rows, dimension].
    """
    scaled = rated * weights[:, :, tf.newaxis]
    diagonal = tf.eye(tf.shape(everything)[0]) * penalty[:, tf.newaxis, tf.newaxis]
    gram = everything + diagonal + tf.matmul(scaled, rated, transpose_a=True)
    target = tf.reduce_sum(scaled, axis=1) + penalty[:, tf.newaxis] * prior
    return tf.linalg.cholesky_solve(tf.linalg.cholesky(gram), target[:, :, tf.newaxis])[:, :, 0]
