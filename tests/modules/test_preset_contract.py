"""What every preset promises, whatever its model: fit, export and answers, the same tests for all of them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft

from modules import features, presets, serving, trainer
from modules.metrics import rmse
from modules.ratings import Ratings
from modules.side_features import SideFeatures
from tests.support import analyze, load, serialize, side_features, write_examples

USERS, TITLES = 25, 30
LOW, HIGH = 0.5, 5.0
SHORT = {
    "default": {"iterations": 30, "burn_in": 10, "tolerance": 0, "pilot_iterations": 22, "pilot_burn_in": 2},
    "fast": {"epochs": 2, "steps": 10},
    "notebook": {"batch_size": 64},
}
# Long enough to leave the scale at its ends.
EAGER = {"default": SHORT["default"], "fast": {"epochs": 10, "steps": 10}, "notebook": {"epochs": 40, "batch_size": 64}}
USES_SIDE_FEATURES = ("default", "fast")
GENRES = ("Drama", "Comedy", "Horror")
PRESETS = list(presets.PRESETS)


class Case(NamedTuple):
    preset: str
    model: tfrs.Model
    fitted_on: Ratings
    output: tft.TFTransformOutput
    path: str
    exported: Any

    def predict(self, users: list[str], titles: list[str]) -> np.ndarray:
        answer = self.exported.signatures["predict"](
            user_id=tf.constant(users, tf.string), movie_title=tf.constant(titles, tf.string)
        )
        return answer[serving.PREDICTED_RATING].numpy()


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Ratings in half stars, many at the ends of the scale."""
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
def side() -> SideFeatures:
    """Of all titles, of five that nobody rated, of most users and of one that rated nothing."""
    titles = [{"movie_title": f"Title {t}", "genres": [GENRES[t % 3]]} for t in range(TITLES + 5)]
    return side_features(titles, [{"user_id": f"user {u}", "user_age": [10 + 2 * u]} for u in range(5, USERS + 1)])


@pytest.fixture(scope="module")
def output(rows: list[dict]) -> tft.TFTransformOutput:
    return analyze(rows)


@pytest.fixture(scope="module")
def ratings(rows: list[dict], output, side, tmp_path_factory: pytest.TempPathFactory) -> Ratings:
    path = write_examples(tmp_path_factory.mktemp("examples") / "rows.gz", rows)
    return load(path, output, side, LOW, HIGH)


def train(preset: str, ratings: Ratings, seed: int = 0) -> tfrs.Model:
    return trainer.train(ratings, None, preset=preset, values=SHORT[preset], seed=seed)[0]


def rate(model: tfrs.Model, user: Any, title: Any, **vectors: Any) -> np.ndarray:
    ids = {"user_id": tf.constant(user, tf.int64), "movie_title": tf.constant(title, tf.int64)}
    return model({**ids, **{name: tf.constant(value, tf.float32) for name, value in vectors.items()}}).numpy()


def weights(model: tfrs.Model) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in model.variables]


@pytest.fixture(scope="module", params=PRESETS)
def case(request: pytest.FixtureRequest, ratings, output, side, tmp_path_factory: pytest.TempPathFactory) -> Case:
    model = trainer.train(ratings, None, preset=request.param, values=EAGER[request.param], seed=0)[0]
    path = str(tmp_path_factory.mktemp("export") / "model")
    serving.export(serving.ServingModel(model, output, ratings, side), path)
    return Case(request.param, model, ratings, output, path, tf.saved_model.load(path))


def names(output: tft.TFTransformOutput, column: str) -> list[str]:
    return [name.decode() for name in output.vocabulary_by_name(column)]


