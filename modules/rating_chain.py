"""A chain of the Gibbs sampler over ratings as they come: prepared, run until it has converged, and what it gathers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from modules import prior_blocks
from modules.baselines import UserTitleBias
from modules.features import FLAGS
from modules.gibbs_sampler import Draw, Form, GibbsSampler, Side
from modules.mean_scores import MeanScores
from modules.metrics import rmse
from modules.model_configs import BayesianConfig
from modules.rating_deviation import ScoreMoments
from modules.rating_sums import BucketedRatings
from modules.ratings import Ratings, standard_unit, standardize

# Pairs whose scores tell how far the chain has come.
_PROBES = 4096
_SWEEPS_PER_REPORT = 20
# What the Monte Carlo error may add to the RMSE at most, as a share of it, however few ratings there are.
_MOST_ADDED = 1e-3


class Chain:
    """A sampler over standardised ratings, and chains of it.

    Attributes:
      mean: of the ratings, stars.
      scale: their standard deviation, stars; 1 where all are equal.
    """

    def __init__(
        self, ratings: Ratings, config: BayesianConfig, *, seed: int, pairs: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Prepares everything that all forms share.

        Args:
          ratings: what to fit on.
          config: sizes.
          seed: of the initial values and of every draw.
          pairs: users and titles whose scores are followed, int [pairs] each.
        """
        if not len(ratings):
            raise ValueError("expected at least one rating to fit; got none; check the training split")
        self.mean, self.scale = standard_unit(ratings.rating)
        target = standardize(ratings.rating)
        user, title = (ratings.user, ratings.user_features), (ratings.title, ratings.title_features)
        sides = [_side(*own, *other, target, config, seed) for own, other in ((user, title), (title, user))]
        by_biases = UserTitleBias.fit(ratings).predict(ratings.user, ratings.title)
        residual = (rmse(ratings.rating, by_biases) / self.scale) ** 2
        self._sampler = GibbsSampler(*sides, ratings=len(ratings), residual=residual, seed=seed)
        self._pairs, self._ratings = pairs, len(ratings)
        self._sweep = self._compiled()

    def in_stars(self, scores: np.ndarray) -> np.ndarray:
        """Standardised scores as ratings, unclipped."""
        return self.mean + self.scale * scores

    def run(
        self,
        form: Form,
        *,
        iterations: int,
        burn_in: int,
        tolerance: float = 0.0,
        scores: MeanScores | None = None,
        log: Callable[[str, float, int], None] = lambda name, value, step: None,
        report: Callable[[str], None] = lambda text: None,
    ) -> ScoreMoments:
        """Runs one chain from its beginning.

        Args:
          form: what is fixed in it.
          iterations: the most sweeps.
          burn_in: first sweeps that do not count. In the first half of them factors are protected, so that they come
            alive.
          tolerance: the chain ends when its Monte Carlo error adds less to the RMSE than this share of the standard
            error that the RMSE has over as many ratings as were fitted on, and than a thousandth of it; zero never.
          scores: takes the draws.
          log: takes scalars of every sweep.
          report: is called every 20 sweeps.

        Returns:
          the moments of the pairs' scores.
        """
        self._sampler.start(form)
        moments = ScoreMoments(*self._pairs, traced=_PROBES)
        for iteration in range(1, iterations + 1):
            rate = Form().prior_rate if iteration <= burn_in // 2 else form.prior_rate
            draw, *of_pairs = self._sweep(tf.constant(iteration), tf.constant(rate))
            noise = float(draw.alpha) ** -0.5
            log("noise", noise, iteration)
            if iteration > burn_in:
                moments.add(*(each.numpy() for each in of_pairs))
                if scores is not None:
                    scores.add(*_rows_to_export(draw))
            if iteration % _SWEEPS_PER_REPORT and iteration < iterations:
                continue
            # Both as shares of the RMSE, of normal errors.
            added = 0.5 * moments.monte_carlo_error() / moments.noise() if len(moments) else np.inf
            bound = min(tolerance / np.sqrt(2.0 * self._ratings), _MOST_ADDED) if tolerance else 0.0
            report(f"sweep {iteration}/{iterations}, noise {noise:.4f}, Monte Carlo error {added:.1e} of RMSE")
            if added < bound:
                break
        return moments

    def _compiled(self) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
        user, title = (tf.constant(each, tf.int32) for each in self._pairs)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.float32)])
        def sweep(iteration: tf.Tensor, prior_rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
            draw = self._sampler.sweep(iteration, prior_rate)
            of_titles = tf.gather(draw.titles, title)
            expected, drawn = (
                tf.reduce_sum(rows[:, 1:] * of_titles[:, 1:], axis=1) + rows[:, 0] + of_titles[:, 0]
                for rows in (tf.gather(draw.user_means, user), tf.gather(draw.users, user))
            )
            precision = draw.alpha * tf.gather(draw.user_precision, user) * tf.gather(draw.title_precision, title)
            return draw, expected, drawn, 1.0 / precision

        return sweep


def _rows_to_export(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Float32 [rows, size]: users, then effects of their features; titles, the least rated one, then effects."""
    users = np.concatenate([draw.user_means, draw.user_effects])
    titles = np.concatenate([draw.titles, draw.least_rated, draw.title_effects])
    return users, titles


def _side(
    row: np.ndarray,
    features: np.ndarray,
    column: np.ndarray,
    column_features: np.ndarray,
    target: np.ndarray,
    config: BayesianConfig,
    seed: int,
) -> Side:
    """The users' side, or the titles'; of the ratings and side features of its rows, and of its columns."""
    rows, columns, size = len(features), len(column_features), 1 + config.factors
    ratings = BucketedRatings(row, column, rows=rows, columns=columns, size=size)
    ratings.set_targets(target)
    blocks = (
        prior_blocks.membership(
            row,
            column,
            shape=(rows, columns),
            exponent=config.membership_exponent,
            rank=config.membership_rank,
            seed=seed,
        ),
        prior_blocks.side_features(features[:, :-FLAGS], seed=seed),
        prior_blocks.counts(ratings.count, seed=seed),
    )
    return Side(ratings, [block for block in blocks if block is not None], size=size)
