"""What a run makes of the side tables: the exported model knows them by id, and an edit runs what depends on it."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from data import synthetic
from modules import metrics
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run
from pipeline.local.pushed_model import PushedModel

pytestmark = pytest.mark.slow

ROWS, USERS, TITLES = 6_000, 80, 150
# Titles and users whose ratings are all test ratings, so that the model knows them by the side tables alone.
UNRATED_TITLES, UNRATED_USERS = 12, 5
NEVER_RATED = "Rated by Nobody, At All (1984)"
SETTINGS = (
    "trainer.preset=fast",
    "trainer.model.epochs=2",
    "evaluator.rmse_bound=2.0",
    "evaluator.max_regression=0.5",
    "evaluator.baseline=none",
)


def read(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder that comes split, in which the test ratings alone hold some of the catalogue."""
    folder = tmp_path_factory.mktemp("data")
    synthetic.write(folder / "whole", rows=ROWS, users=USERS, titles=TITLES, seed=3, side_features=True)
    ratings, titles = read(folder / "whole" / "ratings.csv"), read(folder / "whole" / "titles.csv")
    held_titles = {row["movie_title"] for row in titles[:UNRATED_TITLES]}
    held_users = {row["user_id"] for row in read(folder / "whole" / "users.csv")[:UNRATED_USERS]}
    rng = np.random.default_rng(0)
    parts: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for row in ratings:
        held = row["movie_title"] in held_titles or row["user_id"] in held_users
        parts["test" if held or rng.random() < 0.2 else "train"].append(row)
    split = folder / "split"
    split.mkdir()
    for part, rows in parts.items():
        write(split / part / "ratings.csv", rows)
    write(split / "titles.csv", [*titles, {**titles[0], "movie_title": NEVER_RATED}])
    shutil.copy(folder / "whole" / "users.csv", split)
    (split / "ratings.json").write_text('{"rating_scale": [1, 5]}')
    return split


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


def run_pipeline(data: pathlib.Path, output: pathlib.Path) -> dict:
    config = resolve.resolve({"data.root": str(data), "output": str(output)}, assignments=SETTINGS)
    assert run.run(config, plain=True) == ExitCode.PUSHED
    return json.loads((output / run.LAST_RUN_FILE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def record(data: pathlib.Path, output: pathlib.Path) -> dict:
    return run_pipeline(data, output)


def test_ids_alone_get_what_evaluator_measured(data: pathlib.Path, output: pathlib.Path, record: dict) -> None:
    model = PushedModel.latest(str(output), print)
    files = sorted((output / "artifacts" / "RatingsExampleGen").glob("examples/*/Split-test/*.gz"))
    examples = tf.concat(list(tf.data.TFRecordDataset([str(path) for path in files], "GZIP").batch(1_000)), axis=0)
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "movie_title")}
    rows = tf.io.parse_example(examples, {**spec, "user_rating": tf.io.FixedLenFeature([], tf.float32)})
    users, titles = (rows[name].numpy().astype(str).tolist() for name in spec)
    assert len(users) == len(read(data / "test" / "ratings.csv"))

    loaded = tf.saved_model.load(str(model.path))
    measured = loaded.signatures["serving_default"](examples=examples)["predicted_rating"].numpy()[:, 0]
    by_ids = model.predict(users, titles)
    np.testing.assert_array_equal(by_ids, measured)
    rmse = metrics.rmse(rows["user_rating"].numpy(), by_ids)
    assert rmse == pytest.approx(record["metrics"]["root_mean_squared_error"], abs=1e-6)


def test_the_side_tables_tell_unrated_titles_and_users_apart(data: pathlib.Path, output: pathlib.Path, record: dict):
    model = PushedModel.latest(str(output), print)
    titles = [row["movie_title"] for row in read(data / "titles.csv")[:UNRATED_TITLES]]
    users = [row["user_id"] for row in read(data / "users.csv")[:UNRATED_USERS]]
    by_title = model.predict(["1"] * len(titles), titles)
    assert np.ptp(by_title) > 1e-3
    assert np.abs(by_title - model.predict(["1"], ["in no table"])).max() > 1e-3
    title = read(data / "train" / "ratings.csv")[0]["movie_title"]
    by_user = model.predict(users, [title] * len(users))
    assert np.ptp(by_user) > 1e-3
    # Described like the first title, and as unrated: what no rating tells apart gets one rating.
    np.testing.assert_array_equal(model.predict(["1"], [NEVER_RATED]), by_title[:1])


def test_an_edit_of_a_side_table_runs_again_what_depends_on_it(
    data: pathlib.Path, output: pathlib.Path, record: dict
) -> None:
    before = PushedModel.latest(str(output), print).predict(["1"], [NEVER_RATED])
    rows = read(data / "titles.csv")
    other = next(row for row in rows if row["genres"] != rows[-1]["genres"])
    write(data / "titles.csv", [*rows[:-1], {**other, "movie_title": NEVER_RATED, "release_year": "1931"}])

    again = run_pipeline(data, output)
    states = {name: component["state"] for name, component in again["components"].items()}
    assert {name for name, state in states.items() if state == "cached"} == {
        "RatingsExampleGen", "StatisticsGen", "CuratedSchema", "ExampleValidator", "AnomalyGate", "Transform",
    }  # fmt: skip
    assert {name for name, state in states.items() if state == "done"} == {
        "TablesExampleGen", "Trainer", "BlessedModel", "Evaluator", "ServableValidator", "Pusher",
        "ReportGen",
    }  # fmt: skip
    assert PushedModel.latest(str(output), print).predict(["1"], [NEVER_RATED]) != before
