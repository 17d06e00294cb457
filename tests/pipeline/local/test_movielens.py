"""The whole pipeline on MovieLens 100K: the notebook's figures, and better ones. Skips without the raw files."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from data import fetch
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run

pytestmark = pytest.mark.slow
NOTEBOOK_TITLES = ["2 Days in the Valley (1996)", "2001: A Space Odyssey (1968)", "12 Angry Men (1957)"]


@pytest.fixture(scope="module")
def ratings(movielens_100k: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return fetch.fetch(tmp_path_factory.mktemp("ml-100k"), source=movielens_100k).folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


def run_preset(preset: str, ratings: pathlib.Path, output: pathlib.Path) -> dict:
    config = resolve.resolve({"data.root": str(ratings), "output": str(output), "trainer.preset": preset})
    assert run.run(config, plain=True) == ExitCode.PUSHED
    return json.loads((output / run.LAST_RUN_FILE).read_text())


def test_the_notebook_preset_is_the_notebook(ratings, output, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run_preset("notebook", ratings, output)
    assert sum(record["split_sizes"].values()) == 99_693
    # Three initialisations of the notebook gave 1.105 to 1.141.
    assert 1.09 <= record["metrics"]["root_mean_squared_error"] <= 1.15

    (tmp_path / "export").symlink_to(record["pushed_path"])
    monkeypatch.chdir(tmp_path)
    # The notebook's last cell, word for word.
    loaded = tf.saved_model.load("export")

    rating = loaded({"user_id": np.array(["90"]), "movie_title": ["12 Angry Men (1957)"]}).numpy()
    assert rating.shape == (1, 1)
    assert rating.dtype == np.float32

    test_ratings = {
        title: loaded({"user_id": np.array(["90"]), "movie_title": np.array([title])}) for title in NOTEBOOK_TITLES
    }
    for title, score in sorted(test_ratings.items(), key=lambda x: x[1], reverse=True):
        assert 3.0 <= score[0][0] <= 4.5, title


def test_the_default_preset_is_far_better(ratings: pathlib.Path, output: pathlib.Path) -> None:
    record = run_preset("default", ratings, output)
    # Another split of the same ratings gives 0.877; the standard error of one split is about 0.005.
    assert record["metrics"]["root_mean_squared_error"] < 0.89
    bias = record["other_models"]["user_title_bias"]["root_mean_squared_error"]
    assert record["metrics"]["root_mean_squared_error"] < bias - 0.05
    shares = [record["metrics"][f"share_inside_{level}"] for level in (50, 80, 95)]
    assert shares == pytest.approx([0.5, 0.8, 0.95], abs=0.02)
    assert record["blessed_model"]
    # The two runs share everything up to Trainer.
    assert record["components"]["Transform"]["state"] == "cached"
    assert record["components"]["Trainer"]["state"] == "done"
