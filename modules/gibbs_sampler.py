"""Gibbs sampling of the Bayesian rating model: every conditional distribution is one function, with its equation.

The model, for standardised ratings y of users u and titles i, with d = 1 + factors numbers in a vector w = [b, p]:
  y_ui = b_u + b_i + p_u . q_i + e_ui,            e_ui ~ N(0, 1 / (alpha a_u a_i))
  w_k  = beta0_k + sum over blocks B of X_B beta_Bk + e_k,   e_k ~ N(0, I / lambda_k), the k-th numbers of all rows
  beta_Bk = V_B gamma_Bk,                         gamma_Bk ~ N(0, v_B I / lambda_k), beta0_k ~ N(0, 1 / lambda_k)
  a ~ Gamma(nu, nu), alpha ~ Gamma(1 + m / 2, 1 + m s^2 / 2), lambda_k ~ Gamma(1, prior rate); v_B, and an exponent of
  the block's singular values, are uniform on a grid, and so is nu.
The prior of alpha holds as much as m ratings, one a user and a title, around which s^2 is left by biases: where there
are few ratings, factors could otherwise explain all of them.
Users and titles each have their own beta, lambda, v and nu. The blocks X_B = U_B S_B V_B^T are those of `prior_blocks`.

Sources: Salakhutdinov and Mnih 2008, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo";
Simm et al. 2015, "Macau: scalable Bayesian multi-relational factorization with side information" (features in the
prior).

Cost of a sweep with n rows, R singular vectors: O(ratings x d^2) for the sums, O(n d^3) for the vectors, O(n R d) for
the regression.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import special

from modules.prior_blocks import Block
from modules.rating_sums import BucketedRatings, Sums

# Square roots of v.
_SCALES = (0.0, 0.03, 0.06, 0.1, 0.15, 0.22, 0.32, 0.45, 0.65, 0.9, 1.3, 1.8, 2.6)
# Powers of a shared block's singular values: the larger, the more only its first directions count.
EXPONENTS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
_NOISE_SHAPES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1000.0)
# Of the priors of lambda and alpha.
_PRECISION_SHAPE, _PRECISION_RATE = 1.0, 1.0
_START = 0.1  # standard deviation of the initial vectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What cannot be drawn within a chain.

    Attributes:
      has_factors: without, a rating is made of the biases alone.
      learns_noise: users and titles have noise precisions of their own.
      learns_exponents: the exponents of singular values are drawn; otherwise they are 1.
      prior_rate: rate of the prior of a factor's lambda once the factors are alive; the lower, the easier surplus
        factors die, and the less sparse data is protected.
    """

    has_factors: bool = True
    learns_noise: bool = True
    learns_exponents: bool = False
    prior_rate: float = 1.0


class Draws:
    """Random numbers of one sweep: each call takes the next seed of the sweep's own."""

    def __init__(self, seed: int, iteration: tf.Tensor) -> None:
        """Seeds them by the chain's seed and the number of the sweep."""
        self._seed = np.random.SeedSequence(seed).generate_state(1).view(np.int32)[0]
        self._iteration = iteration
        self._calls = 0

    def _next(self) -> tf.Tensor:
        self._calls += 1
        return tf.random.fold_in([self._seed, self._calls], self._iteration)

    def normal(self, shape: tf.Tensor | Sequence[int]) -> tf.Tensor:
        """Float32 of that shape: standard normal."""
        return tf.random.stateless_normal(shape, self._next())

    def gamma(self, shape: tf.Tensor | float, rate: tf.Tensor) -> tf.Tensor:
        """Float32 of the shape of rate: draws with the mean shape / rate."""
        rate = tf.convert_to_tensor(rate, tf.float32)
        shape = tf.broadcast_to(tf.cast(shape, tf.float32), tf.shape(rate))
        return tf.random.stateless_gamma(tf.shape(rate), self._next(), shape) / rate

    def category(self, log_weights: tf.Tensor) -> tf.Tensor:
        """Int32 [...]: a position along the first axis, by the logarithms of unnormalised weights, [positions, ...]."""
        uniform = tf.random.stateless_uniform(tf.shape(log_weights), self._next(), 1e-30, 1.0, log_weights.dtype)
        return tf.argmax(log_weights - tf.math.log(-tf.math.log(uniform)), axis=0, output_type=tf.int32)


