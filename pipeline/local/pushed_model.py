"""The model that was pushed last, asked from Python."""

from __future__ import annotations

import csv
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf

from modules import features, serving
from pipeline.local.run import LAST_RUN_FILE

Model = TypeVar("Model", bound="PushedModel")


class PushedModel:
    """A pushed SavedModel."""

    def __init__(self, path: pathlib.Path):
        """Loads the model of one version folder."""
        self.path = path
        self._loaded = tf.saved_model.load(str(path))

    @classmethod
    def latest(cls: type[Model], output: str) -> Model:
        """Loads the latest version under a pipeline's output folder.

        Raises:
          ValueError: nothing was pushed there.
        """
        folder = pathlib.Path(output) / "serving_model"
        versions = [path for path in folder.glob("*") if path.name.isdigit() and (path / "saved_model.pb").exists()]
        if not versions:
            raise ValueError(f"expected a pushed model under {folder}; there is none; run `movie-ranking run` first")
        return cls(max(versions, key=lambda path: int(path.name)))

    def known(self, column: features.Column) -> list[str]:
        """Every user or title among the ratings that the model was fitted on, most rated first."""
        with (self.path / "assets" / column.name).open(encoding="utf-8") as file:
            return [line.rstrip("\n") for line in file]

    def predict(self, users: Sequence[str], titles: Sequence[str]) -> np.ndarray:
        """Rates pairs of user and title, float32 [pairs], stars."""
        pairs = {features.USER_ID.name: tf.constant(list(users)), features.MOVIE_TITLE.name: tf.constant(list(titles))}
        return self._loaded(pairs).numpy()[:, 0]

    def rank(self, user: str, titles: Sequence[str]) -> list[tuple[str, float]]:
        """Titles and their ratings in stars, best first; ties in the order given."""
        answer = self._loaded.signatures["rank"](
            user_id=tf.constant([user]), movie_title=tf.constant(list(titles), tf.string)
        )
        ranked = (title.decode() for title in answer[features.MOVIE_TITLE.name].numpy())
        return list(zip(ranked, answer[serving.PREDICTED_RATING].numpy().tolist(), strict=True))


def seen_titles(output: str, user: str) -> set[str]:
    """Titles that a user rated in the data of the last run.

    Raises:
      ValueError: there was no run, or its data are gone.
    """
    record = pathlib.Path(output) / LAST_RUN_FILE
    try:
        root = json.loads(record.read_text(encoding="utf-8"))["config"]["data"]["root"]
    except FileNotFoundError:
        raise ValueError(
            f"expected {record}, which says where the ratings are; run `movie-ranking run` first"
        ) from None
    files = sorted(pathlib.Path(root).glob("**/ratings.csv"))
    if not files:
        raise ValueError(f"expected the ratings of the last run in {root}; they are gone; leave out --exclude-seen")
    return {row[features.MOVIE_TITLE.name] for row in _rows(files) if row[features.USER_ID.name] == user}


def _rows(files: list[pathlib.Path]) -> Iterator[dict[str, str]]:
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
