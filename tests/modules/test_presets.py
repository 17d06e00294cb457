"""What every preset promises, whatever its model: the same tests for all of them."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft

from modules import dataset, presets, progress, serving, trainer
from modules.metrics import rmse
from modules.ratings import Ratings
from tests.support import REQUIRED, analyze, write_examples

USERS, TITLES = 25, 30
LOW, HIGH = 0.5, 5.0
SHORT = {
    "default": {"iterations": 30, "burn_in": 10},
    "fast": {"epochs": 2, "steps": 10},
    "notebook": {"batch_size": 64},
}
# Long enough to leave the scale at its ends.
EAGER = {"default": SHORT["default"], "fast": {"epochs": 10, "steps": 10}, "notebook": {"epochs": 40, "batch_size": 64}}


class Case(NamedTuple):
    preset: str
    model: tfrs.Model
    fitted_on: Ratings
    output: tft.TFTransformOutput
    exported: tf.Module
    predict: Callable[[list[str], list[str]], np.ndarray]


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Ratings in half stars by user, title and rating alone; many at the ends of the scale."""
    rng = np.random.default_rng(3)
    user, title = np.nonzero(rng.random((USERS, TITLES)) < 0.6)
    taste, quality = rng.normal(0, 1.5, USERS), rng.normal(0, 1.5, TITLES)
    stars = 2.75 + taste[user] + quality[title] + rng.normal(0, 0.3, len(user))
    rating = np.clip(np.round(2 * stars) / 2, LOW, HIGH)
    return [
        {"user_id": f"user {u}", "movie_title": f"Title {t}", "user_rating": float(r)}
        for u, t, r in zip(user, title, rating, strict=True)
    ]


@pytest.fixture(scope="module")
def output(rows: list[dict]) -> tft.TFTransformOutput:
    return analyze(rows, REQUIRED)


@pytest.fixture(scope="module")
def ratings(rows: list[dict], output, tmp_path_factory: pytest.TempPathFactory) -> Ratings:
    path = write_examples(tmp_path_factory.mktemp("examples") / "rows.gz", rows)
    return dataset.load_ratings([path], output, low=LOW, high=HIGH, report=lambda _: None)


def train(preset: str, ratings: Ratings, seed: int = 0, log_dir: str | None = None) -> tfrs.Model:
    return trainer.train(ratings, None, preset=preset, values=SHORT[preset], seed=seed, log_dir=log_dir)[0]


def rate(model: tfrs.Model, user: np.ndarray, title: np.ndarray) -> np.ndarray:
    ids = {"user_id": tf.constant(user, tf.int64), "movie_title": tf.constant(title, tf.int64)}
    return model(ids).numpy()


def predictions_in_training(model: tfrs.Model, ratings: Ratings) -> np.ndarray:
    return rate(model, ratings.user, ratings.title)[:, 0]


@pytest.fixture(scope="module", params=list(presets.PRESETS))
def case(request: pytest.FixtureRequest, ratings, output, tmp_path_factory: pytest.TempPathFactory) -> Case:
    preset = request.param
    model = trainer.train(ratings, None, preset=preset, values=EAGER[preset], seed=0)[0]
    path = str(tmp_path_factory.mktemp("export") / "model")
    serving.export(serving.ServingModel(model, output, ratings), path)
    exported = tf.saved_model.load(path)

    def predict(users: list[str], titles: list[str]) -> np.ndarray:
        answer = exported.signatures["predict"](
            user_id=tf.constant(users, tf.string), movie_title=tf.constant(titles, tf.string)
        )
        return answer[serving.PREDICTED_RATING].numpy()

    return Case(preset, model, ratings, output, exported, predict)


def names(output: tft.TFTransformOutput, column: str) -> list[str]:
    return [name.decode() for name in output.vocabulary_by_name(column)]


