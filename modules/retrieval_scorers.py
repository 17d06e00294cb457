"""The fitted models of who rated what, as scores of all titles given what somebody rated: in the graph, and in bulk.

Whether the model was fitted on these ratings makes no difference: everybody is folded in by the same formula.
"""

from __future__ import annotations

import abc

import numpy as np
import tensorflow as tf
from scipy import sparse

from modules import implicit_als
from modules.implicit_als import AlsConfig


class Scorer(tf.Module, abc.ABC):
    """Scores all titles."""

    @abc.abstractmethod
    def in_bulk(self, ratings: sparse.csr_matrix) -> np.ndarray:
        """Float32 [users, titles] of what each rated, weights as in `retrieval_input`, float32 [users, titles]."""

    @abc.abstractmethod
    def parts(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """What each rating adds to the scores.

        Args:
          titles: int32 [known], each once.
          weights: float32 [known].

        Returns:
          float32 [known, titles].
        """

    @abc.abstractmethod
    def scores(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Float32 [titles]: the sum of all parts; zeros where nothing is known."""


class AlsScorer(Scorer):
    """w_u . h_i, with w_u = A_u^-1 sum c h; a rating's part is c h_j' A_u^-1 h_i.

    Titles that nobody has rated may be scored behind the others.

    Attributes:
      vectors: float32 [titles, dimension], H.
    """

    def __init__(self, vectors: tf.Tensor, config: AlsConfig, unrated: tf.Tensor | None = None) -> None:
        """Holds the titles' vectors and what depends on them alone.

        Args:
          vectors: float32 [titles, dimension].
          config: as these were fitted.
          unrated: float32 [unrated titles, dimension]; None for none.
        """
        super().__init__()
        self.vectors = tf.Variable(vectors, name="als_titles", trainable=False)
        everything = vectors if unrated is None else tf.concat([vectors, unrated], axis=0)
        # A row times a matrix that lies this way takes a quarter of the time.
        self._columns = tf.Variable(tf.transpose(everything), name="als_columns", trainable=False)
        everything = config.unobserved_weight * tf.matmul(vectors, vectors, transpose_a=True)
        self._everything = tf.Variable(everything, name="als_gram", trainable=False)
        self._config = config

    def in_bulk(self, ratings: sparse.csr_matrix) -> np.ndarray:
        return self.of_vectors(self.user_vectors(ratings)).numpy()

    def user_vectors(self, ratings: sparse.csr_matrix) -> tf.Tensor:
        """Float32 [users, dimension]: w of users by what they rated, float32 [users, titles]."""
        return implicit_als.fold_in(ratings, self.vectors.read_value(), self._config)

    def of_vectors(self, users: tf.Tensor) -> tf.Tensor:
        """Float32 [users, titles]: the scores of users by their vectors, float32 [users, dimension]."""
        return tf.matmul(users, self._columns)

    def parts(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        rated = tf.gather(self.vectors, titles)
        spoken = self._solved(rated, weights, weights[:, tf.newaxis] * rated)
        return tf.matmul(spoken, self._columns)

    def scores(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        rated = tf.gather(self.vectors, titles)
        user = self._solved(rated, weights, tf.reduce_sum(weights[:, tf.newaxis] * rated, axis=0, keepdims=True))
        return self.of_vectors(user)[0]

    def cosines(self, title: tf.Tensor) -> tf.Tensor:
        """Float32 [titles]: cosines of the vectors with that of a title, int32 []."""
        lengths = tf.sqrt(tf.reduce_sum(tf.square(self._columns), axis=0))
        products = tf.matmul(tf.gather(self._columns, title, axis=1)[tf.newaxis], self._columns)[0]
        return tf.math.divide_no_nan(products, lengths * tf.gather(lengths, title))

    def _solved(self, rated: tf.Tensor, weights: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """A_u^-1 of each target, float32 [targets, dimension]."""
        config = self._config
        count = tf.cast(tf.size(weights), tf.float32)
        pairs = config.unobserved_weight * tf.cast(tf.shape(self.vectors)[0], tf.float32)
        penalty = config.regularization * (count + pairs) ** config.exponent
        gram = tf.matmul(weights[:, tf.newaxis] * rated, rated, transpose_a=True) + self._everything
        gram += penalty * tf.eye(tf.shape(gram)[0])
        return tf.transpose(tf.linalg.cholesky_solve(tf.linalg.cholesky(gram), tf.transpose(targets)))


class LinearScorer(Scorer):
    """x B, with a matrix B of titles by titles."""

    @abc.abstractmethod
    def of_rows(self, weights: tf.Tensor) -> tf.Tensor:
        """Float32 [users, titles]: the scores of what users rated, float32 [users, titles], zero where unrated."""


class EaseScorer(LinearScorer):
    """x B, with the whole matrix.

    Attributes:
      weights: float32 [titles, titles], B.
    """

    def __init__(self, weights: np.ndarray, name: str = "ease") -> None:
        """Holds the matrix."""
        super().__init__()
        self.weights = tf.Variable(weights, name=name, trainable=False)

    def in_bulk(self, ratings: sparse.csr_matrix) -> np.ndarray:
        return np.asarray(ratings @ self.weights.numpy(), np.float32)

    def parts(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.weights, titles) * weights[:, tf.newaxis]

    def of_rows(self, weights: tf.Tensor) -> tf.Tensor:
        return tf.matmul(weights, self.weights)

    def scores(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.matmul(weights[tf.newaxis, :], tf.gather(self.weights, titles))[0]


class LowRankEaseScorer(LinearScorer):
    """x V O', V the eigenvectors and O what they score titles by."""

    def __init__(self, vectors: np.ndarray, outputs: np.ndarray) -> None:
        """Holds both, float32 [titles, rank]; the outputs the other way round, see `AlsScorer`."""
        super().__init__()
        self._vectors = tf.Variable(vectors, name="ease_inputs", trainable=False)
        self._outputs = tf.Variable(outputs.T, name="ease_outputs", trainable=False)

    def in_bulk(self, ratings: sparse.csr_matrix) -> np.ndarray:
        return np.asarray(ratings @ self._vectors.numpy(), np.float32) @ self._outputs.numpy()

    def parts(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.gather(self._vectors, titles) * weights[:, tf.newaxis], self._outputs)

    def of_rows(self, weights: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.matmul(weights, self._vectors), self._outputs)

    def scores(self, titles: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        user = tf.matmul(weights[tf.newaxis, :], tf.gather(self._vectors, titles))
        return tf.matmul(user, self._outputs)[0]
