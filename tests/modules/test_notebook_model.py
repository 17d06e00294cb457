import subprocess
import sys

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from modules import notebook_model
from modules.notebook_model import NotebookConfig
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


def test_unknown_ids_share_one_finite_rating(model):
    known_title = ask(model, [20, 21, 10**12], [4, 4, 4])
    np.testing.assert_array_equal(known_title, known_title[:1].repeat(3, axis=0))
    unknown = ask(model, [20, 99], [30, 31])
    assert np.isfinite(unknown).all()
    assert unknown[0] == unknown[1]


@pytest.mark.parametrize("size", [0, 1, 7])
def test_any_batch_size(model, size):
    predictions = ask(model, np.zeros(size), np.zeros(size))
    assert predictions.shape == (size, 1)
    np.testing.assert_allclose(predictions, ask(model, [0], [0]).repeat(size, axis=0), rtol=1e-6)


def test_learns(ratings):
    model = fit(ratings, SMALL.model_copy(update={"epochs": 30}))
    error = ask(model, ratings.user, ratings.title)[:, 0] - ratings.rating
    assert np.sqrt(np.mean(error**2)) < 0.7 * ratings.rating.std()


def test_loss_is_the_mean_squared_error(model, ratings):
    features = {"user_id": ratings.user, "movie_title": ratings.title, "user_rating": ratings.rating}
    loss = model.compute_loss({name: tf.constant(column) for name, column in features.items()})
    error = ask(model, ratings.user, ratings.title)[:, 0] - ratings.rating
    assert float(loss) == pytest.approx(np.mean(error**2), rel=1e-5)


def test_keras_can_evaluate_it(ratings):
    model = fit(ratings)
    rows = {"user_id": ratings.user, "movie_title": ratings.title, "user_rating": ratings.rating}
    result = model.evaluate(tf.data.Dataset.from_tensor_slices(rows).batch(50), return_dict=True, verbose=0)
    error = ask(model, ratings.user, ratings.title)[:, 0] - ratings.rating
    assert result["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


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
    assert [line.split(",")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    (file,) = tmp_path.iterdir()
    events = [event for event in tf.compat.v1.train.summary_iterator(str(file)) if event.HasField("summary")]
    logged = [float(tf.make_ndarray(event.summary.value[0].tensor)) for event in events]
    assert [event.step for event in events] == [1, 2]
    assert lines == [f"epoch {step}/2, loss {loss:.4f}" for step, loss in zip((1, 2), logged, strict=True)]


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
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], ask(model, [1, 20], [2, 30])[:, 0], rtol=1e-6)


def test_nothing_to_fit(ratings):
    with pytest.raises(ValueError, match="expected at least one rating"):
        fit(ratings.select(np.zeros(0, int)))


@pytest.mark.parametrize("values", [{"epochs": 0}, {"hidden_units": (0,)}, {"learning_rate": -1}, {"depth": 3}])
def test_config_refuses(values):
    with pytest.raises(pydantic.ValidationError):
        NotebookConfig(**values)
