"""The exported model: every signature, by hand-computed values."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
from scipy import stats
from tensorflow_serving.apis import prediction_log_pb2

from modules import baselines, serving
from tests import support
from tests.support import ROWS, analyze, load, serialize, side_features, write_examples

USERS = ["7", "07"]
TITLES = ["Alien (1979)", "Heat (1995)", "Élan vital"]
# What the model gives to a pair of which it knows nothing.
NOBODY = 2.5


class TableModel(tfrs.Model):
    """Rates by a table; an unknown id has its last row or column, and adds a quarter star a feature, flags aside."""

    def __init__(self, table: np.ndarray):
        super().__init__()
        self.table = tf.constant(table, tf.float32)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        last = tf.cast(tf.shape(self.table) - 1, tf.int64)
        user, title = tf.minimum(inputs["user_id"], last[0]), tf.minimum(inputs["movie_title"], last[1])
        rating = tf.gather_nd(self.table, tf.stack([user, title], axis=1))
        for ids, unknown, name in ((user, last[0], "user_features"), (title, last[1], "title_features")):
            rating += tf.where(ids == unknown, tf.reduce_sum(tf.sign(inputs[name][:, :-2]), axis=1) / 4, 0.0)
        return rating[:, None]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """Path of an exported model; its ratings by (user, title), ids in the order of USERS and TITLES."""
    folder = tmp_path_factory.mktemp("export")
    output, side = analyze(ROWS), side_features(support.TITLES, support.USERS)
    fitted_on = load(write_examples(folder / "rows.gz", ROWS), output, side)
    vocabularies = [
        [name.decode() for name in output.vocabulary_by_name(column)] for column in ("user_id", "movie_title")
    ]
    # Rows: the users, then the unknown one; columns likewise. One rating lies below the scale and one above it.
    wanted = np.array([[2.0, 3.5, 9.0], [4.0, 3.5, -2.0]], np.float32)
    table = np.full((3, 4), NOBODY, np.float32)
    for row, user in enumerate(USERS):
        for column, title in enumerate(TITLES):
            table[vocabularies[0].index(user), vocabularies[1].index(title)] = wanted[row, column]
    path = str(folder / "model")
    serving.export(serving.ServingModel(TableModel(table), output, fitted_on, side), path)
    return path, np.clip(wanted, 1.0, 5.0), fitted_on, output


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(exported[0])


def test_the_loaded_object_is_callable_as_in_the_notebook(loaded) -> None:
    rating = loaded({"user_id": np.array(["7"]), "movie_title": ["Alien (1979)"]}).numpy()
    assert rating.dtype == np.float32
    np.testing.assert_array_equal(rating, [[2.0]])


def test_predictions_stay_within_the_scale(exported, loaded) -> None:
    _, expected, *_ = exported
    grid = [(user, title) for user in USERS for title in TITLES]
    users, titles = (tf.constant(column) for column in zip(*grid, strict=True))
    answer = loaded.signatures["predict"](user_id=users, movie_title=titles)
    assert list(answer) == ["predicted_rating"]
    np.testing.assert_array_equal(answer["predicted_rating"], expected.reshape(-1, 1))


@pytest.mark.parametrize(
    "pairs", [[("7", "Alien (1979)")], [("?", "?")], [("7", "?"), ("8", "Heat (1995)"), ("?", "Aliens (1986)")], []]
)
def test_all_ways_of_asking_agree(loaded, pairs: list[tuple[str, str]]) -> None:
    users = tf.constant([user for user, _ in pairs], tf.string)
    titles = tf.constant([title for _, title in pairs], tf.string)
    examples = tf.constant([serialize({"user_id": user, "movie_title": title}) for user, title in pairs], tf.string)
    called = loaded({"user_id": users, "movie_title": titles}).numpy()
    predicted = loaded.signatures["predict"](user_id=users, movie_title=titles)["predicted_rating"].numpy()
    served = loaded.signatures["serving_default"](examples=examples)["predicted_rating"].numpy()
    assert called.shape == (len(pairs), 1)
    assert np.isfinite(called).all()
    np.testing.assert_array_equal(predicted, called)
    np.testing.assert_array_equal(served, called)


def served(loaded, rows: list[dict]) -> list[float]:
    examples = tf.constant([serialize(row) for row in rows])
    return loaded.signatures["serving_default"](examples=examples)["predicted_rating"].numpy()[:, 0].tolist()


@pytest.mark.parametrize(
    ("user", "title", "stars"),
    [
        # Rated, whatever the tables say.
        ("7", "Heat (1995)", 3.5),
        ("07", "Heat (1995)", 3.5),
        # In the tables alone: a year and three genres; age, gender, occupation and area; both.
        ("7", "Aliens (1986)", NOBODY + 1.0),
        ("8", "Heat (1995)", NOBODY + 1.0),
        ("8", "Aliens (1986)", NOBODY + 2.0),
        # In a table without a value, and in none.
        ("7", "Untold", NOBODY),
        ("?", "?", NOBODY),
    ],
)
def test_names_alone_bring_what_the_tables_know(loaded, user: str, title: str, stars: float) -> None:
    user_id, movie_title = tf.constant([user]), tf.constant([title])
    assert loaded({"user_id": user_id, "movie_title": movie_title}).numpy().tolist() == [[stars]]
    assert loaded.signatures["rank"](user_id=user_id, movie_title=movie_title)["predicted_rating"] == [stars]
    assert served(loaded, [{"user_id": user, "movie_title": title}]) == [stars]


def test_a_request_tells_features_of_what_is_in_no_table_alone(loaded) -> None:
    of_title = {"genres": ["Horror", "Sci-Fi", "Crime", "Western"], "release_year": [1995]}
    titles = ["New", "Aliens (1986)", "Untold", "Heat (1995)"]
    rows = [{"user_id": "7", "movie_title": title, **of_title} for title in titles]
    # No row of the tables is a Western.
    assert served(loaded, rows) == [NOBODY + 1.0, NOBODY + 1.0, NOBODY, 3.5]
    of_user = {"user_age": [30], "user_gender": ["F"], "user_occupation": ["nobody's"], "user_zip_code": ["90210"]}
    rows = [{"user_id": user, "movie_title": "?", **of_user} for user in ("new", "8", "7")]
    assert served(loaded, rows) == [NOBODY + 0.75, NOBODY + 1.0, NOBODY]


def test_rank_sorts_and_keeps_ties_in_input_order(loaded) -> None:
    titles = ["Unseen B", "Alien (1979)", "Unseen A", "Heat (1995)", "Élan vital"]
    answer = loaded.signatures["rank"](user_id=tf.constant(["7"]), movie_title=tf.constant(titles))
    order = [title.decode() for title in answer["movie_title"].numpy()]
    assert order == ["Élan vital", "Heat (1995)", "Unseen B", "Unseen A", "Alien (1979)"]
    np.testing.assert_array_equal(answer["predicted_rating"], np.array([5.0, 3.5, 2.5, 2.5, 2.0], np.float32))


def test_rank_of_one_and_of_no_candidates(loaded) -> None:
    rank = loaded.signatures["rank"]
    one = rank(user_id=tf.constant(["?"]), movie_title=tf.constant(["?"]))
    assert one["movie_title"].numpy().tolist() == [b"?"]
    assert one["predicted_rating"].shape == (1,)
    none = rank(user_id=tf.constant(["7"]), movie_title=tf.constant([], tf.string))
    assert none["predicted_rating"].shape == (0,)


def evaluated(loaded, pairs: list[tuple[str, str]]) -> dict[str, list]:
    examples = tf.constant([serialize({"user_id": user, "movie_title": title}) for user, title in pairs])
    answer = loaded.signatures["evaluation"](examples=examples)
    return {name: value.numpy().tolist() for name, value in answer.items()}


def test_slices_count_the_ratings_fitted_on(loaded) -> None:
    answer = evaluated(loaded, [("7", "Heat (1995)"), ("07", "Alien (1979)"), ("8", "Untold"), ("?", "?")])
    # User 7 has three ratings, 07 one; Heat two, Alien one.
    assert answer["user_activity"] == [b"3-9", b"1-2", b"unrated", b"new"]
    assert answer["title_popularity"] == [b"1-2", b"1-2", b"unrated", b"new"]


@pytest.mark.parametrize(("count", "name"), [(1, 2), (2, 2), (3, 3), (9, 3), (10, 4), (199, 5), (200, 6)])
@pytest.mark.parametrize("listed", [0, 1])
def test_slice_edges(count: int, name: int, listed: int) -> None:
    vectors = tf.constant([[0.0, listed]])
    unrated = serving.slice_names(tf.constant([0], tf.int32), tf.constant([0], tf.int64), vectors)
    assert unrated.numpy()[0].decode() == serving.SLICE_NAMES[listed]
    answer = serving.slice_names(tf.constant([count], tf.int32), tf.constant([0], tf.int64), vectors)
    assert answer.numpy().tolist() == [serving.SLICE_NAMES[name].encode()]


def test_ids_beyond_the_counts_have_those_of_the_last_row() -> None:
    counts, ids = tf.constant([5, 1, 0], tf.int32), tf.constant([0, 1, 2, 3, 9], tf.int64)
    names = serving.slice_names(counts, ids, tf.zeros([5, 2])).numpy().tolist()
    assert names == [b"3-9", b"1-2", b"new", b"new", b"new"]


def test_baselines_travel_with_the_model(exported, loaded) -> None:
    *_, fitted_on, output = exported
    pairs = [("7", "Heat (1995)"), ("07", "Alien (1979)"), ("?", "Heat (1995)"), ("7", "?"), ("?", "?")]
    answer = evaluated(loaded, pairs)
    ids = []
    for column, names in (("user_id", [user for user, _ in pairs]), ("movie_title", [title for _, title in pairs])):
        vocabulary = output.vocabulary_by_name(column)
        positions = {word.decode(): number for number, word in enumerate(vocabulary)}
        ids.append(np.array([positions.get(name, len(positions)) for name in names]))
    for name, model in {
        "global_mean": baselines.GlobalMean,
        "title_mean": baselines.TitleMean,
        "user_title_bias": baselines.UserTitleBias,
    }.items():
        np.testing.assert_allclose(answer[name], model.fit(fitted_on).predict(*ids), rtol=1e-6, err_msg=name)
    assert answer["global_mean"][0] == pytest.approx(np.mean([row["user_rating"] for row in ROWS]))


def test_warm_up_requests_can_be_served(exported, loaded) -> None:
    records = tf.data.TFRecordDataset(str(pathlib.Path(exported[0], "assets.extra", "tf_serving_warmup_requests")))
    asked = []
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "movie_ranking"
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        answer = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert np.isfinite(answer["predicted_rating"]).all()
        asked.append(request.model_spec.signature_name)
    assert asked == ["serving_default", "predict", "rank"]


def test_vocabularies_are_inside_the_saved_model(exported) -> None:
    assets = pathlib.Path(exported[0], "assets")
    # What was rated, the most rated first, and apart from it what was not.
    assert (assets / "user_id").read_text().splitlines() == USERS
    assert (assets / "movie_title").read_text(encoding="utf-8").splitlines()[0] == "Heat (1995)"
    assert sorted((assets / "movie_title").read_text(encoding="utf-8").splitlines()) == sorted(TITLES)
    assert (assets / "unrated_user_id").read_text().splitlines() == ["8"]
    assert (assets / "unrated_movie_title").read_text().splitlines() == ["Aliens (1986)", "Untold"]


def test_without_side_tables_there_is_nothing_beside_the_vocabularies(exported, tmp_path: pathlib.Path) -> None:
    *_, fitted_on, output = exported
    path = str(tmp_path / "model")
    serving.export(serving.ServingModel(TableModel(np.ones((3, 4))), output, fitted_on, side_features()), path)
    assert sorted(os.listdir(pathlib.Path(path, "assets"))) == ["movie_title", "user_id"]
    assert served(tf.saved_model.load(path), [{"user_id": "8", "movie_title": "Aliens (1986)"}]) == [1.0]


NAMES_ASKED = """
import json, sys, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
signatures = model.signatures
answers = []
for user, title in json.load(sys.stdin):
    user_id, movie_title = tf.constant([user]), tf.constant([title])
    example = tf.train.Example()
    for name, value in (("user_id", user), ("movie_title", title)):
        example.features.feature[name].bytes_list.value.append(value.encode())
    examples = tf.constant([example.SerializeToString()])
    ranked = signatures["rank"](user_id=user_id, movie_title=movie_title)
    assert ranked["movie_title"].numpy().tolist() == [title.encode()], "a title comes back as it was given"
    evaluated = signatures["evaluation"](examples=examples)
    answers.append([
        model({"user_id": user_id, "movie_title": movie_title}).numpy().tolist(),
        signatures["predict"](user_id=user_id, movie_title=movie_title)["predicted_rating"].numpy().tolist(),
        signatures["serving_default"](examples=examples)["predicted_rating"].numpy().tolist(),
        ranked["predicted_rating"].numpy().tolist(),
        {name: str(value.numpy().tolist()) for name, value in evaluated.items()},
    ])
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_every_signature_gives_one_answer_to_all_spellings_of_a_name_in_a_fresh_process(tmp_path: pathlib.Path) -> None:
    users, titles = {"rated": "zoë", "unrated": "José"}, {"rated": "Élan vital", "unrated": "Café noir"}
    rows = [*ROWS, {**ROWS[3], "user_id": users["rated"]}]
    output = analyze(rows)
    side = side_features(
        [{"movie_title": titles["unrated"], "genres": ["Crime"], "release_year": [1995]}],
        [{"user_id": users["unrated"], "user_age": [30], "user_gender": ["F"], "user_occupation": ["x"]}],
    )
    fitted_on = load(write_examples(tmp_path / "rows.gz", rows), output, side)
    # Another rating for every pair of ids, also with the features that the tables add to unknown ones.
    table = np.linspace(1.0, 3.0, 16).reshape(4, 4)
    path = str(tmp_path / "model")
    serving.export(serving.ServingModel(TableModel(table), output, fitted_on, side), path)

    def spellings(name: str) -> list[str]:
        decomposed = unicodedata.normalize("NFD", name)
        return [name, decomposed, f"\t{decomposed} ", f"{name}\u2028", decomposed.replace(" ", "\u00a0\r\n ")]

    pairs = [list(zip(spellings(u), spellings(t), strict=True)) for u in users.values() for t in titles.values()]
    unknown = ("nobody", "nothing")
    done = subprocess.run(
        [sys.executable, "-c", NAMES_ASKED, path],
        input=json.dumps([*(pair for each in pairs for pair in each), unknown]),
        capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    *answers, answer_to_unknown = json.loads(done.stdout)
    per_pair = [answers[at : at + 5] for at in range(0, len(answers), 5)]
    for of_one_pair in per_pair:
        assert of_one_pair == of_one_pair[:1] * 5
    # What is the same for all spellings tells one pair from another, and each from what is not known at all.
    stars = [of_one_pair[0][0][0][0] for of_one_pair in per_pair]
    assert len({*stars, answer_to_unknown[0][0][0]}) == 5
    expected = [["1-2", "1-2"], ["1-2", "unrated"], ["unrated", "1-2"], ["unrated", "unrated"]]
    for of_one_pair, slices in zip(per_pair, expected, strict=True):
        evaluated = of_one_pair[0][4]
        assert [evaluated["user_activity"], evaluated["title_popularity"]] == [f"[{each.encode()}]" for each in slices]


def test_how_probable_a_rating_above_a_threshold_is() -> None:
    scores, deviations = np.array([3.0, 4.0, 5.0, 4.5]), np.array([0.5, 2.0, 1.0, 0.25])
    found = serving.prob_at_least(4.0, tf.constant(scores, tf.float32), tf.constant(deviations, tf.float32))
    np.testing.assert_allclose(found, stats.norm.sf(4.0, loc=scores, scale=deviations), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "threshold"),
    [
        ([1, 3, 4, 5], 3.5),  # Whole stars: the threshold is between those that are high and those below.
        ([1, 3.5, 4, 4.5], 3.75),
        ([4, 5, 5], 4.0),
        ([1, 2, 3], 4.0),
    ],
)
def test_a_high_rating_begins_between_those_that_are_and_those_that_are_not(small_ratings, given, threshold) -> None:
    rows = small_ratings.select(np.arange(len(given)))
    ratings = dataclasses.replace(rows, rating=np.array(given, np.float32))
    assert serving.high_rating(ratings) == threshold
