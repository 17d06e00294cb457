"""A chain of the Gibbs sampler over ratings as they come: prepared, run until it has converged, and what it gathers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from modules import prior_blocks
from modules.baselines import UserTitleBias
from modules.checkpoints import Checkpoint
from modules.features import FLAGS
from modules.gibbs_sampler import Form, GibbsSampler, Side
from modules.mean_scores import MeanScores
from modules.metrics import rmse
from modules.model_configs import BayesianConfig
from modules.progress import Pace
from modules.rating_deviation import ScoreMoments
from modules.rating_sums import BucketedRatings
from modules.ratings import Ratings, standard_unit, standardize

# Pairs whose scores tell how far the chain has come.
_PROBES = 4096
_SWEEPS_PER_REPORT = 20
# Standard errors by which the noise of sweeps differs where a chain is not in equilibrium.
_DRIFT_ERRORS = 3.0
# Bounds of what the Monte Carlo error may add to the RMSE, as shares of it: less cannot be seen in four digits, more
# would be seen however few ratings there are.
_ADDED = 2e-4, 1e-3


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
        self._sweeps = 0  # of the chain that is under way

    def in_stars(self, scores: np.ndarray) -> np.ndarray:
        """Standardised scores as ratings, unclipped."""
        return self.mean + self.scale * scores

    def run(
        self,
        form: Form,
        *,
        iterations: int,
        burn_in: int,
        goes_on: bool = False,
        tolerance: float = 0.0,
        scores: MeanScores | None = None,
        checkpoint: Checkpoint | None = None,
        log: Callable[[str, float, int], None] = lambda name, value, step: None,
        report: Callable[[str], None] = lambda text: None,
    ) -> ScoreMoments:
        """Runs one chain.

        Args:
          form: what is fixed in it.
          iterations: the most sweeps.
          burn_in: first sweeps that do not count. In the first half of them factors are protected, so that they come
            alive. Where the chain has to converge to a tolerance, there are more of them while the noise still drifts.
          goes_on: the chain starts from the state that the chain before it, of another form, has left.
          tolerance: the chain ends when its Monte Carlo error adds less to the RMSE than this share of the standard
            error that the RMSE has over as many ratings as were fitted on, within bounds that hold for any number of
            ratings; zero never.
          scores: takes the draws.
          checkpoint: where a killed chain has left its state, from which it goes on to the same end.
          log: takes scalars of every sweep.
          report: is called every 20 sweeps.

        Returns:
          the moments of the pairs' scores.
        """
        moments = ScoreMoments(*self._pairs, traced=_PROBES)
        protected = 0 if goes_on else burn_in // 2
        noises: list[float] = []
        if goes_on:
            self._sampler.take(form)
        else:
            self._sampler.start(form)
            self._sweeps = 0
        if checkpoint and (state := checkpoint.load()):
            self._restore(state, moments, scores)
            noises, burn_in = state["noises"].tolist(), int(state["burn_in"])
            report(f"goes on behind sweep {len(noises)}/{iterations} of a run that was ended")
        pace: Pace | None = None
        for iteration in range(len(noises) + 1, iterations + 1):
            self._sweeps += 1
            rate = Form().prior_rate if iteration <= protected else form.prior_rate
            counts = iteration > burn_in
            draw, *of_pairs = self._sweep(tf.constant(self._sweeps), tf.constant(rate), tf.constant(counts))
            noises.append(float(draw.alpha) ** -0.5)
            # Behind the first sweep, which is compiled.
            pace = pace or Pace("sweeps", done=iteration)
            log("noise", noises[-1], iteration)
            if counts:
                moments.add(*(each.numpy() for each in of_pairs))
                if scores is not None:
                    scores.add(draw.user_means.numpy(), draw.titles.numpy())
            elif iteration == burn_in and tolerance and _drift(noises):
                burn_in = min(burn_in + _SWEEPS_PER_REPORT, iterations // 2)
            if iteration % _SWEEPS_PER_REPORT and iteration < iterations:
                continue
            # Both as shares of the RMSE, of normal errors.
            added = 0.5 * moments.monte_carlo_error() / moments.noise() if len(moments) else np.inf
            bound = np.clip(tolerance / np.sqrt(2.0 * self._ratings), *_ADDED) if tolerance else 0.0
            most = " at most" if tolerance and iteration < iterations else ""
            report(
                f"sweep {pace.counted(iteration, iterations)}{most}, noise {noises[-1]:.4f}, "
                f"Monte Carlo error {added:.1e} of RMSE"
            )
            if added < bound:
                break
            if checkpoint and checkpoint.is_due():
                own = {"noises": np.array(noises), "burn_in": np.array(burn_in)}
                checkpoint.save(own | self._state(moments, scores))
        return moments

    def _state(self, moments: ScoreMoments, scores: MeanScores | None) -> dict[str, np.ndarray]:
        """What a chain goes on from."""
        parts = {
            "moments": moments.state(),
            "scores": scores.state() if scores else {},
            "sampler": {str(place): each.numpy() for place, each in enumerate(self._sampler.variables())},
        }
        named = {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return named | {"sweeps": np.array(self._sweeps)}

    def _restore(self, state: dict[str, np.ndarray], moments: ScoreMoments, scores: MeanScores | None) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}

        moments.restore(part("moments/"))
        if scores:
            scores.restore(part("scores/"))
        for place, variable in enumerate(self._sampler.variables()):
            variable.assign(state[f"sampler/{place}"])
        self._sweeps = int(state["sweeps"])

    def _compiled(self) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
        user, title = (tf.constant(each, tf.int32) for each in self._pairs)

        @tf.function(
            autograph=False,
            input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.bool)],
        )
        def sweep(iteration: tf.Tensor, prior_rate: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, ...]:
            draw = self._sampler.sweep(iteration, prior_rate)

            def of_pairs() -> tuple[tf.Tensor, ...]:
                of_titles = tf.gather(_with_ones(draw.titles, 0), title)
                expected, drawn = (
                    tf.reduce_sum(tf.gather(_with_ones(rows, 1), user) * of_titles, axis=1)
                    for rows in (draw.user_means, draw.users)
                )
                precision = draw.alpha * tf.gather(draw.user_precision, user) * tf.gather(draw.title_precision, title)
                return expected, drawn, 1.0 / precision

            none = tf.zeros([0])
            return draw, *tf.cond(counts, of_pairs, lambda: (none, none, none))

        return sweep


def _with_ones(rows: tf.Tensor, place: int) -> tf.Tensor:
    """Rows [bias, embedding] with a one more at that place, so that a score is one product."""
    return tf.concat([rows[:, :place], tf.ones_like(rows[:, :1]), rows[:, place:]], axis=1)


def _drift(noises: list[float]) -> bool:
    """Whether the noise of the last sweeps differs from that of as many before by more than chance and than matters."""
    half = min(_SWEEPS_PER_REPORT, len(noises) // 2)
    if not half:
        return False
    before, last = np.array(noises[-2 * half : -half]), np.array(noises[-half:])
    error = np.sqrt((before.var() + last.var()) / half)
    return bool(abs(last.mean() - before.mean()) > max(_DRIFT_ERRORS * error, _ADDED[1] * last.mean()))


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
