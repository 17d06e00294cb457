import dataclasses
import subprocess
import sys

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from modules import history_model, metrics
from modules.history_model import HistoryConfig
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


def expected_row(ratings, history, side, row, visible, known):
    """The docstring's equation for one user (side 0) or title (side 1), rating by rating."""
    own, other = (ratings.user, ratings.title) if side == 0 else (ratings.title, ratings.user)
    features = (ratings.user_features, ratings.title_features)[side]
    deviation = ratings.rating.astype(np.float64) - ratings.rating.astype(np.float64).mean()
    vector = history._common[side].numpy()[0] + features[row] @ history._feature_vectors[side].numpy()
    if not known:
        return vector
    vector = vector + history._own[side].numpy()[row]
    count = np.sum(own == row)
    terms = []
    for k in np.flatnonzero((own == row) & (visible == 1)):
        same = other == other[k]
        mean = deviation[same].sum() / (same.sum() + 5)
        rated, member = history._rated[side].numpy()[other[k]], history._member[side].numpy()[other[k]]
        terms.append((deviation[k] - mean) * rated + member)
    return vector + (np.sqrt(count) * count / (count + 3) * np.mean(terms, axis=0) if terms else 0)


def test_rows_are_the_equation(ratings):
    rng = np.random.default_rng(1)
    history = history_model._History(ratings, SMALL, rng)
    for vectors in history._feature_vectors:
        vectors.assign(rng.normal(size=vectors.shape))
    visible = (rng.random(len(ratings)) < 0.5).astype(np.float32)
    visible[ratings.user == 7] = 0
    known = [(rng.random(size) < 0.8).astype(np.float32) for size in (20, 30)]
    for side, rows in enumerate(history.rows(visible, *known)):
        for row in range(rows.shape[0]):
            expected = expected_row(ratings, history, side, row, visible, known[side][row])
            np.testing.assert_allclose(rows[row], expected, rtol=1e-4, atol=1e-5)


def test_hidden_rating_does_not_reach_its_own_user_and_title(ratings):
    """Changes a hidden rating, and another that keeps the mean, and expects the same two rows."""
    hidden = 0
    user, title = ratings.user[hidden], ratings.title[hidden]
    titles_of_user, users_of_title = ratings.title[ratings.user == user], ratings.user[ratings.title == title]
    balance = np.flatnonzero(~np.isin(ratings.title, titles_of_user) & ~np.isin(ratings.user, users_of_title))[0]
    changed = ratings.rating.copy()
    changed[hidden] += 2
    changed[balance] -= 2
    visible = np.ones(len(ratings), np.float32)
    visible[hidden] = 0
    before, after = (
        history_model._History(each, SMALL, np.random.default_rng(1)).rows(visible, tf.ones(20), tf.ones(30))
        for each in (ratings, dataclasses.replace(ratings, rating=changed))
    )
    np.testing.assert_allclose(before[0][user], after[0][user], atol=1e-6)
    np.testing.assert_allclose(before[1][title], after[1][title], atol=1e-6)
    visible[hidden] = 1
    seen = history_model._History(ratings, SMALL, np.random.default_rng(1)).rows(visible, tf.ones(20), tf.ones(30))
    assert np.abs(seen[0][user] - before[0][user]).max() > 1e-3


def test_call_is_the_equation(model):
    user_table, title_table = (table.numpy() for table in model.tables[:2])
    kernel, bias, last_kernel, last_bias = (variable.numpy() for variable in model.network_variables)
    mean = model._mean.numpy()
    user, title = np.array([3, 0, 19]), np.array([7, 29, 0])
    u, t = user_table[user], title_table[title]
    hidden = np.maximum(np.concatenate([u[:, 1:], t[:, 1:]], axis=1) @ kernel + bias, 0) @ last_kernel + last_bias
    expected = mean + u[:, 0] + t[:, 0] + np.sum(u[:, 1:] * t[:, 1:], axis=1) + hidden[:, 0]
    predictions = ask(model, user, title)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions[:, 0], expected, rtol=1e-5)


def test_without_network_the_score_is_a_product(ratings):
    model = fit(ratings, SMALL.model_copy(update={"hidden_units": 0}))
    assert model.network_variables == []
    u, t = model.tables[0].numpy()[[3]], model.tables[1].numpy()[[7]]
    expected = ratings.rating.mean() + u[0, 0] + t[0, 0] + u[0, 1:] @ t[0, 1:]
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


def test_feature_that_training_never_saw_changes_nothing(model):
    assert ask(model, [2], [30], title_features=[[0, 0, 1]]) == ask(model, [2], [30])
    assert ask(model, [20], [5], user_features=[[1, 1]]) == ask(model, [20], [5])


def test_features_of_known_ids_are_not_counted_twice(model):
    features = {"title_features": [[1, 1, 1]], "user_features": [[1, 1]]}
    assert ask(model, [2], [5], **features) == ask(model, [2], [5])


