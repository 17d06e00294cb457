"""The default preset's model: what it learns, how it chooses, and what it makes of units, cold rows and thin data."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from data import synthetic
from modules import bayesian_model, checkpoints, dataset, rating_chain
from modules.baselines import UserTitleBias
from modules.features import FLAGS
from modules.metrics import rmse
from modules.model_configs import BayesianConfig
from modules.rating_chain import Chain
from modules.rating_deviation import shares_inside
from modules.rating_models import Choice, EmbeddingModel
from modules.ratings import Ratings
from tests.support import operations_of

SHORT = BayesianConfig(
    factors=3, iterations=30, burn_in=10, tolerance=0, pilot_iterations=24, pilot_burn_in=4, export_rank=8
)


def quiet(text: str) -> None:
    """Takes progress, and drops it."""


def artificial(seed=0, users=40, titles=50, share=0.5, noise=0.5, rank=2) -> Ratings:
    """Ratings mean + biases + product + noise, and title features of which the first says who is liked."""
    rng = np.random.default_rng(seed)
    title_features = np.zeros((titles, 3 + FLAGS), np.float32)
    title_features[:, :2] = rng.random((titles, 2)) < 0.5  # The third is never used.
    title_features[:, -2] = title_features.any(axis=1)
    title_bias = 1.2 * title_features[:, 0] - 0.6 + rng.normal(0, 0.1, titles)
    scores = 3.0 + rng.normal(0, 0.4, (users, 1)) + title_bias
    scores += rng.normal(0, 0.6, (users, rank)) @ rng.normal(0, 0.6, (rank, titles))
    user, title = np.nonzero(rng.random((users, titles)) < share)
    rating = scores[user, title] + rng.normal(0, noise, len(user))
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=rating.astype(np.float32),
        num_users=users,
        num_titles=titles,
        low=-5.0,
        high=11.0,
        user_features=np.zeros((users, 2 + FLAGS), np.float32),
        title_features=title_features,
    )


def fit(ratings: Ratings, config: BayesianConfig = SHORT, seed: int = 0, **kwargs: Any) -> EmbeddingModel:
    return bayesian_model.fit(ratings, config, seed=seed, **{"log_dir": None, "report": quiet, **kwargs})


def ids(user, title, **features):
    made = {"user_id": tf.constant(user, tf.int64), "movie_title": tf.constant(title, tf.int64)}
    return made | {name: tf.constant(value, tf.float32) for name, value in features.items()}


def ask(model, user, title, **features) -> np.ndarray:
    return model(ids(user, title, **features)).numpy()[:, 0]


def scaled(ratings: Ratings, factor: float, shift: float) -> Ratings:
    """The same ratings in another unit."""
    return dataclasses.replace(
        ratings,
        rating=(factor * ratings.rating.astype(np.float64) + shift).astype(np.float32),
        low=factor * ratings.low + shift,
        high=factor * ratings.high + shift,
    )


def halves(ratings: Ratings, share: float = 0.9) -> tuple[Ratings, Ratings]:
    kept = np.random.default_rng(7).random(len(ratings)) < share
    return ratings.select(kept), ratings.select(~kept)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return artificial()


@pytest.fixture(scope="module")
def stars(ratings: Ratings) -> Ratings:
    """The ratings in whole stars, which another unit holds exactly."""
    return dataclasses.replace(ratings, rating=np.round(ratings.rating), low=0.0, high=6.0)


@pytest.fixture(scope="module")
def model(ratings: Ratings) -> EmbeddingModel:
    return fit(ratings)


@pytest.mark.parametrize(("factor", "shift"), [(20.0, 0.0), (0.25, -0.25), (1.0, 100.0), (-3.0, 2.0)])
def test_another_unit_changes_nothing_but_the_unit(stars: Ratings, factor: float, shift: float) -> None:
    other = scaled(stars, abs(factor), shift)
    one, two = fit(stars), fit(other)
    user, title = (each.ravel() for each in np.indices((41, 51)))
    expected = abs(factor) * ask(one, user, title) + shift
    np.testing.assert_allclose(ask(two, user, title), expected, rtol=1e-4, atol=1e-4 * abs(factor))
    pairs = ids(user, title)
    np.testing.assert_allclose(two.deviation(pairs), abs(factor) * one.deviation(pairs), rtol=1e-4)


@pytest.mark.parametrize(("factor", "shift"), [(20.0, 0.0), (0.25, -0.25)])
def test_another_unit_is_chosen_the_same_form_for(stars: Ratings, factor: float, shift: float) -> None:
    one, other = (
        bayesian_model.choose(*halves(each), SHORT, seed=0, report=quiet).config
        for each in (stars, scaled(stars, factor, shift))
    )
    # Numbers to float64's precision.
    numbers = {name: pytest.approx(getattr(other, name), rel=1e-9) for name in ("form_weight", "deviation_scale")}
    assert dict(one) == dict(other) | numbers


def test_comes_within_three_percent_of_the_noise_floor() -> None:
    noise = 0.5
    train, test = halves(artificial(seed=3, users=300, titles=200, share=0.6, noise=noise))
    model = fit(train, BayesianConfig(form="plain", iterations=120, burn_in=40))
    assert rmse(test.rating, ask(model, test.user, test.title)) < 1.03 * noise


def test_ratings_made_of_biases_are_rated_by_biases() -> None:
    """Where there are no factors to learn, factors would learn noise."""
    train, test = halves(artificial(seed=2, users=150, titles=150, share=0.06, rank=1, noise=1.0))
    lines: list[str] = []
    chosen = bayesian_model.choose(*halves(train), BayesianConfig(), seed=0, report=lines.append).config
    assert chosen.form == "biases" or chosen.form_weight < 0.5
    assert lines[-1].startswith(f"form {chosen.form} is taken, weight {chosen.form_weight:.2f}")
    model = fit(train, chosen)
    bias = UserTitleBias.fit(train).predict(test.user, test.title)
    error = rmse(test.rating, ask(model, test.user, test.title))
    assert error < rmse(test.rating, bias)
    assert error < rmse(test.rating, ask(fit(train, BayesianConfig(form="plain")), test.user, test.title))


def test_ratings_made_of_factors_are_rated_by_factors() -> None:
    train = artificial(seed=3, users=100, titles=80, share=0.6)
    chosen = bayesian_model.choose(*halves(train), BayesianConfig(), seed=0, report=quiet).config
    assert chosen.form != "biases"
    assert chosen.form_weight == 1.0


def test_skewed_counts_do_not_diverge() -> None:
    """Counts of plays, a few of which are very large: no worse than biases."""
    ratings = artificial(seed=6, users=60, titles=60, share=0.3)
    plays = dataclasses.replace(
        ratings, rating=np.round(np.exp(1.5 * ratings.rating)).astype(np.float32), low=0.0, high=400_000.0
    )
    train, test = halves(plays)
    model = fit(train, bayesian_model.choose(*halves(train), BayesianConfig(), seed=0, report=quiet).config)
    predictions = np.clip(ask(model, test.user, test.title), plays.low, plays.high)
    bias = np.clip(UserTitleBias.fit(train).predict(test.user, test.title), plays.low, plays.high)
    assert rmse(test.rating, predictions) < 1.02 * rmse(test.rating, bias)


def test_a_form_that_is_named_is_kept(ratings: Ratings) -> None:
    config = SHORT.model_copy(update={"form": "plain"})
    lines: list[str] = []
    chosen = bayesian_model.choose(*halves(ratings), config, seed=0, report=lines.append).config
    assert chosen.form == "plain"
    assert {line.split()[1].rstrip(":,") for line in lines} == {"plain", "biases"}


def test_choosing_leaves_a_model_of_what_nothing_was_held_out_of(monkeypatch) -> None:
    train, test = halves(artificial(seed=3, users=100, titles=80, share=0.6))
    fit_part, held_out = halves(train)
    monkeypatch.setattr(bayesian_model, "_ENOUGH", len(held_out))
    lines: list[str] = []
    choice = bayesian_model.choose(fit_part, held_out, BayesianConfig(), seed=0, report=lines.append)
    pilot, short = choice.pilot, fit(fit_part, choice.config.of_short_fit())
    error = rmse(test.rating, ask(pilot, test.user, test.title))
    assert error == pytest.approx(rmse(test.rating, ask(short, test.user, test.title)), rel=0.02)
    # What it was chosen by is what it says.
    told = float(lines[-1].rsplit(" ", 1)[1])
    assert rmse(held_out.rating, ask(pilot, held_out.user, held_out.title)) == pytest.approx(told, rel=0.01)
    np.testing.assert_allclose(
        np.log(pilot.deviation(ids(test.user, test.title)) / short.deviation(ids(test.user, test.title))), 0, atol=0.5
    )
    monkeypatch.setattr(bayesian_model, "_ENOUGH", len(held_out) + 1)
    folded = bayesian_model.choose(fit_part, held_out, BayesianConfig(), seed=0, report=quiet)
    assert folded.pilot is None


class ChainOfWords:
    """A chain that draws nothing: every form says the same of a rating, each with an error of its own, in stars."""

    mean, scale = 3.0, 2.0
    errors = types.MappingProxyType({"cautious": 0.5, "plain": 0.4, "expressive": 0.3, "biases": 0.6})
    truth: Ratings
    runs: list[tuple[str, int, int, bool]]

    def __init__(self, ratings: Ratings, config: BayesianConfig, *, seed: int, pairs: tuple) -> None:
        np.testing.assert_array_equal(pairs[0], self.truth.user)
        np.testing.assert_array_equal(pairs[1], self.truth.title)

    def in_stars(self, scores: np.ndarray) -> np.ndarray:
        return self.mean + self.scale * scores

    def run(self, form: Any, *, iterations: int, burn_in: int, goes_on: bool, scores: Any, report: Any) -> Any:
        (name,) = (each for each, other in bayesian_model.FORMS.items() if other is form)
        self.runs.append((name, iterations, burn_in, goes_on))
        report("sweep 1")
        rng = np.random.default_rng(len(name))
        stars = self.truth.rating + self.errors[name] * rng.normal(size=len(self.truth))
        return types.SimpleNamespace(
            mean=lambda: (stars - self.mean) / self.scale,
            variance=lambda: np.full(len(stars), 0.25),
            monte_carlo_error=lambda: 0.0,
        )


def test_the_forms_are_tried_one_after_the_other_and_the_best_is_taken(ratings: Ratings, monkeypatch) -> None:
    train, validation = halves(ratings, 0.5)
    validation = bayesian_model._known(validation, train)
    monkeypatch.setattr(ChainOfWords, "truth", validation, raising=False)
    monkeypatch.setattr(ChainOfWords, "runs", [], raising=False)
    monkeypatch.setattr(bayesian_model, "Chain", ChainOfWords)
    monkeypatch.setattr(bayesian_model, "_exported", lambda chain, fitted, ratings, config: None)
    monkeypatch.setattr(bayesian_model, "_ENOUGH", len(validation))
    lines: list[str] = []
    config = SHORT.model_copy(update={"pilot_iterations": 40, "pilot_burn_in": 13})
    chosen = bayesian_model.choose(train, validation, config, seed=0, report=lines.append).config
    # The later ones go on, and need a third of the burn-in.
    assert ChainOfWords.runs == [
        ("cautious", 40, 13, False), ("plain", 31, 4, True), ("expressive", 31, 4, True), ("biases", 31, 4, True)
    ]  # fmt: skip
    assert chosen.form == "expressive"
    assert lines[:2] == ["form cautious, sweep 1", lines[1]]
    assert lines[1].startswith("form cautious: RMSE 0.")
    assert float(lines[1].split()[3]) == pytest.approx(0.5, abs=0.05)
    assert lines[-1].startswith(f"form expressive is taken, weight {chosen.form_weight:.2f} beside biases: RMSE 0.")
    # Deviations of a star, which errors of 0.3, of which biases take a little, do not need.
    assert chosen.deviation_scale == pytest.approx(0.3 * np.sqrt(chosen.form_weight), abs=0.04)


def test_the_deviation_of_what_is_unknown_counts_how_far_scores_lie_from_the_mean() -> None:
    """Two users and two titles, every pair of them once."""
    user, title = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    scores, variance = np.array([1.0, -1.0, 0.5, 2.0]), np.array([0.5, 1.0, 1.5, 2.0])
    of_user, of_title = np.array([1.0, 2.0, 9.0]), np.array([1.0, 0.5, 9.0])
    moments = types.SimpleNamespace(
        user=user,
        title=title,
        mean=lambda: scores,
        variance=lambda: variance,
        by_row=lambda users, titles: (of_user.copy(), of_title.copy()),
    )
    tables = [np.array([[0.1, 1.0], [0.2, -1.0], [0.0, 0.5]]), np.array([[0.3, 2.0], [-0.4, 1.0], [0.0, 0.25]])]
    users, titles = bayesian_model._deviations(moments, tables, 2, 2)
    np.testing.assert_array_equal(users[:2], of_user[:2])
    np.testing.assert_array_equal(titles[:2], of_title[:2])
    to_title = [scores[row] - tables[1][t, 0] - 0.5 * tables[1][t, 1] for row, t in enumerate(title)]
    to_user = [scores[row] - tables[0][u, 0] - 0.25 * tables[0][u, 1] for row, u in enumerate(user)]
    assert users[-1] == pytest.approx(np.sqrt(np.mean((variance + np.square(to_title)) / of_title[title] ** 2)))
    assert titles[-1] == pytest.approx(np.sqrt(np.mean((variance + np.square(to_user)) / of_user[user] ** 2)))


def test_what_cannot_be_held_out_is_not_chosen_on(ratings: Ratings) -> None:
    one = ratings.select(np.arange(1))
    lines: list[str] = []
    assert bayesian_model.choose(one, ratings.select(np.arange(0)), SHORT, seed=0, report=lines.append) == Choice(
        SHORT, None
    )
    assert lines == ["form cautious is taken: no user and title could be held out that have other ratings"]


def test_few_ratings_are_held_out_in_folds_and_many_as_they_come(ratings: Ratings, monkeypatch) -> None:
    train, validation = halves(ratings)
    folds = list(bayesian_model._folds(train, validation, seed=0))
    assert len(folds) == bayesian_model._FOLDS
    assert all(len(fit_part) + len(held_out) <= len(ratings) for fit_part, held_out in folds)
    pairs = [set(zip(held_out.user.tolist(), held_out.title.tolist(), strict=True)) for _, held_out in folds]
    assert sum(map(len, pairs)) == len(set.union(*pairs))
    for fit_part, held_out in folds:
        assert set(held_out.user) <= set(fit_part.user)
        assert set(held_out.title) <= set(fit_part.title)
    monkeypatch.setattr(dataset, "PLENTY", len(train) // 2)
    for fit_part, held_out in bayesian_model._folds(train, validation, seed=0):
        whole = train.of_users(dataset.some_users(train, seed=0))
        assert fit_part.num_users == whole.num_users < train.num_users
        assert 0.3 * len(train) < len(whole) < 0.7 * len(train)
        assert set(held_out.user) <= set(fit_part.user)
    monkeypatch.undo()
    monkeypatch.setattr(bayesian_model, "_ENOUGH", len(validation))
    ((fit_part, held_out),) = bayesian_model._folds(train, validation, seed=0)
    assert (len(fit_part), len(held_out)) == (len(train), len(validation))


def test_a_blend_is_the_weighted_mean_of_scores() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 6))

    def scores(user, title):
        return user[:, :1] + title[:, :1].T + user[:, 1:] @ title[:, 1:].T

    blended = [bayesian_model._blended([(0.7, a), (0.3, b)]) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(scores(*blended), 0.7 * scores(*first) + 0.3 * scores(*second))


def test_a_weight_blends_the_form_with_the_biases(ratings: Ratings) -> None:
    user, title = (each.ravel() for each in np.indices((40, 50)))
    weights = {1.0: "plain", 0.0: "plain", 0.3: "plain"}
    answers = {
        weight: ask(fit(ratings, SHORT.model_copy(update={"form": form, "form_weight": weight})), user, title)
        for weight, form in weights.items()
    }
    biases = ask(fit(ratings, SHORT.model_copy(update={"form": "biases"})), user, title)
    np.testing.assert_allclose(answers[0.0], biases, atol=1e-5)
    np.testing.assert_allclose(answers[0.3], 0.3 * answers[1.0] + 0.7 * biases, atol=1e-4)
    # Biases have no products.
    square = biases.reshape(40, 50)
    np.testing.assert_allclose(square - square[:1] - square[:, :1] + square[0, 0], 0, atol=1e-4)


def pilot(**columns: Any) -> bayesian_model._Pilot:
    return bayesian_model._Pilot(**{name: np.array(values, np.float64) for name, values in columns.items()})


def test_the_weight_of_a_pilot_is_that_of_the_least_squared_error() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=5000), rng.normal(size=(3, 5000))
    common = {"rating": truth + noise[0], "deviation": np.ones(5000), "monte_carlo": np.zeros(5000)}
    biases, form = pilot(prediction=np.zeros(5000), **common), pilot(prediction=truth + noise[1], **common)
    blended = form.blended_with(biases)
    # Of truth + noise of the same variance, half is to be believed.
    assert blended.weight == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(blended.prediction, blended.weight * form.prediction)
    assert blended.rmse() < min(biases.rmse(), form.rmse())
    # If the noise is known to be the chain's, all of it is: a longer chain will not have it.
    known = dataclasses.replace(form, monte_carlo=np.ones(5000))
    assert known.blended_with(biases).weight == 1.0
    assert known.rmse() == pytest.approx(1.0, abs=0.05)
    assert pilot(prediction=noise[2], **common).blended_with(biases).weight == 0.0


def test_fields_reach_their_places(ratings: Ratings) -> None:
    def tables(**values: Any) -> list[np.ndarray]:
        return [table.numpy() for table in fit(ratings, SHORT.model_copy(update=values)).tables]

    first = tables()
    # Two numbers more are those of what nobody rated.
    assert first[0].shape == (41, 1 + SHORT.export_rank + 2)
    assert tables(export_rank=2)[1].shape == (51, 1 + 2 + 2)
    for values in ({"factors": 2}, {"membership_rank": 2}, {"membership_exponent": 0.9}, {"form": "expressive"}):
        other = tables(**values)
        assert np.abs(first[0][:, 0] - other[0][:, 0]).max() > 1e-5, values
    doubled = fit(ratings, SHORT.model_copy(update={"deviation_scale": 2.0}))
    np.testing.assert_allclose(doubled.deviation(ids([1], [2])), 2 * fit(ratings).deviation(ids([1], [2])), rtol=1e-5)


class KilledError(Exception):
    """Ends a fit where a kill would."""


def test_a_fit_that_was_killed_goes_on_to_the_same_model(ratings: Ratings, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    config = SHORT.model_copy(update={"form": "plain", "form_weight": 0.7, "iterations": 70})
    folder = str(tmp_path / "checkpoints")
    whole = fit(ratings, config, checkpoints=folder)
    assert not tf.io.gfile.exists(folder)

    def killed_at(start: str) -> None:
        def report(text: str) -> None:
            if text.startswith(start):
                raise KilledError

        with pytest.raises(KilledError):
            fit(ratings, config, checkpoints=folder, report=report)

    # In the first chain, in the same again, and in the second.
    killed_at("plain, sweep 40/")
    killed_at("plain, sweep 60/")
    killed_at("biases, sweep 60/")
    lines: list[str] = []
    resumed = fit(ratings, config, checkpoints=folder, report=lines.append)
    assert [line for line in lines if "goes on" in line] == [
        "plain, goes on behind sweep 70/70 of a run that was ended",
        "biases, goes on behind sweep 40/70 of a run that was ended",
    ]
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not tf.io.gfile.exists(folder)
    # What is left of other ratings, or of another seed, is not gone on from.
    killed_at("biases, sweep 60/")
    for kwargs in ({"seed": 1}, {"ratings": ratings.select(np.arange(500))}):
        lines.clear()
        fit(**{"ratings": ratings, "config": config, "report": lines.append, "checkpoints": folder, **kwargs})
        assert not [line for line in lines if "goes on" in line]
        killed_at("plain, sweep 40/")


def test_a_chain_burns_in_for_as_long_as_its_noise_drifts(ratings: Ratings, monkeypatch) -> None:
    def drawn(drifting: int, **values: Any) -> int:
        answers = iter([True] * drifting + [False] * 1000)
        monkeypatch.setattr(rating_chain, "_drift", lambda noises: next(answers))
        chain = Chain(ratings, SHORT, seed=0, pairs=(ratings.user, ratings.title))
        form = bayesian_model.FORMS["plain"]
        return len(chain.run(form, **{"iterations": 100, "burn_in": 10, "tolerance": 1e-9, **values}))

    assert drawn(0) == 90
    assert drawn(2) == 50
    # Half of the sweeps count, whatever they do; and where there is no tolerance, all behind the burn-in.
    assert drawn(99) == 50
    assert drawn(99, tolerance=0.0) == 90


def test_noise_drifts_by_more_than_chance_and_than_matters() -> None:
    noise = np.random.default_rng(0).normal(0.7, 0.002, 100)
    assert not rating_chain._drift(noise.tolist())
    assert rating_chain._drift((noise + np.linspace(0.1, 0, 100)).tolist())
    # What lies before the last forty does not matter.
    assert not rating_chain._drift([*np.linspace(9, 1, 50), *noise].copy())
    small = noise * 0 + 0.7
    small[-20:] += 1e-4
    assert not rating_chain._drift(small.tolist())
    small[-20:] += 1e-3
    assert rating_chain._drift(small.tolist())
    wide = np.random.default_rng(1).normal(0.7, 0.1, 40)
    assert not rating_chain._drift(wide.tolist())
    assert not rating_chain._drift([0.7])


@pytest.mark.parametrize(("errors", "is_better"), [(0.9, False), (1.1, True), (-1.1, False)])
def test_a_form_is_better_than_the_biases_by_a_standard_error(errors: float, is_better: bool) -> None:
    """Of the squared errors, without what the Monte Carlo error adds to either."""
    gain = np.random.default_rng(0).normal(0.0, 1.0, 400)
    gain += errors * gain.std() / 20 - gain.mean()
    nothing = np.zeros(400)
    pilots = [
        bayesian_model._Pilot(rating=rating, prediction=nothing, deviation=nothing, monte_carlo=monte_carlo)
        for rating, monte_carlo in ((np.full(400, 3.0), nothing + 1.0), (np.sqrt(10.0 + gain), nothing + 2.0))
    ]
    assert pilots[0].is_better_than(pilots[1]) is is_better


def test_the_biases_need_no_weight(ratings: Ratings) -> None:
    """They are all there is, whatever weight a configuration names."""
    one, other = (fit(ratings, SHORT.model_copy(update={"form": "biases", "form_weight": w})) for w in (0.0, 1.0))
    for first, second in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(first, second)


def test_exactly_the_sweeps_behind_the_burn_in_count(ratings: Ratings, monkeypatch) -> None:
    added = []
    monkeypatch.setattr(
        bayesian_model.MeanScores, "add", lambda self, users, titles: added.append((users.shape, titles.shape))
    )
    monkeypatch.setattr(bayesian_model.MeanScores, "factors", lambda self: (np.zeros((40, 4)), np.zeros((50, 4))))
    fit(ratings)
    assert added == [((40, 4), (50, 4))] * (SHORT.iterations - SHORT.burn_in)


@pytest.mark.parametrize(("tolerance", "relative"), [(0.03, 1.0), (10.0, 0.0)])
def test_the_chain_ends_when_more_draws_would_change_nothing(ratings: Ratings, tolerance, relative) -> None:
    """For a share of the standard error, or for a thousandth where that is less."""
    lines: list[str] = []
    fit(ratings, SHORT.model_copy(update={"iterations": 2000, "tolerance": tolerance}), report=lines.append)
    errors = [float(line.partition("Monte Carlo error ")[2].partition(" ")[0]) for line in lines]
    bound = tolerance / np.sqrt(2 * len(ratings)) if relative else 1e-3
    assert int(lines[-1].partition("sweep ")[2].partition("/")[0]) < 2000
    assert errors[-1] < 1.05 * bound  # Two digits are told.
    assert all(error >= 0.95 * bound for error in errors[:-1])


def test_deviations_hold_the_shares_they_should() -> None:
    train, test = halves(artificial(seed=3, users=150, titles=120, share=0.6), 0.7)
    chosen = bayesian_model.choose(*halves(train), BayesianConfig(iterations=150), seed=0, report=quiet).config
    model = fit(train, chosen)
    error = np.abs(test.rating - ask(model, test.user, test.title))
    shares = shares_inside(error / model.deviation(ids(test.user, test.title)).numpy()[:, 0])
    np.testing.assert_allclose(shares, [0.5, 0.8, 0.95], atol=0.04)
    # One is less sure of what nobody rated.
    known, new_user, new_title = (model.deviation(ids(*pair)).numpy().mean() for pair in (
        (test.user, test.title), ([150] * 120, np.arange(120)), (np.arange(150), [120] * 150),
    ))  # fmt: skip
    assert new_user > known
    assert new_title > known


def test_careless_users_are_predicted_with_less_confidence() -> None:
    ratings = artificial(seed=5, users=30, titles=60, share=0.8, noise=0.2)
    rating = ratings.rating.copy()
    careless = ratings.user == 4
    rating[careless] += np.random.default_rng(0).normal(0, 2.0, careless.sum())
    model = fit(dataclasses.replace(ratings, rating=rating), SHORT.model_copy(update={"form": "plain"}))
    deviations = model.deviation(ids(np.arange(30), np.zeros(30))).numpy()[:, 0]
    assert np.argmax(deviations) == 4


def test_unknown_titles_are_made_of_their_features(model: EmbeddingModel, ratings: Ratings) -> None:
    plain, zeros, liked, disliked = (
        ask(model, [2], [50], **features).item()
        for features in (
            {},
            {"title_features": [[0, 0, 0, 0, 0]]},
            {"title_features": [[1, 0, 0, 1, 0]]},
            {"title_features": [[0, 1, 0, 1, 0]]},
        )
    )
    assert plain == zeros
    assert liked > disliked + 0.5
    assert ratings.rating.min() < disliked < liked < ratings.rating.max()


def test_titles_left_out_at_random_are_rated_without_bias() -> None:
    made = synthetic.generate(20_000, seed=1, users=300, titles=400)
    everything = Ratings(
        user=made.user,
        title=made.title,
        rating=made.rating,
        num_users=300,
        num_titles=400,
        low=1.0,
        high=5.0,
        user_features=np.zeros((300, FLAGS), np.float32),
        title_features=np.zeros((400, FLAGS), np.float32),
    )
    gone = np.isin(everything.title, np.random.default_rng(0).choice(400, 40, replace=False))
    model = fit(everything.select(~gone), BayesianConfig(form="plain", iterations=100, burn_in=30))
    held_out = everything.select(gone)
    predictions = ask(model, held_out.user, np.full(len(held_out), 400))
    assert abs(np.mean(predictions - held_out.rating)) < 0.1
    by_user = UserTitleBias.fit(everything.select(~gone)).predict(held_out.user, np.full(len(held_out), 400))
    assert rmse(held_out.rating, predictions) < 1.01 * rmse(held_out.rating, by_user)


def test_one_rating_moves_a_user_part_of_the_way(ratings: Ratings) -> None:
    """A single high rating raises the user's scores, but far less than it deviates."""
    rows = np.flatnonzero((ratings.user != 0) | (np.arange(len(ratings)) == 0))
    one = ratings.select(rows)
    base, raised = (
        dataclasses.replace(one, rating=np.concatenate([[value], one.rating[1:]]).astype(np.float32))
        for value in (3.0, 5.0)
    )
    config = SHORT.model_copy(update={"iterations": 200, "burn_in": 50})
    low, high = (ask(fit(each, config), np.zeros(50), np.arange(50)).mean() for each in (base, raised))
    assert 0.02 < high - low < 1.5


