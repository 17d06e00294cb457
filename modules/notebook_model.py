"""Preset `notebook`: the model of the "Movie Recommendation System: Ranking" notebook, to the letter.

rating(u, i) = Dense1(relu(Dense64(relu(Dense256([e_u, e_i]))))), with 32-dimensional embeddings e, fitted to the
squared error by Adagrad (rate 0.1) in batches of 8192, three epochs. As in the notebook the rows are shuffled once, so
every epoch sees the same batches. Source: the TensorFlow Recommenders ranking tutorial, which the notebook follows.

It uses user and title alone. Cost: linear in ratings an epoch. Memory: the tables (and Adagrad's copy of them),
and 16 bytes a rating.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from modules.features import MOVIE_TITLE, USER_ID, USER_RATING
from modules.model_configs import NotebookConfig
from modules.progress import Pace
from modules.rating_models import RatingModel
from modules.ratings import Ratings
from modules.training_log import open_log


class NotebookModel(RatingModel):
    """Two embeddings and a stack of dense layers."""

    def __init__(self, num_users: int, num_titles: int, config: NotebookConfig, *, seed: int) -> None:
        """Builds the tables with one row more than the vocabularies, for what is unknown.

        Args:
          num_users: users in the vocabulary.
          num_titles: titles in the vocabulary.
          config: widths.
          seed: of the initial values.
        """
        super().__init__()
        layers, initializers = tf.keras.layers, tf.keras.initializers
        seeds = iter(np.random.SeedSequence(seed).generate_state(3 + len(config.hidden_units)).tolist())
        # The initializers that Keras takes by default, seeded.
        self._user_embedding = layers.Embedding(
            num_users + 1, config.embedding_dimension, initializers.RandomUniform(seed=next(seeds)), name="user"
        )
        self._title_embedding = layers.Embedding(
            num_titles + 1, config.embedding_dimension, initializers.RandomUniform(seed=next(seeds)), name="title"
        )
        self._layers = [
            layers.Dense(units, activation="relu", kernel_initializer=initializers.GlorotUniform(seed=next(seeds)))
            for units in config.hidden_units
        ]
        self._rating = layers.Dense(1, kernel_initializer=initializers.GlorotUniform(seed=next(seeds)))
        self._unknown = (num_users, num_titles)

    def call(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Scores user-title pairs; see `RatingModel`. Side features are ignored."""
        num_users, num_titles = self._unknown
        user = self._user_embedding(tf.minimum(features[USER_ID.name], num_users))
        title = self._title_embedding(tf.minimum(features[MOVIE_TITLE.name], num_titles))
        hidden = tf.concat([user, title], axis=1)
        for layer in self._layers:
            hidden = layer(hidden)
        return self._rating(hidden)

    def replica_step(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What one replica of a `tf.distribute.Strategy` does for `train_step`: every n-th row of the batch.

        Args:
          batch: the whole batch, as `compute_loss` takes it.

        Returns:
          This replica's part of the batch's mean squared error; the parts add up to it, as their gradients do.
        """
        context = tf.distribute.get_replica_context()
        share = {
            name: column[context.replica_id_in_sync_group :: context.num_replicas_in_sync]
            for name, column in batch.items()
        }
        labels = tf.reshape(share[USER_RATING.name], [-1, 1])
        size = tf.cast(tf.size(batch[USER_RATING.name]), tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(labels - self(share, training=True))) / size
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return loss


def fit(
    ratings: Ratings,
    config: NotebookConfig,
    *,
    seed: int,
    log_dir: str | None,
    report: Callable[[str], None],
    strategy: tf.distribute.Strategy | None = None,
) -> NotebookModel:
    """Fits the model.

    Args:
      ratings: training rows; side features are not used.
      config: widths, learning rate, batch size and epochs.
      seed: of the initial values and of the order of the rows.
      log_dir: folder for TensorBoard's scalars, if any: `loss`, the mean squared error of an epoch's batches.
      report: is called with one line of progress an epoch.
      strategy: devices or workers among which each batch is dealt out; None for one device.

    Returns:
      The fitted model, on one device.

    Raises:
      ValueError: no ratings.
    """
    if not len(ratings):
        raise ValueError("expected at least one rating to fit; got none; check the training split")
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = _new(ratings, config, seed)
        model.compile(optimizer=tf.keras.optimizers.Adagrad(learning_rate=config.learning_rate))
    order = np.random.default_rng(seed).permutation(len(ratings))
    columns = {
        USER_ID.name: tf.constant(ratings.user[order]),
        MOVIE_TITLE.name: tf.constant(ratings.title[order]),
        USER_RATING.name: tf.constant(ratings.rating[order]),
    }

    # AutoGraph would spend seconds on rewriting Keras' own code, which needs no rewriting.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32)])
    @tf.autograph.experimental.do_not_convert
    def step(first: tf.Tensor) -> tf.Tensor:
        batch = {name: column[first : first + config.batch_size] for name, column in columns.items()}
        if strategy is None:
            return model.train_step(batch)["loss"]
        losses = strategy.run(model.replica_step, args=(batch,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    firsts = tf.range(0, len(ratings), config.batch_size)
    pace = Pace("epochs")
    with open_log(log_dir) as log:
        for epoch in range(1, config.epochs + 1):
            loss = float(np.mean([step(first) for first in firsts]))
            log("loss", loss, epoch)
            report(f"epoch {pace.counted(epoch, config.epochs)}, loss {loss:.4f}")
    if strategy is None:
        return model
    alone = _new(ratings, config, seed)
    alone.set_weights(model.get_weights())
    return alone


def _new(ratings: Ratings, config: NotebookConfig, seed: int) -> NotebookModel:
    """An untrained model with its variables, which replicas may not make."""
    model = NotebookModel(ratings.num_users, ratings.num_titles, config, seed=seed)
    model({USER_ID.name: tf.zeros([1], tf.int32), MOVIE_TITLE.name: tf.zeros([1], tf.int32)})
    return model