class _Regression:
    """The part of a side's prior mean that one block explains.

    Attributes:
      block: the features.
      effect: variable, float32 [rank, size], S gamma: the prior mean is U times it.
      square: variable, float32 [size], |gamma_k|^2 / v, zero where v is.
      rank: variable, float32 [size], the length of gamma_k, zero where v is.
    """

    def __init__(self, block: Block, size: int) -> None:
        self.block = block
        self.left = tf.constant(block.left)
        rank = block.left.shape[1]
        self.effect = tf.Variable(tf.zeros([rank, size]))
        self.square, self.rank = tf.Variable(tf.zeros([size])), tf.Variable(tf.zeros([size]))
        self._of_exponent = []
        exponents = EXPONENTS if block.is_shared else EXPONENTS[:1]
        variances = []
        for exponent in exponents:
            power = block.singular**exponent
            power *= np.sqrt(np.square(block.singular).sum() / np.square(power).sum())
            variances += [np.square(scale * power) for scale in _SCALES]
            self._of_exponent += [exponent] * len(_SCALES)
        # v s_j^2 of each point of the grid, and whether v is zero.
        self.variances = tf.constant(np.array(variances), tf.float32)
        self.is_active = tf.constant([scale > 0 for _ in exponents for scale in _SCALES])
        # For each point the logarithm of what does not depend on the vectors: prior and determinant.
        determinant = -0.5 * np.log1p(np.array(variances)).sum(axis=1)
        self._determinant = determinant
        self.log_prior = tf.Variable(tf.cast(determinant, tf.float32))

    def start(self) -> None:
        """Puts the state back."""
        for variable in (self.effect, self.square, self.rank):
            variable.assign(tf.zeros_like(variable))

    def take(self, form: Form) -> None:
        """Lets the grid hold the exponents of the form."""
        left_out = (np.array(self._of_exponent) != 1.0) & (not form.learns_exponents)
        self.log_prior.assign(np.where(left_out, -1e30, self._determinant).astype(np.float32))

    def mean(self) -> tf.Tensor:
        """Float32 [rows, size]: what the block adds to the prior mean."""
        return self.left @ self.effect