def grid(case: Case) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Every pair of a rated user and title, unknown ones included: names and ids."""
    users, titles = ([*names(case.output, column), f"no {column}"] for column in ("user_id", "movie_title"))
    user, title = (ids.ravel() for ids in np.indices((len(users), len(titles))))
    return [users[each] for each in user], [titles[each] for each in title], user, title


def test_it_is_a_tfrs_ranking_model_whose_loss_is_the_mean_squared_error(case: Case) -> None:
    assert isinstance(case.model, tfrs.Model)
    assert isinstance(case.model.task, tfrs.tasks.Ranking)
    rows = case.fitted_on
    inputs = {"user_id": rows.user, "movie_title": rows.title, "user_rating": rows.rating}
    loss = case.model.compute_loss({name: tf.constant(column) for name, column in inputs.items()})
    error = rate(case.model, rows.user, rows.title)[:, 0] - rows.rating
    assert float(loss) == pytest.approx(np.mean(error**2), rel=1e-5)


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
    far = rate(case.model, [USERS, 10**12], [TITLES, 10**12])
    assert far[0] == far[1]


def test_all_ways_of_asking_agree_and_the_tables_tell_of_what_nobody_rated(case: Case) -> None:
    users = [f"user {u}" for u in (0, 7, USERS)] + ["nobody"]
    titles = [f"Title {t}" for t in (0, TITLES, TITLES + 1)] + ["nothing"]
    pairs = [(user, title) for user in users for title in titles]
    predicted = case.predict(*(list(column) for column in zip(*pairs, strict=True)))
    user_id, movie_title = (tf.constant(column) for column in zip(*pairs, strict=True))
    examples = tf.constant([serialize({"user_id": user, "movie_title": title}) for user, title in pairs])
    served = case.exported.signatures["serving_default"](examples=examples)[serving.PREDICTED_RATING]
    np.testing.assert_array_equal(case.exported({"user_id": user_id, "movie_title": movie_title}), predicted)
    np.testing.assert_array_equal(served, predicted)
    stars = predicted.reshape(len(users), len(titles))
    for row, user in enumerate(users):
        ranked = case.exported.signatures["rank"](user_id=tf.constant([user]), movie_title=tf.constant(titles))
        np.testing.assert_allclose(ranked[serving.PREDICTED_RATING], np.sort(stars[row])[::-1], atol=1e-5)
    # A comedy and a horror film that nobody rated, beside a title in no table; a user in the table beside one in none.
    differs = case.preset in USES_SIDE_FEATURES
    for one, other in ((stars[:, 1], stars[:, 3]), (stars[:, 2], stars[:, 3]), (stars[2], stars[3])):
        assert (np.abs(one - other).max() > 1e-4) == differs


def test_the_export_knows_what_the_features_of_the_table_say(case: Case, side: SideFeatures) -> None:
    vectors = side.of_ids(features.TITLES, [b"Title 31"])
    raw = rate(case.model, [0], [TITLES], title_features=vectors)
    answer = case.predict(names(case.output, "user_id")[:1], ["Title 31"])
    np.testing.assert_allclose(answer, np.clip(raw, LOW, HIGH), atol=1e-5)


def test_features_of_known_ids_and_features_that_training_never_saw_change_nothing(case: Case) -> None:
    ones = {
        "user_features": np.ones((1, features.USER_FEATURES_SIZE)),
        "title_features": np.ones((1, features.TITLE_FEATURES_SIZE)),
    }
    assert rate(case.model, [2], [5], **ones) == rate(case.model, [2], [5])
    unseen = {
        name: ~getattr(case.fitted_on, name).any(axis=0)[np.newaxis] for name in ("user_features", "title_features")
    }
    assert rate(case.model, [USERS], [TITLES], **unseen) == rate(case.model, [USERS], [TITLES])


def test_it_learns(case: Case) -> None:
    error = rmse(case.fitted_on.rating, rate(case.model, case.fitted_on.user, case.fitted_on.title)[:, 0])
    assert error < 0.7 * case.fitted_on.rating.std()


@pytest.mark.slow
def test_a_fresh_process_gives_the_same(case: Case, tmp_path: pathlib.Path) -> None:
    script = (
        "import sys, json, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "user_id, movie_title = (tf.constant(names) for names in json.load(sys.stdin))\n"
        "answer = model.signatures['predict'](user_id=user_id, movie_title=movie_title)\n"
        "print(json.dumps(answer['predicted_rating'].numpy().tolist()))\n"
    )
    pairs = [["user 1", "user 1", f"user {USERS}", "nobody"], ["Title 2", f"Title {TITLES}", "Title 2", "nothing"]]
    done = subprocess.run(
        [sys.executable, "-c", script, case.path],
        input=json.dumps(pairs), capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    np.testing.assert_allclose(json.loads(done.stdout), case.predict(*pairs), atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_gives_the_same_bytes(preset: str, ratings: Ratings) -> None:
    """And another seed does not."""
    first = train(preset, ratings)
    assert weights(first) == weights(train(preset, ratings))
    other = train(preset, ratings, seed=1)
    assert np.abs(rate(first, ratings.user, ratings.title) - rate(other, ratings.user, ratings.title)).max() > 1e-3


@pytest.mark.parametrize("preset", PRESETS)
def test_progress_is_told_and_tensorboard_has_the_same_numbers(
    preset: str, ratings: Ratings, tmp_path: pathlib.Path
) -> None:
    lines: list[str] = []
    config = presets.build_config(preset, SHORT[preset])
    presets.get(preset).load().fit(ratings, config, seed=0, log_dir=str(tmp_path), report=lines.append)
    (file,) = (path for path in tmp_path.iterdir() if path.is_file())
    events = [event for event in tf.compat.v1.train.summary_iterator(str(file)) if event.HasField("summary")]
    length = getattr(config, "iterations", None) or config.epochs
    assert [event.step for event in events] == list(range(1, length + 1))
    last = float(tf.make_ndarray(events[-1].summary.value[0].tensor))
    assert [line for line in lines if f"{length}/{length}, " in line and f"{last:.4f}" in line]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_training_rating_changes_the_model(preset: str, ratings: Ratings) -> None:
    changed = dataclasses.replace(ratings, rating=ratings.rating.copy())
    changed.rating[0] = HIGH if ratings.rating[0] < 2.5 else LOW
    one, other = (rate(train(preset, each), ratings.user, ratings.title) for each in (ratings, changed))
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("preset", PRESETS)
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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("with_features", [True, False])
def test_few_ratings_and_no_features_are_enough(preset: str, count: int, with_features: bool, ratings: Ratings) -> None:
    few = ratings.select(np.arange(count))
    if not with_features:
        none = {"user_features": np.zeros((USERS, 0)), "title_features": np.zeros((TITLES, 0))}
        few = dataclasses.replace(few, **{name: value.astype(np.float32) for name, value in none.items()})
    user, title = (ids.ravel() for ids in np.indices((USERS + 1, TITLES + 1)))
    config = presets.build_config(preset, SHORT[preset])
    model = presets.get(preset).load().fit(few, config, seed=0, log_dir=None, report=lambda text: None)
    assert np.isfinite(rate(model, user, title)).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_to_fit_on_is_refused(preset: str, ratings: Ratings) -> None:
    with pytest.raises(ValueError, match="expected at least one rating to fit"):
        presets.get(preset).load().fit(
            ratings.select(np.zeros(0, int)), presets.build_config(preset, {}), seed=0, log_dir=None, report=print
        )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_key_that_the_model_does_not_know_is_refused(preset: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="no_such_field"):
        presets.build_config(preset, {"no_such_field": 1})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_field_is_explained(preset: str) -> None:
    fields = presets.get(preset).config.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_who_chooses_has_the_function_for_it(preset: str) -> None:
    assert hasattr(presets.get(preset).load(), "choose") == presets.get(preset).chooses
