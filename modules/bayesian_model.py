"""Preset `default`: Bayesian matrix factorisation, fitted by Gibbs sampling, served as plain embeddings.

The model and its sampler are in `gibbs_sampler`, what priors are regressed on in `prior_blocks`. Ratings are
standardised by the mean and the standard deviation of the training rows, so that neither the unit nor the zero of the
scale matters. What cannot be drawn inside a chain, its form, is chosen on held-out ratings by short chains:

  expressive  factors; noise of each user and title; spectra of who rated what sharpened as far as the data says
  plain       the same with these spectra as they are
  cautious    the same, and factors that are kept from fitting the noise of sparse data
  biases      neither factors nor noise of each: for data that has no more to tell, and for skewed ratings, of which
              robust noise would find the mode, where squared errors ask for the mean

The chain ends when more draws would change the error by less than anyone could tell: when the Monte Carlo error of the
mean scores, by batch means, adds less to the RMSE than `tolerance` times the standard error that it has over as many
ratings.

Serving needs no sampler. The mean of a score over the draws is a sum of products of vectors, hence one matrix product,
and is truncated to `export_rank`. Each draw counts with the mean that the users' vectors were drawn around, in place of
the draw: the same expectation with less noise. `cold_start` adds what users and titles without ratings are served by,
`rating_deviation` how sure a prediction is.

Sources: those of `gibbs_sampler`; Rendle, Zhang and Koren 2019, "On the difficulty of evaluating baselines" (how well
this family does); Geyer 1992, "Practical Markov chain Monte Carlo" (batch means).
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modules import cold_start, dataset
from modules.baselines import blending_weight
from modules.checkpoints import Checkpoint, fingerprint
from modules.gibbs_sampler import Form
from modules.mean_scores import MeanScores
from modules.model_configs import BayesianConfig
from modules.rating_chain import Chain
from modules.rating_deviation import ScoreMoments, calibrating_factor
from modules.rating_models import Choice, EmbeddingModel
from modules.ratings import Ratings
from modules.training_log import open_log

# In the order in which their pilot chains go on from each other: the one that keeps factors alive comes first.
FORMS = {
    "cautious": Form(),
    "plain": Form(prior_rate=1e-3),
    "expressive": Form(learns_exponents=True, prior_rate=1e-3),
    "biases": Form(has_factors=False, learns_noise=False),
}
SIMPLEST = "biases"
# What a model is that nothing could be held out for.
_FALLBACK = "cautious"
# Held-out ratings that tell forms apart; fewer are made up for by folds.
_ENOUGH = 3000
_PARTS, _FOLDS = 5, 3
# Pairs whose variances are followed.
_MOST_PAIRS = 1 << 18


def choose(
    train: Ratings, validation: Ratings, config: BayesianConfig, *, seed: int, report: Callable[[str], None]
) -> Choice[BayesianConfig]:
    """Picks the form of the model, and how wide its intervals have to be, on held-out ratings.

    The first form runs a chain of `pilot_iterations` sweeps, each of the others goes on from where the one before it
    has ended, with a third of the burn-in and as many sweeps that count. What the Monte Carlo error of so short a chain
    adds to its squared error is taken off, since the longer chain will not have it. A form is blended with the biases
    with the weight that suits the held-out ratings best: where there is little to learn, shrinking helps. The best of
    them is taken if it is better than the biases by more than a standard error.

    Args:
      train: what to fit on.
      validation: held-out ratings of the same users and titles.
      config: a form that it names is not chosen anew.
      seed: of the initial values and of every draw.
      report: is called with one line of progress every 20 sweeps, and with one a form.

    Returns:
      The configuration with its `form`, `form_weight` and `deviation_scale`; as it is where there are too few ratings
      to choose on. The model of the pilot chains of the form that was chosen, unless there were several folds.

    Raises:
      ValueError: no ratings to fit on.
    """
    pilots: dict[str, list[_Pilot]] = {name: [] for name in ([config.form] if config.form else FORMS)}
    pilots.setdefault(SIMPLEST, [])
    folds = list(_folds(train, validation, seed))
    counted = config.pilot_iterations - config.pilot_burn_in
    fitted: dict[str, _Fitted] = {}
    for fit_part, held_out in folds:
        if not len(held_out):
            continue
        chain = Chain(fit_part, config, seed=seed, pairs=(held_out.user, held_out.title))
        for place, name in enumerate(pilots):
            burn_in = config.pilot_burn_in // 3 if place else config.pilot_burn_in
            scores = MeanScores(config.export_rank, draws_per_block=counted)
            moments = chain.run(
                FORMS[name],
                iterations=burn_in + counted,
                burn_in=burn_in,
                goes_on=place > 0,
                scores=scores if len(folds) == 1 else None,
                report=functools.partial(_report, report, f"form {name}"),
            )
            fitted[name] = _Fitted(scores, moments)
            pilots[name].append(
                _Pilot(
                    rating=held_out.rating,
                    prediction=np.clip(chain.in_stars(moments.mean()), train.low, train.high),
                    deviation=chain.scale * np.sqrt(moments.variance()),
                    monte_carlo=np.full(len(held_out), chain.scale**2 * moments.monte_carlo_error()),
                )
            )
            report(f"form {name}: RMSE {_joined(pilots[name]).rmse():.4f} on held-out ratings")
    if not pilots[SIMPLEST]:
        report(f"form {config.form or _FALLBACK} is taken: no user and title could be held out that have other ratings")
        return Choice(config, None)
    biases = _joined(pilots[SIMPLEST])
    blends = {name: biases if name == SIMPLEST else _joined(pilots[name]).blended_with(biases) for name in pilots}
    form: str = config.form or min(blends, key=lambda name: blends[name].rmse())
    if not config.form and not blends[form].is_better_than(biases):
        form = SIMPLEST
    chosen = blends[form]
    report(f"form {form} is taken, weight {chosen.weight:.2f} beside biases: RMSE {chosen.rmse():.4f}")
    factor = calibrating_factor(np.abs(chosen.rating - chosen.prediction) / chosen.deviation)
    config = config.model_copy(update={"form": form, "form_weight": chosen.weight, "deviation_scale": factor})
    return Choice(config, _exported(chain, fitted, fit_part, config) if len(folds) == 1 else None)


class _Fitted(NamedTuple):
    """What a chain of a form has gathered."""

    scores: MeanScores
    moments: ScoreMoments


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pilot:
    """What a short chain says of held-out ratings, float [ratings] each, stars.

    Attributes:
      rating: what they are.
      prediction: within the scale.
      deviation: standard deviation of the rating around it.
      monte_carlo: variance of the prediction that comes of the chain being short.
      weight: of the form in the prediction, beside the biases.
    """

    rating: np.ndarray
    prediction: np.ndarray
    deviation: np.ndarray
    monte_carlo: np.ndarray
    weight: float = 1.0

    def squares(self) -> np.ndarray:
        """Float64 [ratings]: squared errors of a chain that is long enough, without what the Monte Carlo error adds."""
        return np.square(self.rating - self.prediction, dtype=np.float64) - self.monte_carlo

    def rmse(self) -> float:
        """Of a chain that is long enough."""
        return float(np.sqrt(max(self.squares().mean(), 0.0)))

    def is_better_than(self, other: _Pilot) -> bool:
        """Whether the squared errors are lower by more than the standard error of their mean difference.

        Source: Breiman et al. 1984, "Classification and regression trees", section 3.4.3: of models that are as good
        within a standard error, the simplest.
        """
        gain = other.squares() - self.squares()
        return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))

    def blended_with(self, biases: _Pilot) -> _Pilot:
        """The weighted mean of both predictions with the least squared error; all weight for a form that is as good."""
        noise = float(self.monte_carlo.mean())
        weight = blending_weight(self.rating, self.prediction, biases.prediction, noise)
        wider = self if weight > 0.5 else biases
        return dataclasses.replace(
            wider,
            prediction=weight * self.prediction + (1.0 - weight) * biases.prediction,
            monte_carlo=weight**2 * self.monte_carlo,
            weight=weight,
        )


def _joined(parts: Sequence[_Pilot]) -> _Pilot:
    """The ratings of all parts."""
    return _Pilot(
        rating=np.concatenate([part.rating for part in parts]),
        prediction=np.concatenate([part.prediction for part in parts]),
        deviation=np.concatenate([part.deviation for part in parts]),
        monte_carlo=np.concatenate([part.monte_carlo for part in parts]),
    )


def _folds(train: Ratings, validation: Ratings, seed: int) -> Iterator[tuple[Ratings, Ratings]]:
    """What to fit on and what to rate, of users and titles that both have.

    Where few ratings are held out, all are shared out into five parts, three of which are held out in turn. Where there
    are very many, some of the users stand for all.
    """
    if len(train) > dataset.PLENTY:
        users = dataset.some_users(train, seed=seed)
        train, validation = train.of_users(users), validation.of_users(users)
    if len(validation) >= _ENOUGH:
        yield train, _known(validation, train)
        return
    everything = dataset.concatenate(train, validation)
    part = np.random.default_rng(seed).permutation(len(everything)) % _PARTS
    for fold in range(_FOLDS):
        fit_part, held_out = everything.select(part != fold), everything.select(part == fold)
        yield fit_part, _known(held_out, fit_part)


def _known(ratings: Ratings, fitted_on: Ratings) -> Ratings:
    """The ratings of users and titles that have a rating among those fitted on."""
    return ratings.select(np.isin(ratings.user, fitted_on.user) & np.isin(ratings.title, fitted_on.title))


def fit(
    ratings: Ratings,
    config: BayesianConfig,
    *,
    seed: int,
    log_dir: str | None,
    report: Callable[[str], None],
    checkpoints: str | None = None,
) -> EmbeddingModel:
    """Runs the sampler and compresses the mean of its scores.

    Args:
      ratings: training rows and side features; features without any value make no difference.
      config: form, sizes and length.
      seed: of the initial values and of every draw.
      log_dir: folder for TensorBoard's scalars, if any: of each form `FORM/noise`, 1 / sqrt(alpha) of every sweep, in
        standard deviations of the ratings.
      report: is called with one line of progress every 20 sweeps.
      checkpoints: folder for the states of long chains, from which the same call goes on after a kill; it is removed at
        the end. None keeps none.

    Returns:
      The fitted model.

    Raises:
      ValueError: no ratings.
    """
    # Any title with any user, each as often as it was rated: what they will be asked for.
    rng = np.random.default_rng(seed)
    titles, chosen = rng.permutation(ratings.title), rng.permutation(len(ratings))[:_MOST_PAIRS]
    chain = Chain(ratings, config, seed=seed, pairs=(ratings.user[chosen], titles[chosen]))
    place = checkpoints and os.path.join(checkpoints, _fingerprint(ratings, config, seed))
    fitted = {}
    with open_log(log_dir) as log:
        for name in _weights(config):
            scores = MeanScores(config.export_rank)
            moments = chain.run(
                FORMS[name],
                iterations=config.iterations,
                burn_in=config.burn_in,
                tolerance=config.tolerance,
                scores=scores,
                checkpoint=Checkpoint(place and os.path.join(place, name)),
                log=functools.partial(_log, log, name),
                report=functools.partial(_report, report, name),
            )
            fitted[name] = _Fitted(scores, moments)
    model = _exported(chain, fitted, ratings, config)
    form, sweeps = config.form or _FALLBACK, len(fitted[_widest(config)].moments)
    model.chosen = (
        f"form {form}, weight {config.form_weight:.2f} beside biases, mean of {sweeps} sweeps behind "
        f"{config.burn_in}, deviations x {config.deviation_scale:.2f}"
    )
    if checkpoints and tf.io.gfile.exists(checkpoints):
        tf.io.gfile.rmtree(checkpoints)
    return model


def _weights(config: BayesianConfig) -> dict[str, float]:
    """Of each form that the model is made of."""
    form = config.form or _FALLBACK
    weights = {SIMPLEST: 1.0} if form == SIMPLEST else {form: config.form_weight, SIMPLEST: 1.0 - config.form_weight}
    return {name: weight for name, weight in weights.items() if weight}


def _widest(config: BayesianConfig) -> str:
    """The form of the most weight, whose deviations are the model's."""
    weights = _weights(config)
    return max(weights, key=lambda name: weights[name])