def grid(case: Case) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Every pair of a user and a title, unknown ones included: names and ids."""
    users, titles = ([*names(case.output, column), f"no {column}"] for column in ("user_id", "movie_title"))
    user, title = (ids.ravel() for ids in np.indices((len(users), len(titles))))
    return [users[each] for each in user], [titles[each] for each in title], user, title


def test_it_is_a_tfrs_ranking_model(case: Case) -> None:
    assert isinstance(case.model, tfrs.Model)
    assert isinstance(case.model.task, tfrs.tasks.Ranking)


def test_exported_predictions_are_those_in_memory_within_the_scale(case: Case) -> None:
    users, titles, user, title = grid(case)
    raw = rate(case.model, user, title)
    answer = case.predict(users, titles)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, np.clip(raw, LOW, HIGH), atol=1e-5)
    # The scale is what bounds them: left alone the model would leave it at one end at least.
    assert raw.min() < LOW or raw.max() > HIGH


def test_the_order_and_size_of_a_batch_change_nothing(case: Case) -> None:
    users, titles, *_ = grid(case)
    together = case.predict(users, titles)
    one_by_one = [case.predict(users[k : k + 1], titles[k : k + 1])[0] for k in range(0, len(users), 97)]
    np.testing.assert_allclose(np.stack(one_by_one), together[::97], atol=1e-5)
    np.testing.assert_allclose(case.predict(users[::-1], titles[::-1]), together[::-1], atol=1e-5)


def test_an_empty_batch_is_answered(case: Case) -> None:
    assert case.predict([], []).shape == (0, 1)


def test_what_is_unknown_gets_one_finite_rating_within_the_scale(case: Case) -> None:
    known_user, known_title = names(case.output, "user_id")[0], names(case.output, "movie_title")[0]
    for users, titles in (
        (["nobody", "", "ünbekannt"], [known_title] * 3),
        ([known_user] * 3, ["nothing", "", "Ünbekannt"]),
        (["nobody", "", "ünbekannt"], ["nothing", "", "Ünbekannt"]),
    ):
        answer = case.predict(users, titles)
        assert answer.shape == (3, 1)
        assert np.isfinite(answer).all()
        assert ((answer >= LOW) & (answer <= HIGH)).all()
        np.testing.assert_allclose(answer, answer[:1].repeat(3, axis=0), atol=1e-5)


def test_it_learns_from_user_title_and_rating_alone(case: Case) -> None:
    error = rmse(case.fitted_on.rating, rate(case.model, case.fitted_on.user, case.fitted_on.title)[:, 0])
    assert error < 0.7 * case.fitted_on.rating.std()


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_the_seed_decides(preset: str, ratings: Ratings, tmp_path: pathlib.Path, caplog) -> None:
    """The same one gives the same RMSE to four decimals, whatever the bounds of the scale; another one does not."""
    wider = dataclasses.replace(ratings, low=0.0, high=10.0)
    with caplog.at_level(logging.INFO, progress.LOGGER_NAME):
        first = predictions_in_training(train(preset, ratings), ratings)
    again, other = (
        predictions_in_training(train(preset, wider, seed, log_dir=str(tmp_path / str(seed))), ratings)
        for seed in (0, 1)
    )
    assert round(rmse(ratings.rating, first), 4) == round(rmse(ratings.rating, again), 4)
    np.testing.assert_allclose(first, again, atol=1e-5)
    assert np.abs(first - other).max() > 1e-3
    # Progress was told, and TensorBoard's scalars were written.
    assert [record for record in caplog.records if record.name == progress.LOGGER_NAME]
    assert list((tmp_path / "0").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_a_training_rating_changes_the_model(preset: str, ratings: Ratings) -> None:
    changed = dataclasses.replace(ratings, rating=ratings.rating.copy())
    changed.rating[0] = HIGH if ratings.rating[0] < 2.5 else LOW
    one, other = (predictions_in_training(train(preset, each), ratings) for each in (ratings, changed))
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_titles_with_one_rating_stay_within_reason(preset: str, ratings: Ratings) -> None:
    """One user rated one title that nobody else did: both get ratings near those of others, not wild ones."""
    lonely = dataclasses.replace(
        ratings,
        user=np.append(ratings.user, ratings.num_users).astype(np.int32),
        title=np.append(ratings.title, ratings.num_titles).astype(np.int32),
        rating=np.append(ratings.rating, np.float32(HIGH)),
        num_users=ratings.num_users + 1,
        num_titles=ratings.num_titles + 1,
        user_features=np.pad(ratings.user_features, ((0, 1), (0, 0))),
        title_features=np.pad(ratings.title_features, ((0, 1), (0, 0))),
    )
    answer = rate(train(preset, lonely), [ratings.num_users, 0], [0, ratings.num_titles])
    assert np.isfinite(answer).all()
    assert ((answer > LOW - 1) & (answer < HIGH + 1)).all()


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_few_ratings_are_enough(preset: str, ratings: Ratings) -> None:
    few = ratings.select(np.arange(12))
    assert np.isfinite(rate(train(preset, few), ratings.user, ratings.title)).all()


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_a_key_that_the_model_does_not_know_is_refused(preset: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="no_such_field"):
        presets.build_config(preset, {"no_such_field": 1})


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_every_field_is_explained(preset: str) -> None:
    fields = type(presets.build_config(preset, {})).model_fields
    assert [name for name, field in fields.items() if not field.description] == []


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_who_chooses_has_the_function_for_it(preset: str) -> None:
    assert hasattr(presets.get(preset).load(), "choose") == presets.get(preset).chooses


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset must be one of default, fast, notebook; got 'best'"):
        presets.get("best")
