import numpy as np
import pytest
import tensorflow as tf

from modules import notebook_model
from modules.model_configs import NotebookConfig
from modules.ratings import Ratings

SMALL = NotebookConfig(embedding_dimension=4, hidden_units=(8,), batch_size=64, epochs=2)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    user, title = np.nonzero(rng.random((20, 30)) < 0.5)
    taste = rng.normal(size=20)
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=np.clip(np.round(3 + taste[user] + rng.normal(0, 0.3, len(user))), 1, 5).astype(np.float32),
        num_users=20,
        num_titles=30,
        low=1.0,
        high=5.0,
        user_features=np.zeros((20, 3), np.float32),
        title_features=np.zeros((30, 3), np.float32),
    )


def fit(ratings, config=SMALL, seed=0, log_dir=None, report=lambda text: None):
    return notebook_model.fit(ratings, config, seed=seed, log_dir=log_dir, report=report)


def ask(model, user, title):
    return model({"user_id": tf.constant(user, tf.int64), "movie_title": tf.constant(title, tf.int64)}).numpy()


@pytest.fixture(scope="module")
def model(ratings):
    return fit(ratings)


def test_defaults_are_the_notebook():
    model = notebook_model.NotebookModel(943, 1664, NotebookConfig(), seed=0)
    ask(model, [0], [0])
    shapes = [tuple(variable.shape) for variable in model.trainable_variables]
    assert shapes == [(944, 32), (1665, 32), (64, 256), (256,), (256, 64), (64,), (64, 1), (1,)]
    config = NotebookConfig()
    assert (config.learning_rate, config.batch_size, config.epochs) == (0.1, 8192, 3)


def test_call_is_the_equation(model):
    users, titles, kernel, bias, last_kernel, last_bias = (variable.numpy() for variable in model.trainable_variables)
    user, title = np.array([3, 0, 19]), np.array([7, 29, 0])
    hidden = np.maximum(np.concatenate([users[user], titles[title]], axis=1) @ kernel + bias, 0)
    predictions = ask(model, user, title)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions, hidden @ last_kernel + last_bias, rtol=1e-5)


def test_one_step_is_adagrad_on_the_squared_error(ratings):
    """One batch of all rows, against the update written in NumPy for the last bias."""
    config = SMALL.model_copy(update={"batch_size": 10_000, "epochs": 1})
    before = notebook_model.NotebookModel(20, 30, config, seed=5)
    error = ask(before, ratings.user, ratings.title)[:, 0] - ratings.rating
    gradient = 2 * error.mean()
    after = fit(ratings, config, seed=5)
    # Keras' Adagrad starts its sum of squares at 0.1.
    expected = -0.1 * gradient / np.sqrt(0.1 + gradient**2 + 1e-7)
    assert after.trainable_variables[-1].numpy() == pytest.approx(expected, rel=1e-4)


def test_one_device_by_a_strategy_fits_what_it_fits_without(ratings):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    plain, dealt_out = [], []
    alone = notebook_model.fit(ratings, SMALL, seed=1, log_dir=None, report=plain.append)
    other = notebook_model.fit(ratings, SMALL, seed=1, log_dir=None, report=dealt_out.append, strategy=strategy)
    for one, same in zip(alone.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, same, atol=1e-5)
    losses = [[float(line.rsplit(" ", 1)[1]) for line in lines] for lines in (plain, dealt_out)]
    assert len(plain) == SMALL.epochs
    assert plain[0].startswith("epoch 1/2, ")
    np.testing.assert_allclose(*losses, atol=2e-4)
    assert losses[0][1] < losses[0][0]


def test_keras_can_evaluate_it(ratings):
    model = fit(ratings)
    rows = {"user_id": ratings.user, "movie_title": ratings.title, "user_rating": ratings.rating}
    result = model.evaluate(tf.data.Dataset.from_tensor_slices(rows).batch(50), return_dict=True, verbose=0)
    error = ask(model, ratings.user, ratings.title)[:, 0] - ratings.rating
    assert result["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