@pytest.mark.parametrize("rows", [[0], [0, 1], slice(0, 25)], ids=["one rating", "one user", "a few users"])
def test_thin_data_gives_finite_ratings(ratings: Ratings, rows: Any) -> None:
    model = fit(ratings.select(rows))
    user, title = (each.ravel() for each in np.indices((41, 51)))
    assert np.isfinite(ask(model, user, title)).all()
    assert (model.deviation(ids(user, title)).numpy() > 0).all()


def test_equal_ratings_are_predicted_as_they_are(ratings: Ratings) -> None:
    equal = dataclasses.replace(ratings, rating=np.full(len(ratings), 4.0, np.float32))
    user, title = (each.ravel() for each in np.indices((41, 51)))
    np.testing.assert_allclose(ask(fit(equal), user, title), 4.0, atol=0.05)


def test_features_that_nobody_has_make_no_difference(ratings: Ratings) -> None:
    zeros = dataclasses.replace(ratings, title_features=np.zeros((50, 3 + FLAGS), np.float32))
    bare = dataclasses.replace(zeros, title_features=np.zeros((50, 0), np.float32))
    one, other = (fit(each) for each in (zeros, bare))
    np.testing.assert_array_equal(ask(one, [1, 1], [2, 50]), ask(other, [1, 1], [2, 50]))


