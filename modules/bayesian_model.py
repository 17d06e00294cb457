"""Preset `default`: Bayesian matrix factorisation, fitted by Gibbs sampling, served as plain embeddings.

The model. A rating is r_ui = mean + b_u + b_i + p_u . q_i + noise. The vector w = [b, p] of a user (of a title: [b, q])
has the prior N(x beta, diag(1 / lambda)), where x describes the user (title) and beta_k ~ N(0, I / lambda_k):
  x of a user:  [1, s_m x the titles it rated / sqrt(their number), s_f x its side features],
  x of a title: [1, s_m x the users who rated it / sqrt(their number), s_f x its side features].
Who rated what comes from the training rows alone. The noise has the precision alpha a_u a_i; a_u and a_i, with Gamma
priors of mean one, let careless users and divisive titles count less.

Sources: Salakhutdinov and Mnih 2008, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo" (the
sampler); Simm et al. 2015, "Macau: scalable Bayesian multi-relational factorization with side information" (features
in the prior); Rendle, Zhang and Koren 2019, "On the difficulty of evaluating baselines" (how well this family does).

One sweep draws, for users and for titles: lambda with beta integrated out; beta; all w (their precision matrices are
sums of outer products of the other side's vectors, one sparse matrix product); a; and at last alpha. Squared errors
come out of the same sums, so that no step looks at ratings one by one.

Serving needs no sampler. The mean of a score over the sweeps is a sum of products of vectors, hence one matrix product,
and is truncated to `export_rank` by a streaming singular value decomposition. Each sweep counts with the mean that the
users' vectors were drawn around, in place of the draw: the same expectation with less noise. Each side keeps one row
more, that of x = [1, 0, 0], for an unknown user or title, and one row a side feature, which an unknown one adds if the
request brings features. That nobody rated a title is information: the model expects less of it than of the average
title, as is right for titles that a sample of ratings misses, and too low for a new success.

A quarter of the score is that of `history_model` without its network. Both are biases and a product of embeddings, so
that the blend is, too: its embeddings stand side by side, scaled by the roots of the weights. The two err differently.

Cost of a sweep, with d factors: O(ratings x d^2) for the sums, O((users + titles) x d^3) to draw the vectors and
O(features^2 x d) for beta, where `membership_features` bounds the features of x. Memory: about 100 bytes a rating,
4 (d + 2)^2 bytes a user and a title, some 5 times; 24 bytes x features^2 while the regression is prepared (4
afterwards), and a block of 4096 x features floats. No users x titles array is ever held.

Measured on two cores: 20 ms a sweep for 80,000 ratings; 0.2 s for 950,000 (6,000 users, 4,000 titles) after 20 s of
preparation, with 1.7 GB at most; 7.4 GB at most for 23.75 million (162,000 users, 59,000 titles), where a sweep should
take some 6 s, by the ratio of ratings. For a shorter run lower `iterations`: 200 sweeps with 40 of burn-in cost about
0.001 of RMSE, 100 with 30 about 0.003.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules import history_model
from modules.model_configs import BayesianConfig, HistoryConfig
from modules.rating_models import EmbeddingModel
from modules.ratings import Ratings
from modules.training_log import open_log

# Sweeps whose factors are gathered before they are compressed together.
_SWEEPS_PER_BLOCK = 16
_ROWS_PER_BLOCK = 4096
_SWEEPS_PER_REPORT = 20


def fit(
    ratings: Ratings, config: BayesianConfig, *, seed: int, log_dir: str | None, report: Callable[[str], None]
) -> EmbeddingModel:
    """Runs the sampler and compresses the mean of its scores.

    Args:
      ratings: training rows and side features; columns of features without any value are left out.
      config: sizes and priors.
      seed: of the initial values and of every draw.
      log_dir: folder for TensorBoard's scalars, if any: `noise`, 1 / sqrt(alpha) of every sweep, stars.
      report: is called with one line of progress every 20 sweeps.

    Returns:
      The fitted model.

    Raises:
      ValueError: no ratings.
    """
    if not len(ratings):
        raise ValueError("expected at least one rating to fit; got none; check the training split")
    mean = float(np.mean(ratings.rating, dtype=np.float64))
    deviation = ratings.rating - np.float32(mean)
    by_title = np.lexsort((ratings.user, ratings.title))
    users = _FactorSampler(
        row=ratings.user,
        column=ratings.title,
        deviation=deviation,
        shape=(ratings.num_users, ratings.num_titles),
        features=ratings.user_features * np.float32(config.user_features_scale),
        membership_scale=config.user_membership_scale,
        noise_shape=config.user_noise_shape,
        config=config,
    )
    titles = _FactorSampler(
        row=ratings.title[by_title],
        column=ratings.user[by_title],
        deviation=deviation[by_title],
        shape=(ratings.num_titles, ratings.num_users),
        features=ratings.title_features * np.float32(config.title_features_scale),
        membership_scale=config.title_membership_scale,
        noise_shape=config.title_noise_shape,
        config=config,
    )
    rng = np.random.default_rng(seed)
    for sampler in (users, titles):
        sampler.vectors.assign(0.1 * rng.standard_normal(sampler.vectors.shape))
    alpha = tf.Variable(1.0 / max(float(np.var(deviation)), 1e-2), dtype=tf.float32)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32)])
    def sweep(iteration: tf.Tensor) -> tuple[tf.Tensor, ...]:
        draw = _Draws(seed, iteration)
        users.draw_prior(draw)
        titles.draw_prior(draw)
        title_rows = titles.exported_rows(titles.vectors)
        user_means, _ = users.draw_vectors_and_noise(titles, alpha, draw)
        _, squared_errors = titles.draw_vectors_and_noise(users, alpha, draw)
        alpha.assign(_draw_alpha(len(ratings), squared_errors, draw))
        return users.exported_rows(user_means), title_rows, alpha.read_value()

    scores = _MeanProduct(config.export_rank)
    with open_log(log_dir) as log:
        for iteration in range(1, config.iterations + 1):
            user_rows, title_rows, noise_precision = sweep(iteration)
            if iteration > config.burn_in:
                scores.add(user_rows.numpy(), title_rows.numpy())
            noise = float(noise_precision) ** -0.5
            log("noise", noise, iteration)
            if iteration % _SWEEPS_PER_REPORT == 0 or iteration == config.iterations:
                report(f"sweep {iteration}/{config.iterations}, noise {noise:.4f} stars")
    user_rows, title_rows = scores.factors()
    tables = [
        user_rows[: ratings.num_users + 1],
        title_rows[: ratings.num_titles + 1],
        users.feature_table(user_rows, config.user_features_scale, ratings.user_features.shape[1]),
        titles.feature_table(title_rows, config.title_features_scale, ratings.title_features.shape[1]),
    ]
    if config.history_weight:
        history = history_model.fit(
            ratings,
            HistoryConfig(hidden_units=0),
            seed=seed,
            log_dir=log_dir and os.path.join(log_dir, "history"),
            report=lambda text: report(f"history model, {text}"),
        )
        tables = [
            _blend(table, of_history.numpy(), config.history_weight)
            for table, of_history in zip(tables, history.tables, strict=True)
        ]
    return EmbeddingModel(mean, *tables)


def _blend(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """Rows [bias, embedding] whose scores are (1 - weight) x those of the first and weight x those of the second."""
    bias = (1.0 - weight) * first[:, :1] + weight * second[:, :1]
    return np.concatenate([bias, np.sqrt(1.0 - weight) * first[:, 1:], np.sqrt(weight) * second[:, 1:]], axis=1)


class _Draws:
    """Random numbers of one sweep: each call takes the next seed of the sweep's own."""

    def __init__(self, seed: int, iteration: tf.Tensor) -> None:
        self._seed = np.random.SeedSequence(seed).generate_state(1).view(np.int32)[0]
        self._iteration = iteration
        self._calls = 0

    def _next(self) -> tf.Tensor:
        self._calls += 1
        return tf.random.fold_in([self._seed, self._calls], self._iteration)

    def normal(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal(shape, self._next())

    def gamma(self, shape: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        """Float32 of the shape of rate: draws with the mean shape / rate."""
        shape, rate = tf.convert_to_tensor(shape, tf.float32), tf.convert_to_tensor(rate, tf.float32)
        return tf.random.stateless_gamma(tf.shape(rate), self._next(), tf.broadcast_to(shape, tf.shape(rate))) / rate


def _draw_alpha(ratings: int, squared_errors: tf.Tensor, draw: _Draws) -> tf.Tensor:
    """Draws the precision of the noise of all ratings.

    alpha ~ Gamma(1 + n / 2, 1 + sum of a_u a_i (error of u's rating of i)^2 / 2)
    """
    return draw.gamma(1.0 + 0.5 * ratings, 1.0 + 0.5 * tf.reduce_sum(squared_errors))


class _Sums(NamedTuple):
    """Sums over the ratings of each row, with z = [1, q], y = rating - mean - b and a of the rating's column.

    Attributes:
      gram: float32 [rows, 1 + factors, 1 + factors], sum of a z z^T.
      target: float32 [rows, 1 + factors], sum of a y z.
      square: float32 [rows], sum of a y^2.
    """

    gram: tf.Tensor
    target: tf.Tensor
    square: tf.Tensor


class _FactorSampler:
    """Draws what belongs to the users, or to the titles: its rows are one of them, its columns the others.

    Attributes:
      vectors: variable, float32 [rows, 1 + factors], w = [bias, embedding].
      noise_precision: variable, float32 [rows], a.
    """

    def __init__(
        self,
        *,
        row: np.ndarray,
        column: np.ndarray,
        deviation: np.ndarray,
        shape: tuple[int, int],
        features: np.ndarray,
        membership_scale: float,
        noise_shape: float,
        config: BayesianConfig,
    ) -> None:
        """Prepares the sums and factorises the regression.

        Args:
          row: int32 [ratings], ascending.
          column: int32 [ratings], ascending within a row.
          deviation: float32 [ratings], rating - mean.
          shape: rows and columns.
          features: float32 [rows, size], scaled.
          membership_scale: s_m.
          noise_shape: shape and rate of the prior of a.
          config: factors and membership_features.
        """
        rows, size = shape[0], 1 + config.factors
        indices = np.stack([row, column], axis=1).astype(np.int64)
        self._membership, self._deviation, self._squared_deviation = (
            tf.SparseTensor(indices, values, shape) for values in (np.ones_like(deviation), deviation, deviation**2)
        )
        self._count = tf.constant(np.bincount(row, minlength=rows), tf.float32)
        self._noise_shape = noise_shape

        self._used_features = np.flatnonzero(features.any(axis=0))
        self._design = _design(
            row, column, shape, features[:, self._used_features], membership_scale, config.membership_features
        )
        self._regression_root = tf.constant(_regression_root(self._design))

        self.vectors = tf.Variable(tf.zeros([rows, size]))
        self.noise_precision = tf.Variable(tf.ones([rows]))
        self._beta = tf.Variable(tf.zeros([self._design.shape[1], size]))
        self._prior_precision = tf.Variable(tf.ones([size]))

    def draw_prior(self, draw: _Draws) -> None:
        """Draws lambda given w, with beta integrated out, then beta given both.

        Both take L^-1 X^T w, where A = X^T X + I = L L^T.
        """
        projected = self._regression_root @ tf.sparse.sparse_dense_matmul(self._design, self.vectors, adjoint_a=True)
        self._draw_prior_precision(projected, draw)
        self._draw_beta(projected, draw)

    def _draw_prior_precision(self, projected: tf.Tensor, draw: _Draws) -> None:
        """Draws lambda; w_k ~ N(0, (I + X X^T) / lambda_k), whose quadratic form needs no inverse.

        lambda_k ~ Gamma(1 + rows / 2, 1 + (|w_k|^2 - |L^-1 X^T w_k|^2) / 2)
        """
        quadratic = tf.reduce_sum(self.vectors**2, axis=0) - tf.reduce_sum(projected**2, axis=0)
        rows = self.vectors.shape[0]
        self._prior_precision.assign(draw.gamma(1.0 + 0.5 * rows, 1.0 + 0.5 * tf.maximum(quadratic, 0.0)))

    def _draw_beta(self, projected: tf.Tensor, draw: _Draws) -> None:
        """Draws the regression of w on x.

        beta_k ~ N(A^-1 X^T w_k, A^-1 / lambda_k)
        """
        noise = draw.normal(projected.shape) / tf.sqrt(self._prior_precision)
        self._beta.assign(tf.matmul(self._regression_root, projected + noise, transpose_a=True))

    def draw_vectors_and_noise(
        self, columns: _FactorSampler, alpha: tf.Variable, draw: _Draws
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws w given the columns' vectors and noise, then a given w.

        Returns:
          float32 [rows, 1 + factors]: the mean that w was drawn around.
          float32 [rows]: a x (sum of the squared errors, each times its column's a), stars^2.
        """
        sums = self._sums(columns)
        means = self._draw_vectors(sums, alpha, draw)
        squared_errors = self._squared_errors(sums)
        self._draw_noise_precision(squared_errors, alpha, draw)
        return means, self.noise_precision * squared_errors

    def _sums(self, columns: _FactorSampler) -> _Sums:
        """Adds up the ratings of each row by sparse products, with each column's triangle of [z, b] [z, b]^T."""
        size = self.vectors.shape[1]
        bias, embedding = columns.vectors[:, :1], columns.vectors[:, 1:]
        extended = tf.concat([tf.ones_like(bias), embedding, bias], axis=1)
        weighted = extended * columns.noise_precision[:, tf.newaxis]
        first, second = np.triu_indices(size + 1)
        position = np.zeros((size + 1, size + 1), np.int32)
        position[first, second] = position[second, first] = np.arange(len(first))

        products = tf.gather(weighted, first, axis=1) * tf.gather(extended, second, axis=1)
        triangle = tf.sparse.sparse_dense_matmul(self._membership, products)
        linear = tf.sparse.sparse_dense_matmul(self._deviation, weighted)
        constant = tf.sparse.sparse_dense_matmul(self._squared_deviation, columns.noise_precision[:, tf.newaxis])[:, 0]
        return _Sums(
            gram=tf.reshape(tf.gather(triangle, position[:size, :size].ravel(), axis=1), [-1, size, size]),
            target=linear[:, :size] - tf.gather(triangle, position[:size, size], axis=1),
            square=constant - 2.0 * linear[:, size] + triangle[:, position[size, size]],
        )

    def _draw_vectors(self, sums: _Sums, alpha: tf.Variable, draw: _Draws) -> tf.Tensor:
        """Draws w, and returns the mean.

        w ~ N(P^-1 (alpha a sum of a_i y z + lambda x beta), P^-1), P = alpha a sum of a_i z z^T + diag(lambda)
        """
        scale = (alpha * self.noise_precision)[:, tf.newaxis]
        prior_mean = tf.sparse.sparse_dense_matmul(self._design, self._beta)
        root = tf.linalg.cholesky(sums.gram * scale[:, :, tf.newaxis] + tf.linalg.diag(self._prior_precision))
        target = (scale * sums.target + self._prior_precision * prior_mean)[:, :, tf.newaxis]
        half = tf.linalg.triangular_solve(root, target)
        noise = draw.normal(half.shape)
        solved = tf.linalg.triangular_solve(root, tf.concat([half, half + noise], axis=2), adjoint=True)
        self.vectors.assign(solved[:, :, 1])
        return solved[:, :, 0]

    def _squared_errors(self, sums: _Sums) -> tf.Tensor:
        """Float32 [rows]: the sum of a_i (y - z . w)^2, multiplied out."""
        vectors = self.vectors.read_value()
        errors = sums.square - 2.0 * tf.reduce_sum(vectors * sums.target, axis=1)
        errors += tf.reduce_sum(vectors * tf.linalg.matvec(sums.gram, vectors), axis=1)
        return tf.maximum(errors, 0.0)  # Rounding may leave a perfect fit below zero.

    def _draw_noise_precision(self, squared_errors: tf.Tensor, alpha: tf.Variable, draw: _Draws) -> None:
        """Draws a, with the prior Gamma(s, s).

        a ~ Gamma(s + n / 2, s + alpha (sum of a_i (y - z . w)^2) / 2)
        """
        shape, rate = self._noise_shape + 0.5 * self._count, self._noise_shape + 0.5 * alpha * squared_errors
        self.noise_precision.assign(draw.gamma(shape, rate))

    def exported_rows(self, vectors: tf.Tensor) -> tf.Tensor:
        """Float32 [rows + 1 + used features, 1 + factors]: vectors, then the unknown row's and the features' beta."""
        return tf.concat([vectors, self._beta[: 1 + len(self._used_features)]], axis=0)

    def feature_table(self, exported: np.ndarray, scale: float, size: int) -> np.ndarray:
        """Float32 [side features, columns of exported]: what each unscaled side feature adds; unused ones nothing."""
        table = np.zeros((size, exported.shape[1]), np.float32)
        table[self._used_features] = scale * exported[self.vectors.shape[0] + 1 :]
        return table


def _design(
    row: np.ndarray,
    column: np.ndarray,
    shape: tuple[int, int],
    features: np.ndarray,
    membership_scale: float,
    membership_features: int,
) -> tf.SparseTensor:
    """X = [1, side features, membership of the most rated columns], float32 [rows, features]."""
    rows = shape[0]
    counts = np.bincount(column, minlength=shape[1])
    kept = np.argsort(-counts, kind="stable")[: min(membership_features, np.count_nonzero(counts))]
    position = np.full(shape[1], -1)
    position[kept] = np.arange(len(kept))
    member = position[column] >= 0
    row_of_feature, column_of_feature = np.nonzero(features)
    # A row's whole count, so that membership has the norm s_m unless columns were left out.
    share = membership_scale / np.sqrt(np.bincount(row, minlength=rows))[row[member]] if len(kept) else np.zeros(0)
    blocks = (
        (np.arange(rows), np.zeros(rows, int), np.ones(rows)),
        (row_of_feature, 1 + column_of_feature, features[row_of_feature, column_of_feature]),
        (row[member], 1 + features.shape[1] + position[column[member]], share),
    )
    rows_of, columns_of, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    order = np.lexsort((columns_of, rows_of))
    indices = np.stack([rows_of, columns_of], axis=1)[order].astype(np.int64)
    return tf.SparseTensor(indices, values[order].astype(np.float32), (rows, 1 + features.shape[1] + len(kept)))


def _regression_root(design: tf.SparseTensor) -> np.ndarray:
    """Float32 [features, features]: L^-1 with L L^T = X^T X + I."""
    rows, features = design.shape
    gram = np.eye(features)
    indices, values = design.indices.numpy(), design.values.numpy()
    for first in range(0, rows, _ROWS_PER_BLOCK):
        start, end = np.searchsorted(indices[:, 0], [first, first + _ROWS_PER_BLOCK])
        block = np.zeros((min(_ROWS_PER_BLOCK, rows - first), features), np.float32)
        block[indices[start:end, 0] - first, indices[start:end, 1]] = values[start:end]
        gram += block.T @ block
    return np.linalg.inv(np.linalg.cholesky(gram)).astype(np.float32)


class _MeanProduct:
    """The mean over sweeps of b_u + b_i + p_u . q_i, the products kept as a truncated singular value decomposition.

    Memory: (2 rank + 16 factors) floats a row of either side.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._sweeps = 0
        self._bias: list[np.ndarray] = []
        self._blocks: list[list[np.ndarray]] = [[], []]

    def add(self, *vectors: np.ndarray) -> None:
        """Takes one sweep: [bias, embedding] of the users and of the titles, float32 [rows, 1 + factors]."""
        if not self._sweeps:
            self._bias = [np.zeros(len(rows)) for rows in vectors]
        self._sweeps += 1
        for bias, block, rows in zip(self._bias, self._blocks, vectors, strict=True):
            bias += rows[:, 0]
            block.append(rows[:, 1:])
        if len(self._blocks[0]) > _SWEEPS_PER_BLOCK:
            # Twice the rank in between, so that truncating again and again costs nothing that shows.
            self._compress(2 * self._rank)

    def _compress(self, rank: int) -> None:
        (user_basis, user_part), (title_basis, title_part) = (
            np.linalg.qr(np.concatenate(block, axis=1)) for block in self._blocks
        )
        left, singular, right = np.linalg.svd(user_part @ title_part.T, full_matrices=False)
        root = np.sqrt(singular[:rank])
        self._blocks = [[user_basis @ (left[:, :rank] * root)], [title_basis @ (right[:rank].T * root)]]

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Float [rows, 1 + rank] of the users and of the titles: [mean bias, embedding]."""
        self._compress(self._rank)
        users, titles = (
            np.concatenate([bias[:, np.newaxis] / self._sweeps, block[0] / np.sqrt(self._sweeps)], axis=1)
            for bias, block in zip(self._bias, self._blocks, strict=True)
        )
        return users, titles
