"""Yardstick: the notebook's model without a pipeline, as a script.

`TF_USE_LEGACY_KERAS=1 python notebook_script.py RATINGS_CSV` splits 80 / 20, fits three epochs, evaluates, exports,
loads and asks once. Prints a JSON line with the test RMSE and seconds by stage.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

CLOCK = [("start", time.perf_counter())]

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_recommenders as tfrs


def lap(stage: str) -> None:
    CLOCK.append((stage, time.perf_counter()))


def embed(vocabulary: np.ndarray) -> tf.keras.Model:
    lookup = tf.keras.layers.StringLookup(vocabulary=vocabulary, mask_token=None)
    return tf.keras.Sequential([lookup, tf.keras.layers.Embedding(len(vocabulary) + 1, 32)])


class NotebookScript(tfrs.Model):
    """Two embeddings, Dense 256/64/1, mean squared error."""

    def __init__(self, users: np.ndarray, titles: np.ndarray):
        super().__init__()
        self.users, self.titles = embed(users), embed(titles)
        dense = tf.keras.layers.Dense
        self.ratings = tf.keras.Sequential([dense(256, activation="relu"), dense(64, activation="relu"), dense(1)])
        self.task = tfrs.tasks.Ranking(tf.keras.losses.MeanSquaredError(), [tf.keras.metrics.RootMeanSquaredError()])

    def call(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.ratings(tf.concat([self.users(features["user_id"]), self.titles(features["movie_title"])], 1))

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        features = dict(inputs)
        labels = features.pop("user_rating")
        return self.task(labels=labels, predictions=self(features))


def main(path: str) -> None:
    lap("import")
    columns = ["user_id", "movie_title", "user_rating"]
    ratings = pd.read_csv(path, usecols=columns, dtype={"user_id": str, "user_rating": np.float32})
    tf.random.set_seed(42)
    shuffled = ratings.sample(frac=1.0, random_state=42)
    cut = round(0.8 * len(shuffled))
    train, test = (
        tf.data.Dataset.from_tensor_slices({name: part[name].to_numpy() for name in columns})
        for part in (shuffled[:cut], shuffled[cut:])
    )
    model = NotebookScript(ratings.user_id.unique(), ratings.movie_title.unique())
    model.compile(tf.keras.optimizers.Adagrad(0.1))
    lap("read")
    model.fit(train.shuffle(100_000).batch(8192).cache(), epochs=3, verbose=0)
    lap("fit")
    rmse = model.evaluate(test.batch(4096), return_dict=True, verbose=0)["root_mean_squared_error"]
    lap("evaluate")
    folder = tempfile.mkdtemp()
    pair = {"user_id": np.array(["90"]), "movie_title": np.array(["12 Angry Men (1957)"])}
    model(pair)
    tf.saved_model.save(model, folder)
    tf.saved_model.load(folder)(pair)
    lap("export")
    seconds = {stage: round(end - CLOCK[number][1], 2) for number, (stage, end) in enumerate(CLOCK[1:])}
    print(json.dumps({"rmse": round(float(rmse), 4), "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
