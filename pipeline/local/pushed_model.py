"""The model that was pushed last, asked from Python."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from components import pushed_versions
from data import reader, tables
from data.rejects import Rejects, parse_text
from data.sidecar import ratings_pattern
from modules import features, paths, serving
from modules.recommending import EXCLUDE, ONLY, RECOMMEND, RECOMMEND_FOR, SCORE, SIMILAR, K
from modules.side_tables import UNRATED_PREFIX
from pipeline.local.run import LAST_RUN_FILE

Model = TypeVar("Model", bound="PushedModel")


class Rated(NamedTuple):
    """A title as the model rates it for a user.

    Attributes:
      title: the title.
      stars: predicted rating, within the scale.
      deviation: standard deviation of the rating around it, stars; None of a model that does not tell.
    """

    title: str
    stars: float
    deviation: float | None

    def __str__(self) -> str:
        sure = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.stars:.2f}{sure}  {self.title}"


class PushedModel:
    """A pushed SavedModel."""

    def __init__(self, path: pathlib.Path):
        """Loads the model of one version folder."""
        self.path = path
        self._loaded = tf.saved_model.load(paths.plain(str(path)))

    @classmethod
    def latest(cls: type[Model], output: str) -> Model:
        """Loads the version under a pipeline's output folder that servers take.

        Raises:
          ValueError: nothing was pushed there.
          OSError: the version cannot be loaded.
        """
        folder = pathlib.Path(output) / "serving_model"
        versions = pushed_versions.versions(str(folder))
        whole = {number: path for number, path in versions.items() if tf.saved_model.contains_saved_model(path)}
        if not whole:
            raise ValueError(f"expected a pushed model under {folder}; there is none; run `movie-ranking run` first")
        return cls(pathlib.Path(whole[max(whole)]))

    def vocabulary(self, column: features.Column) -> list[str]:
        """Every user or title that the model knows: what it was fitted on, most rated first, then what tables add."""
        paths = (self.path / "assets" / f"{prefix}{column.name}" for prefix in ("", UNRATED_PREFIX))
        # Not `splitlines`, which knows ends of lines that a title may hold.
        return [name for path in paths if path.exists() for name in path.read_text("utf-8").split("\n") if name]

    def predict(self, users: Sequence[str], titles: Sequence[str]) -> np.ndarray:
        """Rates pairs of user and title, float32 [pairs], stars."""
        pairs = {features.USER_ID.name: tf.constant(list(users)), features.MOVIE_TITLE.name: tf.constant(list(titles))}
        return self._loaded(pairs).numpy()[:, 0]

    def rate(self, user: str, titles: Sequence[str]) -> list[Rated]:
        """Titles as the model rates them for a user, in the order given."""
        return self._ask("predict", tf.repeat(user, len(titles)), titles)

    def rank(self, user: str, titles: Sequence[str]) -> list[Rated]:
        """Titles as the model rates them for a user, best first; ties in the order given."""
        return self._ask("rank", tf.constant([user]), titles)

    def recommend(
        self,
        user: str | None,
        ratings: Mapping[str, float],
        count: int,
        *,
        exclude: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> list[Rated]:
        """The best titles of the catalogue, best first, without those that the person has rated.

        Args:
          user: whose training ratings count; None for somebody new.
          ratings: stars by title of somebody new.
          count: how many titles.
          exclude: titles that are left out.
          only: titles that may be among them; none for all.

        Raises:
          ValueError: the model was exported without what recommends.
        """
        if user is not None:
            person = {features.USER_ID.name: tf.constant([user])}
        else:
            person = {
                features.MOVIE_TITLE.name: tf.constant(list(ratings), tf.string),
                features.USER_RATING.name: tf.constant(list(ratings.values()), tf.float32),
            }
        answer = self._pick(RECOMMEND_FOR if user is None else RECOMMEND, person, count, exclude, only)
        names, stars = answer[features.MOVIE_TITLE.name].numpy(), answer[serving.PREDICTED_RATING].numpy().tolist()
        return [Rated(name.decode(), rating, None) for name, rating in zip(names, stars, strict=True)]

    def similar(self, title: str, count: int) -> list[tuple[str, float]]:
        """Titles that the same people choose as another, and the cosines of their vectors, the most alike first.

        Raises:
          ValueError: the model was exported without what recommends.
        """
        answer = self._pick(SIMILAR, {features.MOVIE_TITLE.name: tf.constant([title])}, count, (), ())
        names, cosines = answer[features.MOVIE_TITLE.name].numpy(), answer[SCORE].numpy().tolist()
        return [(name.decode(), cosine) for name, cosine in zip(names, cosines, strict=True)]

    def _pick(
        self, signature: str, inputs: Mapping[str, tf.Tensor], count: int, exclude: Sequence[str], only: Sequence[str]
    ) -> dict[str, tf.Tensor]:
        if signature not in self._loaded.signatures:
            raise ValueError(
                f"expected a model that recommends; got {self.path}, which was exported without; run again with "
                "trainer.retrieval=als_ease"
            )
        wanted = {
            K: tf.constant(count),
            EXCLUDE: tf.constant(list(exclude), tf.string),
            ONLY: tf.constant(list(only), tf.string),
        }
        return self._loaded.signatures[signature](**inputs, **wanted)

    def _ask(self, signature: str, users: tf.Tensor, titles: Sequence[str]) -> list[Rated]:
        answer = self._loaded.signatures[signature](user_id=users, movie_title=tf.constant(list(titles), tf.string))
        stars = answer[serving.PREDICTED_RATING].numpy().ravel().tolist()
        deviations = answer[serving.RATING_STDDEV].numpy().ravel().tolist() if serving.RATING_STDDEV in answer else None
        if signature == "rank":
            titles = [title.decode() for title in answer[features.MOVIE_TITLE.name].numpy()]
        return [
            Rated(title, rating, None if deviations is None else deviations[place])
            for place, (title, rating) in enumerate(zip(titles, stars, strict=True))
        ]


def seen_titles(output: str, user: str) -> set[str]:
    """Titles that a user rated in the data of the last run.

    Raises:
      ValueError: there was no run, or its data are gone or no longer what a run takes.
    """
    record = pathlib.Path(output) / LAST_RUN_FILE
    try:
        data = json.loads(record.read_text(encoding="utf-8"))["config"]["data"]
    except FileNotFoundError:
        raise ValueError(
            f"expected {record}, which says where the ratings are; run `movie-ranking run` first"
        ) from None
    root = data["root"]
    patterns = [ratings_pattern(split) for split in (data["splits"] if data["given"] else [""])]
    files = [path for pattern in patterns for path in tf.io.gfile.glob(f"{paths.escape(root)}/{pattern}")]
    if not files:
        raise ValueError(f"expected the ratings of the last run in {root}; they are gone; leave out --exclude-seen")
    return set().union(*(_titles_of(user, path) for path in files))


def _titles_of(user: str, path: str) -> set[str]:
    """The titles that a user rated in one file, whose names are those that a model made of it knows."""
    table = tables.csv_table(path, features.RATINGS.columns, functools.partial(tf.io.gfile.GFile, mode="rb"))
    columns = (features.USER_ID, features.MOVIE_TITLE)
    parsers = {column.name: functools.partial(parse_text, what=column.name) for column in columns}
    titles: set[str] = set()
    for cells in reader.judged(table, parsers, Rejects(remedy=tables.PREPARE)):
        users, rated = (cells[column.name] for column in columns)
        titles.update(rated.values[code] for code in rated.codes[users.array(np.object_) == user])
    return titles
