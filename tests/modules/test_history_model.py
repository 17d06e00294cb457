import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from modules import baselines, history_model, metrics
from modules.model_configs import HistoryConfig
from modules.ratings import Ratings

SMALL = HistoryConfig(dimension=4, hidden_units=6, epochs=3, steps=10)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    title_features = (rng.random((30, 3)) < 0.5).astype(np.float32)
    title_features[:, 2] = 0  # Never used.
    scores = 3 + rng.normal(0, 0.5, (20, 1)) + 2 * title_features[:, 0] - 1
    scores = scores + rng.normal(size=(20, 2)) @ rng.normal(0, 0.3, (2, 30))
    user, title = np.nonzero(rng.random((20, 30)) < 0.6)
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=(scores[user, title] + rng.normal(0, 0.2, len(user))).astype(np.float32),
        num_users=20,
        num_titles=30,
        low=0.0,
        high=6.0,
        user_features=np.zeros((20, 2), np.float32),
        title_features=title_features,
    )


def fit(ratings, config=SMALL, seed=0, log_dir=None, report=lambda text: None):
    return history_model.fit(ratings, config, seed=seed, log_dir=log_dir, report=report)


def ask(model, user, title, **features):
    ids = {"user_id": tf.constant(user, tf.int64), "movie_title": tf.constant(title, tf.int64)}
    return model(ids | {name: tf.constant(value, tf.float32) for name, value in features.items()}).numpy()


@pytest.fixture(scope="module")
def model(ratings):
    return fit(ratings)


def error(model, ratings):
    predictions = np.clip(ask(model, ratings.user, ratings.title)[:, 0], ratings.low, ratings.high)
    return metrics.rmse(ratings.rating, predictions)


def expected_row(ratings, pooled, side, row, visible, known):
    """The docstring's equation for one user (side 0) or title (side 1), rating by rating."""
    own, other = (ratings.user, ratings.title) if side == 0 else (ratings.title, ratings.user)
    features = (ratings.user_features, ratings.title_features)[side]
    deviation = (ratings.rating - ratings.rating.mean(dtype=np.float64)) / ratings.rating.std(dtype=np.float64)
    vector = pooled._common[side].numpy()[0] + features[row] @ pooled._feature_vectors[side].numpy()
    if not known:
        return vector
    vector = vector + pooled._own[side].numpy()[row]
    count = np.sum(own == row)
    terms = []
    for k in np.flatnonzero((own == row) & (visible == 1)):
        same = other == other[k]
        mean = deviation[same].sum() / (same.sum() + 5)
        rated, member = (
            pooled._rating_vectors[side].numpy()[other[k]],
            pooled._member_vectors[side].numpy()[other[k]],
        )
        terms.append((deviation[k] - mean) * rated + member)
    return vector + (np.sqrt(count) * count / (count + 3) * np.mean(terms, axis=0) if terms else 0)


def test_rows_are_the_equation(ratings):
    rng = np.random.default_rng(1)
    pooled = history_model._PooledVectors(ratings, SMALL, rng)
    for vectors in pooled._feature_vectors:
        vectors.assign(rng.normal(size=vectors.shape))
    visible = (rng.random(len(ratings)) < 0.5).astype(np.float32)
    visible[ratings.user == 7] = 0
    known = [(rng.random(size) < 0.8).astype(np.float32) for size in (20, 30)]
    for side, rows in enumerate(pooled.rows(visible, *known)):
        for row in range(rows.shape[0]):
            expected = expected_row(ratings, pooled, side, row, visible, known[side][row])
            np.testing.assert_allclose(rows[row], expected, rtol=1e-4, atol=1e-5)


def test_hidden_rating_does_not_reach_its_own_user_and_title(ratings):
    """Exchanges a hidden rating with another, so that mean and deviation stay, and expects the same two rows."""
    hidden = 0
    user, title = ratings.user[hidden], ratings.title[hidden]
    titles_of_user, users_of_title = ratings.title[ratings.user == user], ratings.user[ratings.title == title]
    balance = np.flatnonzero(~np.isin(ratings.title, titles_of_user) & ~np.isin(ratings.user, users_of_title))[0]
    changed = ratings.rating.copy()
    changed[[hidden, balance]] = changed[[balance, hidden]]
    assert changed[hidden] != ratings.rating[hidden]
    visible = np.ones(len(ratings), np.float32)
    visible[hidden] = 0
    before, after = (
        history_model._PooledVectors(each, SMALL, np.random.default_rng(1)).rows(visible, tf.ones(20), tf.ones(30))
        for each in (ratings, dataclasses.replace(ratings, rating=changed))
    )
    np.testing.assert_allclose(before[0][user], after[0][user], atol=1e-6)
    np.testing.assert_allclose(before[1][title], after[1][title], atol=1e-6)
    visible[hidden] = 1
    seen = history_model._PooledVectors(ratings, SMALL, np.random.default_rng(1)).rows(
        visible, tf.ones(20), tf.ones(30)
    )
    assert np.abs(seen[0][user] - before[0][user]).max() > 1e-3


def test_call_is_the_equation(model, ratings):
    user_table, title_table = (table.numpy() for table in model.tables[:2])
    kernel, bias, last_kernel, last_bias = (variable.numpy() for variable in model.network_variables)
    mean, scale = ratings.rating.mean(dtype=np.float64), ratings.rating.std(dtype=np.float64)
    user, title = np.array([3, 0, 19]), np.array([7, 29, 0])
    u, t = user_table[user], title_table[title]
    hidden = np.maximum(np.concatenate([u[:, 1:], t[:, 1:]], axis=1) @ kernel + bias, 0) @ last_kernel + last_bias
    expected = mean + scale * (u[:, 0] + t[:, 0] + np.sum(u[:, 1:] * t[:, 1:], axis=1) + hidden[:, 0])
    predictions = ask(model, user, title)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions[:, 0], expected, rtol=1e-5)


