"""Nothing of the test split reaches a model: neither its ratings nor who rated what in it."""

from __future__ import annotations

import csv
import functools
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from tfx.orchestration.pipeline import Pipeline, RunOptions

from data import synthetic
from modules import presets
from pipeline.config import resolve
from pipeline.config.pipeline_config import HASHED_SPLITS, DataConfig, PipelineConfig, TrainerConfig
from pipeline.graph.pipeline import create_pipeline
from pipeline.local.dag_runner import DONE, LocalRunner
from pipeline.local.observers import Observer

ROWS, USERS, TITLES = 1_500, 30, 60
TEST_ROWS = 300
SHORT = {"default": {"iterations": 40, "burn_in": 10}, "notebook": {"batch_size": 256}}
COLUMNS = ("user_id", "movie_title")
UNKNOWN = "not in the training rows"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Data folders with side features: `first`; the same with another test split; with one other training rating."""
    root = tmp_path_factory.mktemp("data")
    synthetic.write(root / "all", rows=ROWS, users=USERS, titles=TITLES, seed=2, side_features=True)
    with (root / "all" / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(0).permutation(ROWS)
    train, test = ([rows[k] for k in part] for part in (order[TEST_ROWS:], order[:TEST_ROWS]))
    # Half of the pairs go; the other half get the opposite rating; a user and a title that nobody knows come in.
    others = [opposite(row) for row in test[::2]]
    others += [{**test[1], "user_id": UNKNOWN}, {**test[1], "movie_title": UNKNOWN}]

    made = {}
    for name, parts in {
        "first": (train, test),
        "other test": (train, others),
        "other train": ([opposite(train[0]), *train[1:]], test),
    }.items():
        made[name] = root / name
        for split, part in zip(("train", "test"), parts, strict=True):
            (made[name] / split).mkdir(parents=True)
            with (made[name] / split / "ratings.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0], lineterminator="\n")
                writer.writeheader()
                writer.writerows(part)
        for file in ("titles.csv", "users.csv"):
            shutil.copy(root / "all" / file, made[name])
        (made[name] / "ratings.json").write_text('{"rating_scale": [1, 5]}')
    return made


def opposite(row: dict[str, str]) -> dict[str, str]:
    """The row with five stars instead of one, and so on; one star instead of three."""
    rating = float(row["user_rating"])
    return {**row, "user_rating": f"{1.0 if rating == 3 else 6 - rating:g}"}


def predictions_of(data: pathlib.Path, preset: str, output: pathlib.Path) -> np.ndarray:
    """Ratings of every user and title, unknown ones too, by the model that the pipeline exports on this data."""
    values = [f"trainer.model.{key}={value}" for key, value in SHORT.get(preset, {}).items()]
    config = resolve.resolve(
        {"data.root": str(data), "output": str(output / data.name), "trainer.preset": preset}, assignments=tuple(values)
    )
    observer = Observer()
    runner = LocalRunner(str(output / data.name / "logs"), observer)
    runner.run(create_pipeline(config), run_options=RunOptions(to_nodes=["Trainer"]))
    # Trained on this folder, not taken from another run.
    assert observer.ended["Trainer"][0] == DONE
    (path,) = (output / data.name / "artifacts" / "Trainer" / "model" / str(runner.executions["Trainer"])).glob(
        "**/saved_model.pb"
    )
    model = tf.saved_model.load(str(path.parent))
    names = [(path.parent / "assets" / column).read_text(encoding="utf-8").splitlines() for column in COLUMNS]
    users, titles = (tf.constant([*sorted(known), UNKNOWN]) for known in names)
    return model({"user_id": tf.repeat(users, len(titles)), "movie_title": tf.tile(titles, [len(users)])}).numpy()


@pytest.fixture(scope="module")
def rated(folders, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], np.ndarray]:
    """Predictions by name of the data folder and preset; each folder has an output folder of its own."""
    output = tmp_path_factory.mktemp("output")
    return functools.cache(lambda name, preset: predictions_of(folders[name], preset, output))


@pytest.mark.slow
@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_another_test_split_gives_the_same_model(preset: str, rated: Callable[[str, str], np.ndarray]) -> None:
    np.testing.assert_array_equal(rated("first", preset), rated("other test", preset))


@pytest.mark.slow
def test_another_training_rating_gives_another_model(rated: Callable[[str, str], np.ndarray]) -> None:
    """What the test above would see if something leaked."""
    first, other = rated("first", "fast"), rated("other train", "fast")
    assert first.shape == other.shape
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize(
    ("splits", "given"), [(HASHED_SPLITS, False), (("train", "eval", "test"), True), (("train", "test"), True)]
)
def test_nothing_is_told_to_fit_on_test(splits: tuple[str, ...], given: bool, tmp_path: pathlib.Path) -> None:
    (tmp_path / "ratings.csv").touch()
    data = DataConfig(root=str(tmp_path), splits=splits, given=given)
    pipeline = create_pipeline(PipelineConfig(data=data, trainer=TrainerConfig(preset="fast")))
    for component, names in {"Transform": ["analyzed_splits"], "Trainer": ["train_args", "eval_args"]}.items():
        told = [_property(pipeline, component, name) for name in names]
        assert all('"train"' in text or '"eval"' in text for text in told), component
        assert not any('"test"' in text for text in told), component


def _property(pipeline: Pipeline, component: str, name: str) -> str:
    (node,) = (node for node in pipeline.components if node.id == component)
    return str(node.exec_properties[name])
