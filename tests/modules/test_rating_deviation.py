"""Deviations of predictions: moments against stacked draws, batch means, products of rows, calibration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from modules import rating_deviation
from modules.rating_deviation import LEVELS, ScoreMoments, calibrating_factor, shares_inside

USER, TITLE = np.array([0, 0, 1, 2]), np.array([1, 0, 1, 0])


def filled(draws: np.ndarray, traced: int = 4) -> ScoreMoments:
    """Moments of float [draws, 3, pairs]: expected scores, drawn ones, noise."""
    moments = ScoreMoments(USER, TITLE, traced=traced)
    for draw in draws:
        moments.add(*draw)
    return moments


@pytest.fixture
def draws(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.5, 2.0, (25, 3, 4))


def test_moments_are_those_of_the_stacked_draws(draws: np.ndarray) -> None:
    moments = filled(draws)
    expected, drawn, noise = draws.transpose(1, 0, 2)
    assert len(moments) == 25
    np.testing.assert_allclose(moments.mean(), expected.mean(axis=0))
    np.testing.assert_allclose(moments.variance(), drawn.var(axis=0) + noise.mean(axis=0))
    assert moments.noise() == pytest.approx(noise.mean())


def test_cleared_moments_are_as_new(draws: np.ndarray) -> None:
    moments = filled(draws)
    moments.clear()
    assert len(moments) == 0
    for draw in draws[:20]:
        moments.add(*draw)
    other = filled(draws[:20])
    np.testing.assert_array_equal(moments.variance(), other.variance())
    np.testing.assert_array_equal(moments.mean(), other.mean())
    assert moments.noise() == other.noise()
    assert moments.monte_carlo_error() == other.monte_carlo_error()


def test_one_draw_has_the_variance_of_the_noise() -> None:
    # In float32 the mean of the squares may lie below the square of the mean.
    draw = np.float32([[0.1, 0.2, 0.3, 0.7]] * 3)
    np.testing.assert_allclose(filled([draw]).variance(), draw[2], rtol=1e-6)
    np.testing.assert_array_less(0.0999, filled([draw] * 7).variance())


def test_batch_means_are_those_of_the_last_whole_batches(draws: np.ndarray) -> None:
    moments = filled(draws, traced=3)
    # Of 25 draws the last 20 make ten pairs.
    pairs = draws[5:, 0, :3].reshape(10, 2, 3).mean(axis=1)
    assert moments.monte_carlo_error() == pytest.approx(np.mean(pairs.var(axis=0, ddof=1)) / 10)


@pytest.mark.parametrize("number", [0, 1, 19])
def test_too_few_draws_have_an_infinite_error(number: int, draws: np.ndarray) -> None:
    assert filled(draws[:number]).monte_carlo_error() == np.inf
    assert np.isfinite(filled(draws[:20]).monte_carlo_error())


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_monte_carlo_error_is_that_of_an_autoregressive_chain(correlation: float, rng) -> None:
    """Its asymptotic variance is (1 + r) / (1 - r) that of a state, r the correlation of neighbours."""
    pairs, number = 300, 2000
    moments = ScoreMoments(np.zeros(pairs, int), np.zeros(pairs, int), traced=pairs)
    state = rng.normal(size=pairs)
    for _ in range(number):
        moments.add(state, state, np.ones(pairs))
        state = correlation * state + np.sqrt(1 - correlation**2) * rng.normal(size=pairs)
    expected = (1 + correlation) / (1 - correlation) / number
    # A mean of 300 chi-squares of nine degrees of freedom has a relative standard error of .027.
    assert moments.monte_carlo_error() == pytest.approx(expected, rel=0.12)


def product(users: int, titles: int, rng) -> tuple[ScoreMoments, np.ndarray, np.ndarray]:
    """Moments of every pair, whose deviations are exact products x y."""
    x, y = rng.uniform(0.5, 2.0, users), rng.uniform(0.5, 2.0, titles)
    user, title = (each.ravel() for each in np.indices((users, titles)))
    moments = ScoreMoments(user, title, traced=1)
    score = rng.normal(size=len(user))
    for _ in range(2):
        moments.add(score, score, np.square(x[user] * y[title]))
    return moments, x, y


def test_deviations_that_are_products_are_found(rng) -> None:
    moments, x, y = product(200, 150, rng)
    of_user, of_title = moments.by_row(200, 150)
    found = np.outer(of_user[:-1], of_title[:-1])
    # Two pairs without any deviation damp those of 150 and 200.
    np.testing.assert_allclose(np.log(found), np.log(np.outer(x, y)), atol=0.03)
    assert np.corrcoef(np.log(of_user[:-1]), np.log(x))[0, 1] > 0.9999
    # Of one without pairs the typical deviation is known.
    assert of_user[-1] == pytest.approx(np.exp(np.log(np.outer(x, y)).mean()), rel=1e-6)
    assert of_title[-1] == 1.0


def test_deviations_are_damped_by_two_pairs(rng, monkeypatch) -> None:
    moments, x, y = product(4, 3, rng)
    monkeypatch.setattr(rating_deviation, "_SWEEPS", 200)
    of_user, of_title = moments.by_row(5, 3)
    level = 2 * np.log(np.outer(x, y))
    users, titles = np.zeros(4), np.zeros(3)
    for _ in range(500):
        users = np.sum(level - level.mean() - titles, axis=1) / (3 + 2)
        titles = np.sum(level - level.mean() - users[:, np.newaxis], axis=0) / (4 + 2)
    np.testing.assert_allclose(2 * np.log(of_user), level.mean() + np.append(users, [0, 0]), atol=1e-6)
    np.testing.assert_allclose(2 * np.log(of_title), np.append(titles, 0), atol=1e-6)


def test_deviations_settle_within_the_sweeps(rng, monkeypatch) -> None:
    moments, *_ = product(6, 5, rng)
    few = moments.by_row(6, 5)
    monkeypatch.setattr(rating_deviation, "_SWEEPS", 500)
    for one, other in zip(few, moments.by_row(6, 5), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_no_variance_at_all_is_finite() -> None:
    moments = filled(np.zeros((3, 3, 4)))
    of_user, of_title = moments.by_row(3, 2)
    np.testing.assert_allclose(of_user, 1e-6)
    np.testing.assert_allclose(of_title, 1.0)


@pytest.mark.parametrize("factor", [1e-3, 0.4, 1.0, 1.7, 300.0])
def test_the_factor_is_that_by_which_errors_are_too_large(factor: float, rng) -> None:
    errors = np.abs(factor * rng.normal(size=100_000))
    assert calibrating_factor(errors) == pytest.approx(factor, rel=0.03)
    np.testing.assert_allclose(shares_inside(errors / calibrating_factor(errors)), LEVELS, atol=0.01)


@pytest.mark.parametrize(("errors", "factor"), [([], 1.0), ([0.0] * 5, 1.0), ([3.9] * 5, 3.9 / 1.2816)])
def test_factors_of_odd_errors(errors: list[float], factor: float) -> None:
    """None; perfect ones; equal ones, which lie inside two of the intervals if divided by that factor or more."""
    assert calibrating_factor(np.array(errors)) == pytest.approx(factor, rel=0.02)


def test_shares_of_normal_errors_are_the_levels() -> None:
    quantiles = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    np.testing.assert_allclose(shares_inside(np.abs(quantiles)), LEVELS, atol=1e-4)
    bounds = stats.norm.ppf(0.5 + np.array(LEVELS) / 2)
    assert shares_inside(bounds - 1e-9) == [1 / 3, 2 / 3, 1.0]
    assert shares_inside(bounds + 1e-9) == [0.0, 1 / 3, 2 / 3]
