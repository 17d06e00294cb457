"""Preset `fast`: a gradient-trained model whose embeddings pool what a user rated, and who rated a title.

The model. For user u, and with the roles exchanged for title i:
  p_u = c + e_u + W x_u + s_u x mean over its ratings j of ((r_uj - m_j) y_j + z_j),   s_u = sqrt(n_u) n_u / (n_u + 3),
  r_ui = b_u + b_i + p_u . q_i + MLP([p_u, q_i]),
where ratings r are standardised by their mean and standard deviation, b_u is one more number beside p_u made in the
same way, n_u counts its ratings, x_u are its side features and m_j is title j's damped mean. Every step hides the
ratings that it is trained on, and a random share of the others, from the pooled means: a pool that held the rating to
predict would give it away. The pools are centred by the other side's means for the same reason: the user's own mean
holds the rating too. A few users and titles a step count as unknown, that is by c + W x alone, so that unknown ones of
a request are served by numbers that were trained. At the end scores are blended with user and title biases.

Sources: Koren 2008, "Factorization meets the neighborhood: a multifaceted collaborative filtering model" (pooled sums,
of users); Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders" (hiding).

After training the pools over all ratings are added up once, so that the exported model holds plain embeddings.

Cost: an epoch takes `steps` steps, whatever the size of the data, and each is a few sums over all ratings (see
`rating_pools`): linear in ratings (steps x ratings x dimension). Memory: about 60 bytes a rating, and some
60 (dimension + 1) bytes a user and a title; no users x titles array is ever held. Measured on two cores: 0.5 s an epoch
for 80,000 ratings, 2.5 s for 950,000 (6,000 users, 4,000 titles), with 0.7 GB at most.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from modules import rating_pools
from modules.baselines import UserTitleBias, blending_weight, damped_mean
from modules.features import MOVIE_TITLE, USER_ID
from modules.metrics import rmse
from modules.model_configs import HistoryConfig
from modules.progress import Pace
from modules.rating_models import Choice, EmbeddingModel
from modules.ratings import Ratings, standard_unit, standardize
from modules.training_log import open_log

# Ratings of the mean that damp a title's (user's) own mean.
_MEAN_DAMPING = 5.0
# The model has this weight beside biases at least.
_LEAST_WEIGHT = 0.1
# Of a step: positions of its ratings, its number from 0, and the place in the epoch at which each rating has its step.
_STEP = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32), tf.TensorSpec([None], tf.int32)]


class HistoryModel(EmbeddingModel):
    """mean + scale (b_u + b_i + p_u . q_i + MLP([p_u, q_i])); unknown ids are made of their side features.

    The scale is the standard deviation of the ratings fitted on, so that the unit of the ratings changes nothing else.
    """

    def __init__(self, ratings: Ratings, config: HistoryConfig, *, seed: int) -> None:
        """Builds tables of zeros, of which the first column is the bias, and a seeded network.

        Args:
          ratings: gives sizes and the mean.
          config: widths.
          seed: of the network's initial values.
        """
        columns = 1 + config.dimension
        # The row behind the vocabulary is that of unknown ones; the features' rows count for them alone.
        sizes = (
            ratings.num_users + 1,
            ratings.num_titles + 1,
            ratings.user_features.shape[1],
            ratings.title_features.shape[1],
        )
        mean, scale = standard_unit(ratings.rating)
        super().__init__(mean, *(np.zeros([rows, columns], np.float32) for rows in sizes))
        self._scale = tf.Variable(scale, dtype=tf.float32, trainable=False, name="scale")
        self._network = []
        if config.hidden_units:
            first, last = (
                tf.keras.initializers.GlorotUniform(seed=each)
                for each in np.random.SeedSequence(seed).generate_state(2).tolist()
            )
            self._network = [
                tf.keras.layers.Dense(config.hidden_units, activation="relu", kernel_initializer=first),
                tf.keras.layers.Dense(1, kernel_initializer=last),
            ]
            self._network[0].build([None, 2 * config.dimension])
            self._network[1].build([None, config.hidden_units])
        self.network_variables = [variable for layer in self._network for variable in layer.trainable_variables]

    def score(self, user: tf.Tensor, title: tf.Tensor) -> tf.Tensor:
        """The product's score and the network's, in stars; see `EmbeddingModel.score`."""
        return self._mean + self._scale * self.standardized(user, title)

    def blend_with_biases(self, biases: UserTitleBias, weight: float) -> None:
        """Makes scores `weight` times their own and for the rest those of biases.

        Args:
          biases: of the same ratings.
          weight: in (0, 1].
        """
        scale = self._scale * weight
        for table, bias in zip(self.tables[:2], (biases.user_bias, biases.title_bias), strict=True):
            rest = tf.constant((1.0 - weight) * bias, tf.float32) / scale
            table.assign(tf.concat([table[:, :1] + rest[:, tf.newaxis], table[:, 1:]], axis=1))
        self._scale.assign(scale)

    def standardized(self, user: tf.Tensor, title: tf.Tensor) -> tf.Tensor:
        """Float32 [batch, 1]: the score in standard deviations from the mean."""
        linear = super().score(user, title) - self._mean
        if not self._network:
            return linear
        hidden = tf.concat([user[:, 1:], title[:, 1:]], axis=1)
        for layer in self._network:
            hidden = layer(hidden)
        return linear + hidden


def fit(
    ratings: Ratings,
    config: HistoryConfig,
    *,
    seed: int,
    log_dir: str | None,
    report: Callable[[str], None],
    strategy: tf.distribute.Strategy | None = None,
) -> HistoryModel:
    """Fits the model.

    Args:
      ratings: training rows and side features.
      config: sizes, regularisation and epochs.
      seed: of the initial values, of the order of the ratings and of what is hidden.
      log_dir: folder for TensorBoard's scalars, if any: `loss`, the mean squared error of an epoch, standardised.
      report: is called with one line of progress an epoch.
      strategy: devices or workers among which each batch, and each pool, is dealt out; None for one device.

    Returns:
      The fitted model, on one device.

    Raises:
      ValueError: no ratings.
    """
    pace = Pace("epochs")
    with open_log(log_dir) as log:

        def log_epoch(epoch: int, loss: float, model: HistoryModel) -> None:
            log("loss", loss, epoch)
            report(f"epoch {pace.counted(epoch, config.epochs)}, loss {loss:.4f}")

        model = _train(ratings, config, seed, log_epoch, strategy)
    model.blend_with_biases(UserTitleBias.fit(ratings), config.model_weight)
    model.chosen = f"{config.epochs} epochs, weight {config.model_weight:.2f} beside biases"
    return model


def choose(
    train: Ratings,
    validation: Ratings,
    config: HistoryConfig,
    *,
    seed: int,
    report: Callable[[str], None],
    strategy: tf.distribute.Strategy | None = None,
) -> Choice[HistoryConfig]:
    """Picks the number of epochs after which the error on held-out ratings is lowest, then the weight beside biases.

    Args:
      train: what to fit on.
      validation: held-out ratings of the same users and titles.
      config: configuration whose `epochs` are the most to try.
      seed: as in `fit`.
      report: is called with one line of progress an epoch.
      strategy: as in `fit`.

    Returns:
      The configuration with the best `epochs`, whose learning rate still falls as it did here, and with `model_weight`;
      no model.

    Raises:
      ValueError: no ratings to fit on, or none to choose on.
    """
    if not len(validation):
        raise ValueError("expected at least one rating to choose on; got none; check the eval split")
    features = {USER_ID.name: tf.constant(validation.user), MOVIE_TITLE.name: tf.constant(validation.title)}
    predictions: list[np.ndarray] = []
    errors: list[float] = []
    pace = Pace("epochs")

    def measure(epoch: int, loss: float, model: HistoryModel) -> None:
        predictions.append(np.clip(model(features).numpy()[:, 0], validation.low, validation.high))
        errors.append(rmse(validation.rating, predictions[-1]))
        epochs = pace.counted(epoch, config.epochs)
        report(f"epoch {epochs}, loss {loss:.4f}, validation RMSE {errors[-1]:.4f}")

    _train(train, config, seed, measure, strategy)
    best = int(np.argmin(errors))
    biases = UserTitleBias.fit(train).predict(validation.user, validation.title)
    weight = float(np.clip(blending_weight(validation.rating, predictions[best], biases), _LEAST_WEIGHT, 1.0))
    report(f"{best + 1} epochs, weight {weight:.2f} beside biases")
    schedule = config.schedule_epochs or config.epochs
    chosen = {"epochs": best + 1, "schedule_epochs": schedule, "model_weight": weight}
    return Choice(config.model_copy(update=chosen), None)


def _train(
    ratings: Ratings,
    config: HistoryConfig,
    seed: int,
    after_epoch: Callable[[int, float, HistoryModel], None],
    strategy: tf.distribute.Strategy | None,
) -> HistoryModel:
    """Trains; `after_epoch` is called with the epoch's number from 1, its mean loss and the model as it then is."""
    if not len(ratings):
        raise ValueError("expected at least one rating to fit; got none; check the training split")
    rng = np.random.default_rng(seed)
    model = HistoryModel(ratings, config, seed=seed)
    steps = min(config.steps, len(ratings))
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        config.learning_rate, steps * (config.schedule_epochs or config.epochs)
    )
    with strategy.scope() if strategy else contextlib.nullcontext():
        pooled = _PooledVectors(ratings, config, rng)
        trained = HistoryModel(ratings, config, seed=seed) if strategy else model
        optimizer = tf.keras.optimizers.Adam(schedule)
    variables = [*pooled.variables, *trained.network_variables]
    user, title = tf.constant(ratings.user), tf.constant(ratings.title)
    rating = tf.constant(standardize(ratings.rating)[:, np.newaxis], tf.float32)
    stateless_seed = np.random.SeedSequence(seed).generate_state(1).view(np.int32)[0]

    def replica_step(batch: tf.Tensor, number: tf.Tensor, step_of_rating: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context() if strategy else None

        def kept(size: int, dropped_share: float, part: int) -> tf.Tensor:
            """Float32 [size]: 0 with the probability given, else 1."""
            uniform = tf.random.stateless_uniform([size], [stateless_seed, 3 * number + part])
            return tf.cast(uniform >= dropped_share, tf.float32)

        # The whole batch, whichever replica has a row of it. A scatter would leave the GPU for it.
        of_other_steps = tf.cast(step_of_rating != number % steps, tf.float32)
        visible = kept(len(ratings), config.hidden_share, 0) * of_other_steps
        user_is_known = kept(ratings.num_users, config.unknown_share, 1)
        title_is_known = kept(ratings.num_titles, config.unknown_share, 2)
        rows = rating_pools.share(batch, replica)
        with tf.GradientTape() as tape:
            all_users, all_titles = pooled.rows(visible, user_is_known, title_is_known, replica)
            users = tf.gather(all_users, tf.gather(user, rows))
            titles = tf.gather(all_titles, tf.gather(title, rows))
            labels, predictions = tf.gather(rating, rows), trained.standardized(users, titles)
            squares = tf.reduce_sum(users**2, axis=1) + tf.reduce_sum(titles**2, axis=1)
            if replica is None:
                loss = trained.task(labels=labels, predictions=predictions, compute_metrics=False)
                penalized = loss + config.regularization * tf.reduce_mean(squares)
            else:
                # The replica's part of the batch's mean: the parts add up to it, as their gradients do.
                size = tf.cast(tf.size(batch), tf.float32)
                loss = tf.reduce_sum(tf.square(labels - predictions)) / size
                penalized = loss + config.regularization * tf.reduce_sum(squares) / size
        optimizer.apply_gradients(zip(tape.gradient(penalized, variables), variables, strict=True))
        return loss

    # AutoGraph would spend seconds on rewriting Keras' own code, which needs no rewriting.
    @tf.function(autograph=False, input_signature=_STEP)
    @tf.autograph.experimental.do_not_convert
    def step(batch: tf.Tensor, number: tf.Tensor, step_of_rating: tf.Tensor) -> tf.Tensor:
        if strategy is None:
            return replica_step(batch, number, step_of_rating)
        losses = strategy.run(replica_step, args=(batch, number, step_of_rating))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    @tf.function(autograph=False)
    def fold() -> None:
        for table, value in zip(model.tables, pooled.tables(), strict=True):
            table.assign(value)
        if trained is not model:
            for variable, value in zip(model.network_variables, trained.network_variables, strict=True):
                variable.assign(value)

    number = 0
    for epoch in range(1, config.epochs + 1):
        losses = []
        batches = np.array_split(rng.permutation(len(ratings)).astype(np.int32), steps)
        places = np.empty(len(ratings), np.int32)
        for place, batch in enumerate(batches):
            places[batch] = place
        step_of_rating = tf.constant(places)
        for batch in batches:
            losses.append(step(batch, number, step_of_rating))
            number += 1
        fold()
        after_epoch(epoch, float(np.mean(losses)), model)
    return model


class _PooledVectors:
    """The trained vectors of users and titles, and the pooling of the ratings.

    Attributes:
      variables: c, e, W, y and z of both sides.
    """

    def __init__(self, ratings: Ratings, config: HistoryConfig, rng: np.random.Generator) -> None:
        """Draws the initial vectors."""
        columns = 1 + config.dimension
        deviation = standardize(ratings.rating)
        users, titles = ratings.num_users, ratings.num_titles

        def vectors(rows: int) -> tf.Variable:
            return tf.Variable(rng.normal(0.0, config.initial_deviation, [rows, columns]), dtype=tf.float32)

        self._shape = (users, titles)
        # c, e, y and z, of the users, then of the titles; y and z belong to what is on the other side of a rating.
        self._common = [vectors(1), vectors(1)]
        self._own = [vectors(users), vectors(titles)]
        self._rating_vectors = [vectors(titles), vectors(users)]
        self._member_vectors = [vectors(titles), vectors(users)]
        # Zeros, so that a feature that training never sees adds nothing to an unknown user or title.
        self._features = [tf.constant(ratings.user_features), tf.constant(ratings.title_features)]
        self._feature_vectors = [tf.Variable(tf.zeros([each.shape[1], columns])) for each in self._features]
        trained = (self._common, self._own, self._feature_vectors, self._rating_vectors, self._member_vectors)
        self.variables = [variable for pair in trained for variable in pair]
        deviations, self._strength = [], []
        for own, other, rows, others in (
            (ratings.user, ratings.title, users, titles),
            (ratings.title, ratings.user, titles, users),
        ):
            mean = damped_mean(other, deviation, others, _MEAN_DAMPING)
            count = np.bincount(own, minlength=rows)[:, np.newaxis]
            deviations.append(deviation - mean[other])
            self._strength.append(tf.constant(count**1.5 / (count + config.history_damping), tf.float32))
        self._count = len(ratings)
        self._pools = rating_pools.create(
            ratings.user, ratings.title, deviations, users=users, titles=titles, size=columns
        )

    def rows(
        self,
        visible: tf.Tensor,
        user_is_known: tf.Tensor,
        title_is_known: tf.Tensor,
        replica: tf.distribute.ReplicaContext | None = None,
    ) -> list[tf.Tensor]:
        """[bias, embedding] of all users and all titles.

        Args:
          visible: float32 [ratings], 1 for what the pools may hold, else 0.
          user_is_known: float32 [num_users], 1, or 0 for what counts as unknown.
          title_is_known: float32 [num_titles].
          replica: the replica that asks, each of which adds up its share of the ratings; None adds up all.

        Returns:
          float32 [num_users, 1 + dimension] and [num_titles, 1 + dimension].
        """
        pools = self._pools(visible, self._rating_vectors, self._member_vectors, replica)
        return [
            self._common[side]
            + self._features[side] @ self._feature_vectors[side]
            + is_known[:, tf.newaxis]
            * (self._own[side] + self._strength[side] * pool.total / tf.maximum(pool.count, 1))
            for side, (is_known, pool) in enumerate(zip((user_is_known, title_is_known), pools, strict=True))
        ]

    def tables(self) -> list[tf.Tensor]:
        """The values of `HistoryModel.tables`, with everything visible and known."""
        ones = [tf.ones([rows]) for rows in self._shape]
        rows = self.rows(tf.ones([self._count]), *ones)
        return [tf.concat(parts, axis=0) for parts in zip(rows, self._common, strict=True)] + self._feature_vectors
