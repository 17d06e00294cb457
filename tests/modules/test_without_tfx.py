"""The model by plain functions alone: analyzed, fitted, exported and judged in a process that never imports TFX."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import json, pathlib, sys, tempfile
from pipeline import environment
environment.prepare()

import numpy as np
import tensorflow as tf

from modules import judge, metrics, serving, sliced_metrics, trainer
from tests import support

rng = np.random.default_rng(4)
user, title = np.nonzero(rng.random((40, 30)) < 0.6)
taste, quality = rng.normal(size=40), rng.normal(size=30)
stars = np.clip(np.round(3 + taste[user] + quality[title] + rng.normal(0, 0.3, len(user))), 1, 5)
rows = [
    {"user_id": f"user {u}", "movie_title": f"Title {t}", "user_rating": float(r)}
    for u, t, r in zip(user, title, stars)
]
held_out = rng.random(len(rows)) < 0.2
train = [row for row, out in zip(rows, held_out) if not out]
test = [row for row, out in zip(rows, held_out) if out]

folder = pathlib.Path(tempfile.mkdtemp())
output = support.analyze(train)
side = support.side_features([{"movie_title": f"Title {t}", "genres": [f"genre {t % 3}"]} for t in range(30)])
ratings = support.load(support.write_examples(folder / "train.gz", train), output, side)
model, fitted_on, *_ = trainer.train(ratings, None, preset="fast", values={"epochs": 20, "steps": 10}, seed=0)
serving.export(serving.ServingModel(model, output, fitted_on, side), str(folder / "model"))

names = {name: tf.constant([row[name] for row in test]) for name in ("user_id", "movie_title")}
predict = tf.saved_model.load(str(folder / "model")).signatures["predict"]
predictions = predict(**names)["predicted_rating"].numpy()[:, 0]
labels = np.array([row["user_rating"] for row in test])
batch = tf.constant([support.serialize(row) for row in test])
measured = judge.evaluate(judge.Scorer(str(folder / "model")), [batch])[sliced_metrics.OVERALL]
print(json.dumps({
    "judged": {name: values[sliced_metrics.RMSE] for name, values in measured.items()},
    "rmse": metrics.rmse(labels, predictions),
    "rmse_of_the_mean": metrics.rmse(labels, np.full(len(test), ratings.rating.mean())),
    "imported": [name for name in ("tfx", "ml_metadata") if name in sys.modules],
}))
"""


@pytest.mark.slow
def test_a_model_is_fitted_exported_and_judged_without_tfx() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["imported"] == []
    judged = found["judged"]
    assert set(judged) == {"candidate", "user_title_bias", "title_mean", "global_mean"}
    assert judged["candidate"] == pytest.approx(found["rmse"], rel=1e-6)
    assert judged["global_mean"] == pytest.approx(found["rmse_of_the_mean"], rel=1e-6)
    assert judged["candidate"] < 0.7 * judged["global_mean"]