def _fingerprint(ratings: Ratings, config: BayesianConfig, seed: int) -> str:
    columns = (ratings.user, ratings.title, ratings.rating, ratings.user_features, ratings.title_features)
    return fingerprint(config.model_dump_json(), str(seed), str((ratings.low, ratings.high)), *columns)


def _log(log: Callable[[str, float, int], None], form: str, name: str, value: float, step: int) -> None:
    log(f"{form}/{name}", value, step)


def _report(report: Callable[[str], None], form: str, text: str) -> None:
    report(f"{form}, {text}")


def _blended(weighted: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """Rows [bias, embedding] whose scores are the weighted sum of those of each: embeddings stand side by side."""
    bias = sum(weight * rows[:, :1] for weight, rows in weighted)
    return np.concatenate([bias, *(np.sqrt(weight) * rows[:, 1:] for weight, rows in weighted)], axis=1)


def _exported(chain: Chain, fitted: Mapping[str, _Fitted], ratings: Ratings, config: BayesianConfig) -> EmbeddingModel:
    """The model of the mean scores of the forms that have weight, in stars."""
    rows = [(weight, fitted[name].scores.factors()) for name, weight in _weights(config).items()]
    user_rows, title_rows = (_blended([(weight, each[side]) for weight, each in rows]) for side in (0, 1))
    users, titles = ratings.num_users, ratings.num_titles
    fitted_users, fitted_titles = (
        cold_start.Fitted(rows=rows, features=features, count=np.bincount(ids, minlength=len(rows)))
        for rows, features, ids in (
            (user_rows, ratings.user_features, ratings.user),
            (title_rows, ratings.title_features, ratings.title),
        )
    )
    tables = cold_start.tables(fitted_users, fitted_titles, ratings.user, ratings.title)
    of_user, of_title = _deviations(fitted[_widest(config)].moments, tables, users, titles)
    return EmbeddingModel(
        chain.mean,
        *(_in_stars(table, chain.scale) for table in tables),
        deviations=(config.deviation_scale * chain.scale * of_user, of_title),
    )


def _in_stars(rows: np.ndarray, scale: float) -> np.ndarray:
    """Rows [bias, embedding] whose scores are `scale` times those given: a product of two carries it once."""
    return np.concatenate([scale * rows[:, :1], np.sqrt(scale) * rows[:, 1:]], axis=1)


def _deviations(
    moments: ScoreMoments, tables: Sequence[np.ndarray], users: int, titles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of users and titles, unknown ones last, float [users + 1] and [titles + 1]; standardised.

    Of an unknown title (user) little more is predicted than the user's (title's) mean score, so that how far scores lie
    from it counts, too.
    """
    of_user, of_title = moments.by_row(users, titles)
    user_table, title_table = tables[:2]
    scores, variance = moments.mean(), moments.variance()
    user_rows, title_rows = user_table[moments.user], title_table[moments.title]
    to_title_mean = np.square(scores - title_rows[:, 0] - title_rows @ user_table[-1])
    to_user_mean = np.square(scores - user_rows[:, 0] - user_rows @ title_table[-1])
    by_title, by_user = np.square(of_title[moments.title]), np.square(of_user[moments.user])
    of_user[-1] = np.sqrt(np.mean((variance + to_title_mean) / by_title))
    of_title[-1] = np.sqrt(np.mean((variance + to_user_mean) / by_user))
    return of_user, of_title