class Side:
    """All that belongs to the users, or to the titles: its rows are one of them, its columns the others.

    Attributes:
      vectors: variable, float32 [rows, size], w = [bias, embedding].
      noise_precision: variable, float32 [rows], a.
      prior_precision: variable, float32 [size], lambda.
      intercept: variable, float32 [size], beta0.
      noise_shape: variable, float32, nu.
    """

    def __init__(self, ratings: BucketedRatings, blocks: Sequence[Block], *, size: int) -> None:
        """Prepares the state.

        Args:
          ratings: of each row.
          blocks: features of the rows.
          size: length of a vector, 1 + factors.
        """
        rows = len(ratings.count)
        self.ratings = ratings
        self.regressions = [_Regression(block, size) for block in blocks]
        self.vectors = tf.Variable(tf.zeros([rows, size]))
        self.noise_precision = tf.Variable(tf.ones([rows]))
        self.prior_precision, self.intercept = tf.Variable(tf.ones([size])), tf.Variable(tf.zeros([size]))
        self.noise_shape = tf.Variable(_NOISE_SHAPES[-1])
        self._learns_noise = tf.Variable(True)
        # 1 for the numbers of a vector that count, else 0.
        self.counted = tf.Variable(tf.ones([size]))
        count = ratings.count[np.newaxis].astype(np.float64)
        shapes = np.array(_NOISE_SHAPES)[:, np.newaxis]
        self._half_count = tf.constant(0.5 * ratings.count, tf.float32)
        # What of log p(nu) the errors do not change: lgamma(nu + n / 2) - lgamma(nu) - n / 2 log nu, over all rows.
        by_row = special.gammaln(shapes + count / 2) - special.gammaln(shapes) - count / 2 * np.log(shapes)
        self._log_noise_shapes = tf.constant(by_row.sum(axis=1))

    def start(self, form: Form, rng: np.random.Generator) -> None:
        """Draws initial vectors, and puts everything else back."""
        self.vectors.assign(_START * rng.standard_normal(self.vectors.shape))
        self.noise_precision.assign(tf.ones_like(self.noise_precision))
        self.prior_precision.assign(tf.ones_like(self.prior_precision))
        self.intercept.assign(tf.zeros_like(self.intercept))
        self.noise_shape.assign(_NOISE_SHAPES[-1])
        for regression in self.regressions:
            regression.start()
        self.take(form)

    def variables(self) -> list[tf.Variable]:
        """What a sweep changes."""
        own = [self.vectors, self.noise_precision, self.prior_precision, self.intercept, self.noise_shape]
        return own + [each for part in self.regressions for each in (part.effect, part.square, part.rank)]

    def take(self, form: Form) -> None:
        """Goes on under another form."""
        self.counted.assign([1.0] + [float(form.has_factors)] * (self.vectors.shape[1] - 1))
        self._learns_noise.assign(form.learns_noise)
        for regression in self.regressions:
            regression.take(form)

    def draw_prior(self, prior_rate: tf.Tensor, draw: Draws) -> None:
        """Draws lambda and the regression given w: block by block, then beta0."""
        means = [regression.mean() for regression in self.regressions]
        residual = self.vectors - self.intercept - (tf.add_n(means) if means else 0.0)
        if not means:
            self._draw_prior_precision(residual, prior_rate, draw)
        for regression, mean in zip(self.regressions, means, strict=True):
            others = [each for each in self.regressions if each is not regression]
            self._draw_block(regression, others, residual + mean, prior_rate, draw)
            residual += mean - regression.mean()
        self._draw_intercept(residual + self.intercept, draw)

    def _draw_prior_precision(self, residual: tf.Tensor, prior_rate: tf.Tensor, draw: Draws) -> None:
        """Draws lambda where there is no block.

        lambda_k ~ Gamma(1 + (n + 1) / 2, prior rate + (|w_k - beta0_k|^2 + beta0_k^2) / 2)
        """
        rate = prior_rate + 0.5 * (tf.reduce_sum(residual**2, axis=0) + self.intercept**2)
        self.prior_precision.assign(draw.gamma(_PRECISION_SHAPE + 0.5 * (len(self.ratings.count) + 1), rate))

    def _draw_block(
        self,
        regression: _Regression,
        others: Sequence[_Regression],
        residual: tf.Tensor,
        prior_rate: tf.Tensor,
        draw: Draws,
    ) -> None:
        """Draws v and the exponent with gamma and lambda integrated out, then lambda, then gamma.

        With r = w - beta0 - the other blocks, c = U^T r, N and G the number and sum of squares of the other
        coefficients, each divided by its v, beta0 among them, and s the singular values to the power of the exponent:
          log p(v) = -1/2 sum_j log(1 + v s_j^2) - shape log(rate),
          shape = 1 + (n + N) / 2,  rate = prior rate + (G + |r|^2 - |c|^2 + sum_j c_j^2 / (1 + v s_j^2)) / 2
          lambda_k ~ Gamma(shape, rate)
          s_j gamma_j ~ N(v s_j^2 c_j / (1 + v s_j^2), v s_j^2 / (lambda (1 + v s_j^2)))
        A shared block has one v for all dimensions, whose log p(v) are added up.
        """
        projected = tf.matmul(regression.left, residual, transpose_a=True)
        outside = tf.reduce_sum(residual**2, axis=0) - tf.reduce_sum(projected**2, axis=0)
        coefficients = 1.0 + sum((each.rank for each in others), tf.zeros_like(self.intercept))
        squares = self.intercept**2 + sum((each.square for each in others), tf.zeros_like(self.intercept))
        shape = _PRECISION_SHAPE + 0.5 * (len(self.ratings.count) + coefficients)
        inside = tf.matmul(1.0 / (1.0 + regression.variances), projected**2)
        rate = prior_rate + 0.5 * (squares + tf.maximum(outside, 0.0) + inside)

        log_weights = regression.log_prior[:, tf.newaxis] - shape * tf.math.log(rate)
        if regression.block.is_shared:
            # The prior is one of v, not one of each dimension; the determinant is one of each.
            relative = (log_weights - tf.reduce_max(log_weights, axis=0)) * self.counted
            point = draw.category(tf.reduce_sum(relative, axis=1))
            point = tf.fill(tf.shape(shape), point)
        else:
            point = draw.category(log_weights)
        rate = tf.gather(tf.transpose(rate), point, batch_dims=1)
        precision = draw.gamma(shape, rate)
        variance = tf.transpose(tf.gather(regression.variances, point))
        shrunk = variance / (1.0 + variance)
        noise = draw.normal(tf.shape(projected)) * tf.sqrt(shrunk / precision)
        effect = shrunk * projected + noise
        self.prior_precision.assign(precision)
        regression.effect.assign(effect)
        regression.square.assign(tf.reduce_sum(tf.math.divide_no_nan(effect**2, variance), axis=0))
        active = tf.cast(tf.gather(regression.is_active, point), tf.float32)
        regression.rank.assign(active * effect.shape[0])

    def _draw_intercept(self, residual: tf.Tensor, draw: Draws) -> None:
        """Draws beta0.

        beta0_k ~ N(sum of (w_k - the blocks) / (n + 1), 1 / (lambda_k (n + 1)))
        """
        count = len(self.ratings.count) + 1.0
        noise = draw.normal(self.intercept.shape) / tf.sqrt(self.prior_precision * count)
        self.intercept.assign(tf.reduce_sum(residual, axis=0) / count + noise)

    def prior_mean(self) -> tf.Tensor:
        """Float32 [rows, size]: what the prior expects of each row."""
        return tf.broadcast_to(self.intercept, self.vectors.shape) + sum(each.mean() for each in self.regressions)

    def draw_vectors_and_noise(self, columns: Side, alpha: tf.Tensor, draw: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws w given the columns' vectors and noise, then nu and a given w.

        Returns:
          float32 [rows, size]: the mean that w was drawn around.
          float32 [rows]: a x (sum of the squared errors, each times its column's a).
        """
        prior_mean = self.prior_mean()
        noise = draw.normal(self.vectors.shape)

        def of_bucket(sums: Sums, rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
            precision = alpha * tf.gather(self.noise_precision, rows)
            return _draw_vectors(
                sums, precision, tf.gather(prior_mean, rows), self.prior_precision, tf.gather(noise, rows)
            )

        counted = columns.vectors * columns.counted
        means, vectors, errors = self.ratings.map(counted, columns.noise_precision, of_bucket)
        self.vectors.assign(vectors)
        self._draw_noise_shape(alpha * errors, draw)
        self._draw_noise_precision(alpha * errors, draw)
        return means, self.noise_precision * errors

    def _draw_noise_shape(self, errors: tf.Tensor, draw: Draws) -> None:
        """Draws nu with a integrated out; errors is alpha E, E the sums of a of the column x the squared error.

        log p(nu) = sum over rows of lgamma(nu + n / 2) - lgamma(nu) + nu log nu - (nu + n / 2) log(nu + alpha E / 2)
        """
        # In float64, and without the logarithms of nu that cancel: the sums are large beside their differences.
        shapes = tf.constant(_NOISE_SHAPES, tf.float64)[:, tf.newaxis]
        half = tf.cast(self._half_count, tf.float64)
        grown = (shapes + half) * tf.math.log1p(tf.cast(0.5 * errors, tf.float64) / shapes)
        point = draw.category(self._log_noise_shapes - tf.reduce_sum(grown, axis=1))
        self.noise_shape.assign(tf.gather(tf.constant(_NOISE_SHAPES), point))

    def _draw_noise_precision(self, errors: tf.Tensor, draw: Draws) -> None:
        """Draws a; errors is alpha E.

        a ~ Gamma(nu + n / 2, nu + alpha E / 2)
        """
        drawn = draw.gamma(self.noise_shape + self._half_count, self.noise_shape + 0.5 * errors)
        self.noise_precision.assign(tf.where(self._learns_noise, drawn, tf.ones_like(drawn)))


def _draw_vectors(
    sums: Sums, precision: tf.Tensor, prior_mean: tf.Tensor, prior_precision: tf.Tensor, noise: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws w.

    w ~ N(P^-1 t, (s P)^-1),  s = alpha a,  P = G + R,  G = sum of a_i z z^T,  R = diag(lambda) / s,
    t = sum of a_i y z + R prior mean
    With P = L L^T the last row of the root of [P t; t^T c] is L^-1 t, whatever c that leaves it positive definite. The
    squared errors, sum of a_i (y - z . w)^2, take w^T G w, which is |L^T w|^2 - w^T R w.

    Args:
      sums: of the rows' ratings.
      precision: float32 [rows], s.
      prior_mean: float32 [rows, size].
      prior_precision: float32 [size], lambda.
      noise: float32 [rows, size], standard normal.

    Returns:
      float32 [rows, size]: the mean that w was drawn around.
      float32 [rows, size]: w.
      float32 [rows]: the squared errors, each times its column's a.
    """
    ridge = prior_precision / precision[:, tf.newaxis]
    target = sums.target + ridge * prior_mean
    # The least is t^T P^-1 t <= sum of a_i y^2 + R prior mean^2; more than rounding takes off is added.
    corner = 1.0 + 1.01 * (sums.square + tf.reduce_sum(ridge * prior_mean**2, axis=1))
    # As few copies of the matrices as there can be, which is what this takes longest for; nothing that is above the
    # diagonal is read.
    is_last = tf.range(tf.shape(sums.products)[1])[:, tf.newaxis] == tf.shape(target)[1]
    bordered = tf.where(is_last, tf.pad(target, [[0, 0], [0, 1]])[:, tf.newaxis], sums.products)
    diagonal = tf.concat([tf.linalg.diag_part(sums.products)[:, :-1] + ridge, corner[:, tf.newaxis]], axis=1)
    root = tf.linalg.cholesky(tf.linalg.set_diag(bordered, diagonal))
    half = root[:, -1, :-1]
    moved = half + noise * tf.math.rsqrt(precision)[:, tf.newaxis]
    # A zero in the place of the border leaves it out.
    solved = tf.linalg.triangular_solve(
        root, tf.pad(tf.stack([half, moved], 2), [[0, 0], [0, 1], [0, 0]]), adjoint=True
    )
    mean, vectors = solved[:, :-1, 0], solved[:, :-1, 1]
    errors = sums.square - 2.0 * tf.reduce_sum(vectors * sums.target, axis=1)
    errors += tf.reduce_sum(moved**2 - ridge * vectors**2, axis=1)
    # Rounding may leave a perfect fit below zero.
    return mean, vectors, tf.maximum(errors, 0.0)


class Draw(NamedTuple):
    """One draw of what scores are made of.

    Attributes:
      user_means: float32 [users, size], the mean that the users' vectors were drawn around: of the same expectation,
        with less noise.
      users: float32 [users, size].
      titles: float32 [titles, size].
      user_precision: float32 [users], a.
      title_precision: float32 [titles], a.
      alpha: float32.
    """

    user_means: tf.Tensor
    users: tf.Tensor
    titles: tf.Tensor
    user_precision: tf.Tensor
    title_precision: tf.Tensor
    alpha: tf.Tensor


class GibbsSampler:
    """Users and titles, and the noise between them.

    Attributes:
      users: the users' side.
      titles: the titles' side.
      alpha: variable, float32, the noise precision of all ratings.
    """

    def __init__(self, users: Side, titles: Side, *, ratings: int, residual: float, seed: int) -> None:
        """Joins two sides.

        Args:
          users: its columns are the titles.
          titles: its columns are the users.
          ratings: their number.
          residual: s^2, the mean squared error of biases.
          seed: of all draws.
        """
        pseudo = 0.5 * (len(users.ratings.count) + len(titles.ratings.count))
        self.alpha_shape, self.alpha_rate = _PRECISION_SHAPE + pseudo, _PRECISION_RATE + pseudo * residual
        self.users, self.titles = users, titles
        self.alpha = tf.Variable(1.0)
        self._ratings, self._seed = ratings, seed

    def start(self, form: Form) -> None:
        """Begins a chain."""
        rng = np.random.default_rng(self._seed)
        for side in (self.users, self.titles):
            side.start(form, rng)
        self.alpha.assign(1.0)

    def take(self, form: Form) -> None:
        """Goes on from the present state under another form."""
        for side in (self.users, self.titles):
            side.take(form)

    def variables(self) -> list[tf.Variable]:
        """What a sweep changes."""
        return [self.alpha, *self.users.variables(), *self.titles.variables()]

    def sweep(self, iteration: tf.Tensor, prior_rate: tf.Tensor) -> Draw:
        """Draws everything once.

        Args:
          iteration: int32, the number of the sweep, which seeds its draws.
          prior_rate: float32, the rate of the prior of a factor's lambda; that of the bias stays 1.

        Returns:
          what has been drawn of one state of the chain: users' vectors and noise, and those of the titles before.
        """
        draw = Draws(self._seed, iteration)
        size = self.users.vectors.shape[1]
        rates = tf.concat([[_PRECISION_RATE], tf.fill([size - 1], prior_rate)], axis=0)
        self.users.draw_prior(rates, draw)
        self.titles.draw_prior(rates, draw)
        titles, title_precision = self.titles.vectors.read_value(), self.titles.noise_precision.read_value()
        user_means, _ = self.users.draw_vectors_and_noise(self.titles, self.alpha, draw)
        drawn = Draw(
            user_means=user_means * self.users.counted,
            users=self.users.vectors * self.users.counted,
            titles=titles * self.titles.counted,
            user_precision=self.users.noise_precision.read_value(),
            title_precision=title_precision,
            alpha=self.alpha.read_value(),
        )
        _, errors = self.titles.draw_vectors_and_noise(self.users, self.alpha, draw)
        self._draw_alpha(tf.reduce_sum(errors), draw)
        return drawn

    def _draw_alpha(self, errors: tf.Tensor, draw: Draws) -> None:
        """Draws the precision of the noise of all ratings.

        alpha ~ Gamma(shape + ratings / 2, rate + sum of a_u a_i (error of u's rating of i)^2 / 2)
        """
        self.alpha.assign(draw.gamma(self.alpha_shape + 0.5 * self._ratings, self.alpha_rate + 0.5 * errors))