def test_unknown_ids_share_one_finite_rating(model):
    known_title = ask(model, [20, 21, 10**12], [4, 4, 4])
    np.testing.assert_array_equal(known_title, known_title[:1].repeat(3, axis=0))
    assert np.isfinite(ask(model, [20, 99], [30, 31])).all()


@pytest.mark.parametrize("size", [0, 1, 7])
def test_any_batch_size(model, size):
    features = {"user_features": np.zeros((size, 2)), "title_features": np.zeros((size, 3))}
    for given in ({}, features):
        predictions = ask(model, np.zeros(size), np.zeros(size), **given)
        assert predictions.shape == (size, 1)
        np.testing.assert_allclose(predictions, ask(model, [0], [0]).repeat(size, axis=0), rtol=1e-6)


def test_few_ratings_and_no_features(small_ratings):
    bare = dataclasses.replace(
        small_ratings, user_features=np.zeros((3, 0), np.float32), title_features=np.zeros((4, 0), np.float32)
    )
    for rows in (np.arange(8), np.array([0])):
        predictions = ask(fit(bare.select(rows)), np.repeat(np.arange(4), 5), np.tile(np.arange(5), 4))
        assert np.isfinite(predictions).all()


def test_choose_keeps_the_best_epoch_and_its_trajectory(ratings):
    rng = np.random.default_rng(0)
    noise = dataclasses.replace(ratings, rating=rng.normal(3, 1, len(ratings)).astype(np.float32))
    held_out = rng.random(len(ratings)) < 0.2
    train, validation = noise.select(~held_out), noise.select(held_out)
    # There is nothing to learn but noise, so that the held-out error rises.
    config = SMALL.model_copy(update={"epochs": 12, "learning_rate": 0.03, "regularization": 0.0})
    lines = []
    chosen = history_model.choose(train, validation, config, seed=3, report=lines.append)
    errors = [float(line.rsplit(" ", 1)[1]) for line in lines]
    assert len(errors) == 12
    assert chosen.epochs == np.argmin(errors) + 1 < 12
    assert chosen == config.model_copy(update={"epochs": chosen.epochs, "schedule_epochs": 12})
    assert error(fit(train, chosen, seed=3), validation) == pytest.approx(min(errors), abs=6e-5)


def test_loss_is_the_mean_squared_error(model, ratings):
    features = {"user_id": ratings.user, "movie_title": ratings.title, "user_rating": ratings.rating}
    loss = model.compute_loss({name: tf.constant(column) for name, column in features.items()})
    difference = ask(model, ratings.user, ratings.title)[:, 0] - ratings.rating
    assert float(loss) == pytest.approx(np.mean(difference**2), rel=1e-5)


def test_seed_decides(ratings):
    first, again, other = (ask(fit(ratings, seed=seed), [1], [1]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_is_a_tfrs_ranking_model(model):
    assert isinstance(model, tfrs.Model)
    assert isinstance(model.task, tfrs.tasks.Ranking)


def test_progress_and_tensorboard(ratings, tmp_path):
    lines = []
    fit(ratings, log_dir=str(tmp_path), report=lines.append)
    (file,) = tmp_path.iterdir()
    events = [event for event in tf.compat.v1.train.summary_iterator(str(file)) if event.HasField("summary")]
    logged = [float(tf.make_ndarray(event.summary.value[0].tensor)) for event in events]
    assert [event.step for event in events] == [1, 2, 3]
    assert lines == [f"epoch {step}/3, loss {loss:.4f}" for step, loss in zip((1, 2, 3), logged, strict=True)]


@pytest.mark.slow
def test_reloads_in_a_fresh_process(model, tmp_path):
    module = tf.Module()
    module.model = model
    spec = {name: tf.TensorSpec([None], tf.int64, name) for name in ("user_id", "movie_title")}
    module.__call__ = tf.function(lambda features: model(features), input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path))
    script = (
        "import sys, tensorflow as tf; model = tf.saved_model.load(sys.argv[1]);"
        "ids = lambda *values: tf.constant(values, tf.int64);"
        "print(*model({'user_id': ids(1, 20), 'movie_title': ids(2, 30)}).numpy()[:, 0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], ask(model, [1, 20], [2, 30])[:, 0], rtol=1e-5)


def test_nothing_to_fit_or_to_choose_on(ratings):
    empty = ratings.select(np.zeros(0, int))
    with pytest.raises(ValueError, match="expected at least one rating to fit"):
        fit(empty)
    with pytest.raises(ValueError, match="expected at least one rating to choose on"):
        history_model.choose(ratings, empty, SMALL, seed=0, report=lambda text: None)


@pytest.mark.parametrize(
    "values",
    [{"epochs": 0}, {"schedule_epochs": 4}, {"hidden_share": 1.0}, {"learning_rate": 0}, {"depth": 3}],
)
def test_config_refuses(values):
    with pytest.raises(pydantic.ValidationError):
        HistoryConfig(**values)