def test_without_network_the_score_is_a_product(ratings):
    model = fit(ratings, SMALL.model_copy(update={"hidden_units": 0}))
    assert model.network_variables == []
    u, t = model.tables[0].numpy()[[3]], model.tables[1].numpy()[[7]]
    expected = ratings.rating.mean() + ratings.rating.std() * (u[0, 0] + t[0, 0] + u[0, 1:] @ t[0, 1:])
    assert ask(model, [3], [7]).item() == pytest.approx(expected, rel=1e-5)


def test_learns_what_the_biases_do_not(ratings):
    held_out = np.random.default_rng(0).random(len(ratings)) < 0.2
    train, test = ratings.select(~held_out), ratings.select(held_out)
    model = fit(train, HistoryConfig(dimension=4, hidden_units=6, epochs=30, steps=20, regularization=0.01))
    assert error(model, test) < 0.7 * metrics.rmse(test.rating, np.full(len(test), train.rating.mean()))


def test_unknown_title_is_made_of_its_features(ratings):
    model = fit(ratings, SMALL.model_copy(update={"epochs": 40, "unknown_share": 0.1}))
    liked, disliked = (ask(model, [2], [30], title_features=[features]).item() for features in ([1, 0, 0], [0, 0, 0]))
    assert liked > disliked + 0.5
    assert ratings.low < disliked < liked < ratings.high


def test_choose_keeps_the_best_epoch_and_its_trajectory(ratings):
    rng = np.random.default_rng(0)
    noise = dataclasses.replace(ratings, rating=rng.normal(3, 1, len(ratings)).astype(np.float32))
    held_out = rng.random(len(ratings)) < 0.2
    train, validation = noise.select(~held_out), noise.select(held_out)
    # There is nothing to learn but noise, so that the held-out error rises.
    config = SMALL.model_copy(update={"epochs": 12, "learning_rate": 0.03, "regularization": 0.0})
    lines = []
    chosen = history_model.choose(train, validation, config, seed=3, report=lines.append).config
    *epochs, last = lines
    errors = [float(line.rsplit(" ", 1)[1]) for line in epochs]
    assert len(errors) == 12
    assert chosen.epochs == np.argmin(errors) + 1 < 12
    assert last == f"{chosen.epochs} epochs, weight {chosen.model_weight:.2f} beside biases"
    expected = {"epochs": chosen.epochs, "schedule_epochs": 12, "model_weight": chosen.model_weight}
    assert chosen == config.model_copy(update=expected)
    alone = chosen.model_copy(update={"model_weight": 1.0})
    assert error(fit(train, alone, seed=3), validation) == pytest.approx(min(errors), abs=6e-5)


def test_a_weight_blends_with_the_biases(ratings):
    user, title = (each.ravel() for each in np.indices((21, 31)))
    alone, blended = (
        ask(fit(ratings, SMALL.model_copy(update={"model_weight": each})), user, title) for each in (1, 0.3)
    )
    biases = baselines.UserTitleBias.fit(ratings).predict(user, title)
    np.testing.assert_allclose(blended.ravel(), 0.3 * alone.ravel() + 0.7 * biases, atol=1e-4)


@pytest.mark.parametrize(("factor", "shift"), [(20.0, 0.0), (0.25, -0.25), (1.0, 100.0)])
def test_another_unit_changes_nothing_but_the_unit(ratings, factor, shift):
    stars = dataclasses.replace(ratings, rating=np.round(ratings.rating))
    other = dataclasses.replace(stars, rating=(factor * stars.rating + shift).astype(np.float32))
    user, title = (each.ravel() for each in np.indices((21, 31)))
    expected = factor * ask(fit(stars), user, title) + shift
    np.testing.assert_allclose(ask(fit(other), user, title), expected, rtol=1e-4, atol=1e-4 * factor)


def test_one_device_by_a_strategy_fits_what_it_fits_without(ratings):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    plain, dealt_out = [], []
    alone = history_model.fit(ratings, SMALL, seed=1, log_dir=None, report=plain.append)
    other = history_model.fit(ratings, SMALL, seed=1, log_dir=None, report=dealt_out.append, strategy=strategy)
    user, title = (each.ravel() for each in np.indices((21, 31)))
    np.testing.assert_allclose(ask(alone, user, title), ask(other, user, title), atol=1e-4)
    losses = [[float(line.rsplit(" ", 1)[1]) for line in lines] for lines in (plain, dealt_out)]
    assert plain[0].startswith("epoch 1/3, ")
    np.testing.assert_allclose(*losses, atol=2e-4)


def test_regularised_vectors_are_short(ratings):
    free, short = (
        sum(
            float(tf.reduce_sum(table**2))
            for table in fit(ratings, SMALL.model_copy(update={"regularization": r})).tables
        )
        for r in (0.0, 5.0)
    )
    assert short < 0.3 * free


def test_nothing_to_choose_on(ratings):
    empty = ratings.select(np.zeros(0, int))
    with pytest.raises(ValueError, match="expected at least one rating to choose on"):
        history_model.choose(ratings, empty, SMALL, seed=0, report=lambda text: None)
