import numpy as np
import pytest

from modules import baselines
from modules.ratings import Ratings


def make_ratings(rows, num_users, num_titles):
    user, title, rating = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=rating.astype(np.float32),
        num_users=num_users,
        num_titles=num_titles,
        low=1.0,
        high=5.0,
        user_features=np.zeros((num_users, 0), np.float32),
        title_features=np.zeros((num_titles, 0), np.float32),
    )


@pytest.fixture
def ratings():
    rng = np.random.default_rng(0)
    rows = [(u, t, rng.integers(1, 6)) for u in range(6) for t in range(8) if rng.random() < 0.6]
    return make_ratings(rows, num_users=7, num_titles=9)


def test_global_mean(ratings):
    model = baselines.GlobalMean.fit(ratings)
    predictions = model.predict(np.array([0, 99]), np.array([3, 99]))
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions, ratings.rating.mean(), rtol=1e-6)


def test_title_mean_by_hand():
    model = baselines.TitleMean.fit(make_ratings([(0, 0, 5), (1, 0, 4), (0, 1, 3)], 2, 3), damping=1.0)
    # Global mean 4; title 2 has no rating, titles 3 and 50 are unknown.
    expected = [(9 + 4) / 3, (3 + 4) / 2, 4, 4, 4]
    np.testing.assert_allclose(
        model.predict(np.array([0, 0, 1, 9, 1]), np.array([0, 1, 2, 3, 50])), expected, rtol=1e-6
    )


def test_biases_minimise_the_damped_squared_error(ratings):
    """The normal equations, solved at once, are the oracle of the alternation."""
    model = baselines.UserTitleBias.fit(ratings, user_damping=3.0, title_damping=2.0, sweeps=200)
    design = np.zeros((len(ratings), 7 + 9))
    rows = np.arange(len(ratings))
    design[rows, ratings.user] = 1
    design[rows, 7 + ratings.title] = 1
    damping = np.diag([3.0] * 7 + [2.0] * 9)
    mean = ratings.rating.astype(np.float64).mean()
    biases = np.linalg.solve(design.T @ design + damping, design.T @ (ratings.rating.astype(np.float64) - mean))
    np.testing.assert_allclose(model.user_bias[:7], biases[:7], atol=1e-9)
    np.testing.assert_allclose(model.title_bias[:9], biases[7:], atol=1e-9)
    predictions = model.predict(ratings.user, ratings.title)
    np.testing.assert_allclose(predictions, mean + design @ biases, rtol=1e-5)


def test_ten_sweeps_suffice(ratings):
    short = baselines.UserTitleBias.fit(ratings).predict(ratings.user, ratings.title)
    long = baselines.UserTitleBias.fit(ratings, sweeps=500).predict(ratings.user, ratings.title)
    np.testing.assert_allclose(short, long, atol=1e-3)


def test_unknown_user_and_title_have_no_bias(ratings):
    model = baselines.UserTitleBias.fit(ratings)
    unknown_user, unknown_title, both = model.predict(np.array([7, 2, 1000]), np.array([4, 9, 1000]))
    assert unknown_user == pytest.approx(model.mean + model.title_bias[4], rel=1e-6)
    assert unknown_title == pytest.approx(model.mean + model.user_bias[2], rel=1e-6)
    assert both == pytest.approx(model.mean, rel=1e-6)
    # They are nobody else, though the last one of those that are known has ratings.
    last = make_ratings([(0, 0, 5), (1, 1, 4), (1, 0, 1)], num_users=2, num_titles=2)
    model = baselines.UserTitleBias.fit(last)
    assert model.predict(np.array([2]), np.array([2])) == pytest.approx(10 / 3, rel=1e-6)
    assert model.predict(np.array([1]), np.array([1])) != pytest.approx(10 / 3, rel=1e-3)


def test_predicting_nothing(ratings):
    for kind in (baselines.GlobalMean, baselines.TitleMean, baselines.UserTitleBias):
        assert kind.fit(ratings).predict(np.zeros(0, int), np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("kind", [baselines.GlobalMean, baselines.TitleMean, baselines.UserTitleBias])
def test_nothing_to_fit(kind):
    with pytest.raises(ValueError, match="expected at least one rating"):
        kind.fit(make_ratings([], 2, 2))


def test_negative_damping(ratings):
    with pytest.raises(ValueError, match="damping must be at least 0; got -1"):
        baselines.TitleMean.fit(ratings, damping=-1)
    with pytest.raises(ValueError, match="damping must be at least 0; got -1"):
        baselines.UserTitleBias.fit(ratings, user_damping=-1)


def test_the_blending_weight_is_that_of_the_least_squared_error():
    rng = np.random.default_rng(0)
    truth, *noise = rng.normal(size=(4, 5000))
    simple, better = np.zeros(5000), truth + noise[1]
    weight = baselines.blending_weight(truth + noise[0], better, simple)
    # Of truth and noise of one variance, half is to be believed.
    assert weight == pytest.approx(0.5, abs=0.05)
    grid = np.linspace(0, 1, 101)
    errors = [np.mean((truth + noise[0] - each * better) ** 2) for each in grid]
    assert weight == pytest.approx(grid[np.argmin(errors)], abs=0.006)
    # All of it, if that noise is known to go.
    assert baselines.blending_weight(truth + noise[0], better, simple, noise=1.0) == 1.0
    assert baselines.blending_weight(truth + noise[0], noise[2], simple) == 0.0
    assert baselines.blending_weight(truth + noise[0], simple, simple) == 0.0
    assert baselines.blending_weight(truth + noise[0], truth, simple) == 1.0
