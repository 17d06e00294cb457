"""Chains over ratings: what they gather, what they go on from, and when they end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from modules import rating_chain
from modules.gibbs_sampler import Form
from modules.mean_scores import MeanScores
from modules.model_configs import BayesianConfig
from modules.rating_chain import Chain
from modules.rating_deviation import ScoreMoments
from modules.ratings import Ratings
from tests.modules.test_bayesian_model import artificial

FORM = Form(prior_rate=1e-3)
CONFIG = BayesianConfig(factors=2, iterations=30, burn_in=10)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    return artificial(users=12, titles=15, share=0.7)


@pytest.fixture(scope="module")
def chain(ratings: Ratings) -> Chain:
    return Chain(ratings, CONFIG, seed=0, pairs=(ratings.user[:50], ratings.title[:50]))


def test_moments_are_those_of_the_vectors_that_are_exported(ratings: Ratings, chain: Chain) -> None:
    scores = MeanScores(100)
    noises: list[float] = []
    moments = chain.run(
        Form(learns_noise=False),
        iterations=9,
        burn_in=3,
        scores=scores,
        log=lambda name, value, step: noises.append(value),
    )
    users, titles = scores.factors()
    users, titles = users[ratings.user[:50]], titles[ratings.title[:50]]
    expected = users[:, 0] + titles[:, 0] + np.sum(users[:, 1:] * titles[:, 1:], axis=1)
    assert len(moments) == 6
    np.testing.assert_allclose(moments.mean(), expected, atol=1e-5)
    np.testing.assert_allclose(chain.in_stars(expected), ratings.rating.mean() + ratings.rating.std() * expected)
    # Without noise of each user and title it is that of the sweeps that count.
    assert moments.noise() == pytest.approx(np.mean(np.square(noises[3:])), rel=1e-5)


def test_a_chain_goes_on_from_where_the_one_before_has_ended(chain: Chain) -> None:
    # A rate that never changes, since nothing is protected.
    whole = chain.run(FORM, iterations=5, burn_in=0)
    parts = [chain.run(FORM, iterations=3, burn_in=0), chain.run(FORM, iterations=2, burn_in=0, goes_on=True)]
    together = (3 * parts[0].mean() + 2 * parts[1].mean()) / 5
    np.testing.assert_allclose(together, whole.mean(), atol=1e-6)
    np.testing.assert_array_equal(chain.run(FORM, iterations=3, burn_in=0).mean(), parts[0].mean())


@pytest.mark.parametrize(("goes_on", "protected"), [(False, 3), (True, 0)])
def test_factors_are_protected_in_the_first_half_of_the_burn_in(chain: Chain, monkeypatch, goes_on, protected) -> None:
    rates = []
    sweep = chain._sweep

    def recorded(number: tf.Tensor, rate: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rates.append(float(rate))
        return sweep(number, rate, counts)

    monkeypatch.setattr(chain, "_sweep", recorded)
    chain.run(FORM, iterations=9, burn_in=6, goes_on=goes_on)
    np.testing.assert_allclose(rates, [Form().prior_rate] * protected + [FORM.prior_rate] * (9 - protected))


class Certain(ScoreMoments):
    """Moments whose Monte Carlo error is told, in shares of the RMSE."""

    errors: Iterator[float]

    def noise(self) -> float:
        return 4.0

    def monte_carlo_error(self) -> float:
        return 4.0 * 2.0 * next(self.errors)


def ended(chain: Chain, monkeypatch: pytest.MonkeyPatch, tolerance: float, *errors: float) -> tuple[int, list[str]]:
    """After how many sweeps the chain ends where these are its errors behind 20 sweeps, 40 and so on."""
    monkeypatch.setattr(rating_chain, "ScoreMoments", Certain)
    monkeypatch.setattr(Certain, "errors", iter(errors), raising=False)
    monkeypatch.setattr(rating_chain, "_drift", lambda noises: False)
    lines: list[str] = []
    chain.run(FORM, iterations=60, burn_in=2, tolerance=tolerance, report=lines.append)
    return int(lines[-1].partition("sweep ")[2].partition("/")[0]), lines


def test_a_chain_ends_when_its_error_is_a_share_of_that_of_the_ratings(ratings: Ratings, chain, monkeypatch) -> None:
    """The standard error that the RMSE has over as many normal errors: 1 / sqrt(2 n) of it."""
    tolerance = 5e-4 * np.sqrt(2 * len(ratings))
    assert ended(chain, monkeypatch, tolerance, 5.1e-4, 4.9e-4)[0] == 40
    assert ended(chain, monkeypatch, tolerance, 4.9e-4)[0] == 20
    # More than a thousandth would be seen, and less than two ten-thousandths cannot be.
    assert ended(chain, monkeypatch, 100.0, 1.1e-3, 0.9e-3)[0] == 40
    assert ended(chain, monkeypatch, 1e-9, 2.1e-4, 1.9e-4)[0] == 40
    # Without a tolerance it takes all of its sweeps.
    last, lines = ended(chain, monkeypatch, 0.0, 1e-9, 1e-9, 1e-9)
    assert last == 60
    assert not any("at most" in line for line in lines)


def test_progress_says_that_the_chain_may_end_sooner(chain: Chain, monkeypatch) -> None:
    _, lines = ended(chain, monkeypatch, 1e-9, 1.0, 2.0, 3.0)
    assert [line.partition(",")[0].partition("/")[0] for line in lines] == ["sweep 20", "sweep 40", "sweep 60"]
    assert ["at most" in line for line in lines] == [True, True, False]
    assert lines[0].endswith("Monte Carlo error 1.0e+00 of RMSE")


def test_no_ratings_are_refused(ratings: Ratings) -> None:
    none = ratings.select(np.zeros(0, int))
    with pytest.raises(ValueError, match="expected at least one rating to fit"):
        Chain(none, CONFIG, seed=0, pairs=(none.user, none.title))
