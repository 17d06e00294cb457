"""What the presets' models have in common: the task, and tables of embeddings that know what to do with the unknown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from modules.features import MOVIE_TITLE, TITLE_FEATURES, USER_FEATURES, USER_ID, USER_RATING
from modules.model_configs import ModelConfig

_Config = TypeVar("_Config", bound=ModelConfig)


class RatingModel(tfrs.Model):
    """A model of ratings. A preset's model defines `call`:

    Args:
      features: `user_id` and `movie_title`, integer [batch]; ids at and behind the end of a vocabulary are unknown
        users and titles. `user_features` and `title_features`, float32 [batch, size], may be left out.
      training: whether it is being trained.

    Returns:
      float32 [batch, 1], stars, unclipped.
    """

    def __init__(self) -> None:
        """Sets the task: squared errors of stars."""
        super().__init__()
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(), metrics=[tf.keras.metrics.RootMeanSquaredError("rmse")]
        )

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean squared error of the features beside their labels `user_rating`, float32 [batch], stars."""
        labels = tf.reshape(inputs[USER_RATING.name], [-1, 1])
        return self.task(labels=labels, predictions=self(inputs, training=training))


class EmbeddingModel(RatingModel):
    """mean + b_u + b_i + p_u . q_i, with the rows of unknown users and titles made of their side features.

    Attributes:
      tables: variables, float32 [rows, 1 + rank], of users, titles, user features and title features.
      deviations: float32 [num_users + 1] and [num_titles + 1], whose product is the standard deviation of a rating
        around its prediction, stars; none where the model does not tell.
      chosen: what was chosen for the model, in words; empty where nothing was.
    """

    chosen = ""

    def __init__(
        self,
        mean: float,
        user_table: np.ndarray,
        title_table: np.ndarray,
        user_feature_table: np.ndarray,
        title_feature_table: np.ndarray,
        *,
        deviations: Sequence[np.ndarray] = (),
    ) -> None:
        """Holds the tables; column 0 of each is the bias, the others are the embedding.

        Args:
          mean: stars.
          user_table: float [num_users + 1, 1 + rank]; the last row is that of an unknown user.
          title_table: float [num_titles + 1, 1 + rank].
          user_feature_table: float [user features, 1 + rank], what each feature adds to an unknown user's row.
          title_feature_table: float [title features, 1 + rank].
          deviations: float [num_users + 1] and [num_titles + 1]; nothing where the model does not tell.
        """
        super().__init__()
        self._mean = tf.Variable(mean, dtype=tf.float32, name="mean")
        named = {
            "user": user_table,
            "title": title_table,
            "user_feature": user_feature_table,
            "title_feature": title_feature_table,
        }
        self.tables = [tf.Variable(table, dtype=tf.float32, name=name) for name, table in named.items()]
        self.deviations = [tf.Variable(each, dtype=tf.float32) for each in deviations]
        # Of the fitted users: what is expected of a new one.
        rows = np.asarray(user_table, np.float64)[:-1]
        expected = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
        spread = (rows - expected).T @ (rows - expected) / max(len(rows), 1)
        self._user_mean = tf.Variable(expected, dtype=tf.float32, name="user_mean")
        self._user_covariance = tf.Variable(spread, dtype=tf.float32, name="user_covariance")

    def call(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Scores user-title pairs; see `RatingModel`. Side features count for unknown users and titles alone."""
        users, titles, user_features, title_features = self.tables
        return self.score(
            embedding_rows(users, features[USER_ID.name], user_features, features.get(USER_FEATURES)),
            embedding_rows(titles, features[MOVIE_TITLE.name], title_features, features.get(TITLE_FEATURES)),
        )

    def deviation(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Float32 [batch, 1]: the standard deviation of a rating around its prediction, stars."""
        users, titles = self.deviations
        user, title = features[USER_ID.name], features[MOVIE_TITLE.name]
        return (_row(users, user) * _row(titles, title))[:, tf.newaxis]

    def fold_in(self, titles: tf.Tensor, ratings: tf.Tensor) -> tf.Tensor:
        """The row of somebody new, by what that person has rated; of a model that has `deviations`.

        The row w of a new user is normal, with the mean m and the covariance S of the fitted users' rows, and so are
        ratings around it: with z = [1, q_i] and e their variances,

          w = m + S Z' (Z S Z' + diag(e))^-1 (r - mean - b - Z m).

        Args:
          titles: int64 [ratings]; ids at and behind the end of the vocabulary count for nothing.
          ratings: float32 [ratings], stars.

        Returns:
          float32 [1 + rank].
        """
        users, of_titles = self.deviations
        table = self.tables[1]
        kept = tf.where((titles < table.shape[0] - 1) & tf.math.is_finite(ratings))[:, 0]
        titles, ratings = tf.gather(titles, kept), tf.gather(ratings, kept)
        rows = tf.gather(table, titles)
        design = tf.concat([tf.ones_like(rows[:, :1]), rows[:, 1:]], axis=1)
        residual = ratings - self._mean - rows[:, 0] - tf.linalg.matvec(design, self._user_mean)
        shared = tf.matmul(design, self._user_covariance)
        variances = tf.reduce_mean(tf.square(users)) * tf.square(tf.gather(of_titles, titles))
        covariance = tf.matmul(shared, design, transpose_b=True) + tf.linalg.diag(variances)
        solved = tf.linalg.cholesky_solve(tf.linalg.cholesky(covariance), residual[:, tf.newaxis])
        return self._user_mean + tf.matmul(shared, solved, transpose_a=True)[:, 0]

    def user_rows(self, users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows, float32 [users, 1 + rank], and deviations, float32 [users], of ids, int64 [users]."""
        return _row(self.tables[0], users), _row(self.deviations[0], users)

    def title_rows(self, unrated: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same of every title of the vocabulary and, behind them, of others by their side features.

        Args:
          unrated: float32 [unrated titles, features].

        Returns:
          float32 [titles, 1 + rank] and [titles].
        """
        _, table, _, of_features = self.tables
        unknown = tf.fill(tf.shape(unrated)[:1], table.shape[0] - 1)
        rows = tf.concat([table[:-1], embedding_rows(table, unknown, of_features, unrated)], axis=0)
        return rows, tf.concat([self.deviations[1][:-1], tf.gather(self.deviations[1], unknown)], axis=0)

    def rate_all(
        self, rows: tf.Tensor, deviations: tf.Tensor, title_rows: tuple[tf.Tensor, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Rates titles; of a model that has `deviations`.

        Args:
          rows: float32 [users, 1 + rank].
          deviations: float32 [users], of the users.
          title_rows: what `title_rows` gives; None for every title of the vocabulary.

        Returns:
          scores, unclipped, and the standard deviations of ratings around them, float32 [users, titles] each, stars.
        """
        titles, of_titles = title_rows or (self.tables[1][:-1], self.deviations[1][:-1])
        scores = tf.matmul(rows[:, 1:], titles[:, 1:], transpose_b=True) + rows[:, :1] + titles[:, 0] + self._mean
        return scores, deviations[:, tf.newaxis] * of_titles

    def score(self, user: tf.Tensor, title: tf.Tensor) -> tf.Tensor:
        """Float32 [batch, 1], stars, of rows [bias, embedding], float32 [batch, 1 + rank]."""
        product = tf.reduce_sum(user[:, 1:] * title[:, 1:], axis=1, keepdims=True)
        return self._mean + user[:, :1] + title[:, :1] + product


def _row(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
    """The table's row of each id; the last row for ids beyond it."""
    return tf.gather(table, tf.minimum(ids, tf.cast(tf.shape(table)[0] - 1, ids.dtype)))


def embedding_rows(
    table: tf.Variable, ids: tf.Tensor, feature_table: tf.Variable, features: tf.Tensor | None
) -> tf.Tensor:
    """Looks up rows, and adds the features of unknown ids; those of known ids are in their rows already.

    Args:
      table: float32 [vocabulary + 1, columns]; the last row is that of unknown ids without features.
      ids: integer [batch]; those at and behind the end of the vocabulary are unknown.
      feature_table: float32 [features, columns], what each feature adds.
      features: float32 [batch, features], or None where there are none.

    Returns:
      float32 [batch, columns].
    """
    unknown = table.shape[0] - 1
    ids = tf.minimum(ids, unknown)
    rows = tf.gather(table, ids)
    if features is None:
        return rows
    # Few ids are unknown, and the product is what rating takes longest for.
    positions = tf.where(ids == unknown)
    return tf.tensor_scatter_nd_add(rows, positions, tf.gather(features, positions[:, 0]) @ feature_table)


@dataclasses.dataclass(frozen=True)
class Choice(Generic[_Config]):
    """What a preset has chosen on held-out ratings.

    Attributes:
      config: the configuration with what was chosen.
      pilot: a rough model by it, of `dataset.some_users` of the ratings that nothing was held out of; None where
        choosing leaves none.
    """

    config: _Config
    pilot: EmbeddingModel | None