def test_no_operation_runs_on_one_core_or_without_a_deterministic_kernel(ratings: Ratings) -> None:
    """Sparse products have no deterministic kernel on GPUs, nor have sums into repeated places."""
    chain = Chain(ratings, SHORT, seed=0, pairs=(ratings.user, ratings.title))
    operations = operations_of(chain._sweep)
    assert "BatchMatMulV2" in operations
    refused = ("Sparse", "Segment", "Scatter", "Bincount", "Bias")
    assert not [each for each in operations if any(name in each for name in refused)]


def test_a_last_user_and_title_without_ratings_change_nothing_for_the_others(ratings: Ratings) -> None:
    """As where they are held out: what fills up rows of ratings must not be taken for theirs."""
    one_more = dataclasses.replace(
        ratings,
        num_users=41,
        num_titles=51,
        user_features=np.pad(ratings.user_features, ((0, 1), (0, 0))),
        title_features=np.pad(ratings.title_features, ((0, 1), (0, 0))),
    )
    chains = [Chain(each, SHORT, seed=0, pairs=(each.user, each.title)) for each in (ratings, one_more)]
    vectors = np.random.default_rng(0).normal(size=(51, 1 + SHORT.factors)).astype(np.float32)
    sums = []
    for chain, titles in zip(chains, (50, 51), strict=True):
        (gram,) = chain._sampler.users.ratings.map(
            tf.constant(vectors[:titles]), tf.ones([titles]), lambda each, rows: (each.products[:, :-1, :-1],)
        )
        sums.append(gram.numpy()[:40])
    np.testing.assert_allclose(*sums, rtol=1e-5)
