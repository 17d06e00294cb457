"""The model that was pushed last, asked from Python."""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from modules.errors import UserError

if int(pa.__version__.partition(".")[0]) < 14:
    import pyarrow_hotfix  # noqa: F401  # switches off what lets a file run code (CVE-2023-47248)

from components import pushed_versions
from data import reader, tables
from data.rejects import Rejects, parse_text
from data.sidecar import ratings_pattern
from modules import catalogue, features, file_sums, paths, serving
from modules.recommending import (
    ASKED_TITLE,
    EXCLUDE,
    EXPLAIN,
    EXPLAIN_FOR,
    FEATURE_SHARES,
    FEATURES,
    ONLY,
    RATED_TITLE,
    RECOMMEND,
    RECOMMEND_FOR,
    SCORE,
    SHARES,
    SIMILAR,
    K,
)
from modules.side_tables import UNRATED_PREFIX
from pipeline.local.run import LAST_RUN_FILE

# What TensorFlow makes of a SavedModel of which a file is lost, cut or overwritten.
_DAMAGED = (OSError, ValueError, RuntimeError, LookupError, AttributeError, TypeError, tf.errors.OpError)
_FAULT_CHARACTERS = 200
_REMEDY = "`movie-ranking run` pushes it again"

Model = TypeVar("Model", bound="PushedModel")


class DamagedModelError(UserError):
    """A model cannot be loaded as it was exported.

    Attributes:
      fault: why, in a line.
    """

    def __init__(self, path: pathlib.Path, fault: str):
        """Names the folder and what is wrong with it."""
        super().__init__(
            f"expected a SavedModel that loads in {path}; got: {fault}; give the folder of one version that is whole, "
            "such as output/serving_model/1, or export it again"
        )
        self.fault = fault


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


class Reasons(NamedTuple):
    """What a title's score for somebody is made of; all numbers add up to the score.

    Attributes:
      ratings: what the rating of each title adds.
      rest: what else the order weighs adds, by its name.
    """

    ratings: dict[str, float]
    rest: dict[str, float]

    def strongest(self, most_for: int, most_against: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The ratings that speak most for the title, and those that speak most against it, the strongest first."""
        by_share = sorted(self.ratings.items(), key=lambda item: -item[1])
        return (
            [each for each in by_share[:most_for] if each[1] > 0.0],
            [each for each in by_share[::-1][:most_against] if each[1] < 0.0],
        )


class PushedModel:
    """A pushed SavedModel."""

    def __init__(self, path: pathlib.Path):
        """Loads the model of one version folder.

        Raises:
          DamagedModelError: its files are not those that were exported, or TensorFlow cannot load them.
        """
        self.path = path
        folder = paths.plain(str(path))
        if fault := file_sums.fault(folder):
            raise DamagedModelError(path, fault)
        try:
            self._loaded = tf.saved_model.load(folder)
        except _DAMAGED as error:
            raise DamagedModelError(path, _in_a_line(error)) from error

    @classmethod
    def latest(cls: type[Model], output: str, tell: Callable[[str], None]) -> Model:
        """Loads the version under a pipeline's output folder that servers take, or the newest that is not damaged.

        Args:
          output: the folder.
          tell: takes a line where it is not the newest.

        Raises:
          UserError: nothing was pushed there, or nothing of it can be loaded.
        """
        folder = pathlib.Path(output) / "serving_model"
        versions = pushed_versions.versions(str(folder))
        if not versions:
            raise UserError(f"expected a pushed model under {folder}; there is none; run `movie-ranking run` first")
        faults: dict[str, str] = {}
        for _, path in sorted(versions.items(), reverse=True):
            try:
                model = cls(pathlib.Path(path))
            except DamagedModelError as error:
                faults[path] = error.fault
                continue
            for damaged, fault in faults.items():
                tell(f"note: {damaged} cannot be loaded: {fault}; {path} answers; {_REMEDY}")
            return model
        newest, fault = next(iter(faults.items()))
        raise UserError(f"expected a model in {newest} that can be loaded, or one before it; got: {fault}; {_REMEDY}")

    def vocabulary(self, column: features.Column) -> list[str]:
        """Every user or title that the model knows: what it was fitted on, most rated first, then what tables add.

        Raises:
          DamagedModelError: they cannot be read.
        """
        return self._asset("", column) + self._asset(UNRATED_PREFIX, column)

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

    def check_recommends(self) -> None:
        """Refuses a model that was exported without what recommends.

        Raises:
          UserError: it is such a model.
        """
        if RECOMMEND not in self._loaded.signatures:
            raise UserError(
                f"expected a model that recommends; got {self.path}, which was exported without; run again with "
                "trainer.retrieval=als_ease"
            )

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
          UserError: the model was exported without what recommends.
        """
        signature = RECOMMEND_FOR if user is None else RECOMMEND
        answer = self._pick(signature, _person(user, ratings), count, exclude, only)
        names, stars = answer[features.MOVIE_TITLE.name].numpy(), answer[serving.PREDICTED_RATING].numpy().tolist()
        return [Rated(name.decode(), rating, None) for name, rating in zip(names, stars, strict=True)]

    def explain(self, user: str | None, ratings: Mapping[str, float], titles: Sequence[str]) -> list[Reasons]:
        """What the scores of titles for somebody are made of.

        Args:
          user: as in `recommend`.
          ratings: as in `recommend`.
          titles: what to explain.
        """
        signature = EXPLAIN_FOR if user is None else EXPLAIN
        asked = {ASKED_TITLE: tf.constant(list(titles), tf.string)}
        answer = self._loaded.signatures[signature](**_person(user, ratings), **asked)
        rated, names = ([name.decode() for name in answer[key].numpy()] for key in (RATED_TITLE, FEATURES))
        return [
            Reasons(dict(zip(rated, shares, strict=True)), dict(zip(names, rest, strict=True)))
            for shares, rest in zip(
                answer[SHARES].numpy().tolist(), answer[FEATURE_SHARES].numpy().tolist(), strict=True
            )
        ]

    def titles_with(self, genres: Sequence[str], years: tuple[int, int] | None) -> list[str]:
        """The titles of the catalogue that are of any of these genres, and came out in these years.

        Args:
          genres: in any capitals; none for all.
          years: the first and the last; None for all.

        Raises:
          UserError: the model has no descriptions, no title is of a genre, or none of all titles fits.
        """
        described = catalogue.read(str(self.path))
        known = {genre.casefold(): genre for description in described.values() for genre in description.genres}
        if unknown := [genre for genre in genres if genre.casefold() not in known]:
            there = f"of {', '.join(sorted(known.values()))}" if known else "none: the titles table has no genres"
            raise UserError(f"expected a genre that a title has, {there}; got {', '.join(unknown)}")
        wanted = {known[genre.casefold()] for genre in genres}
        first, last = years or (0, 0)
        found = [
            title
            for title, (of_title, year) in described.items()
            if (not wanted or wanted & set(of_title)) and (not years or (year is not None and first <= year <= last))
        ]
        if not found:
            raise UserError(
                f"expected a title of these genres and years; got none among {len(described):,} in the titles table"
            )
        return found

    def write_vectors(self, folder: str) -> tuple[int, int]:
        """Writes `users.parquet` and `titles.parquet`, a name and a vector of float32 a row.

        The product of a user's vector and a title's is the score of iALS; the final order weighs it beside others.

        Returns:
          How many users and titles there are.

        Raises:
          UserError: the model was exported without what recommends.
          OSError: the folder cannot be written.
        """
        self.check_recommends()
        os.makedirs(folder, exist_ok=True)
        counts = []
        for table, column, vectors in (
            (features.USERS, features.USER_ID, self._loaded.user_vectors),
            (features.TITLES, features.MOVIE_TITLE, self._loaded.title_vectors),
        ):
            names = self._asset("", column)
            values = pa.FixedSizeListArray.from_arrays(vectors.numpy()[: len(names)].ravel(), vectors.shape[1])
            path = os.path.join(folder, f"{table.name}.parquet")
            pq.write_table(pa.table({column.name: names, "vector": values}), f"{path}.partial")
            os.replace(f"{path}.partial", path)
            counts.append(len(names))
        return counts[0], counts[1]

    def similar(self, title: str, count: int) -> list[tuple[str, float]]:
        """Titles that the same people choose as another, and the cosines of their vectors, the most alike first.

        Raises:
          UserError: the model was exported without what recommends.
        """
        answer = self._pick(SIMILAR, {features.MOVIE_TITLE.name: tf.constant([title])}, count, (), ())
        names, cosines = answer[features.MOVIE_TITLE.name].numpy(), answer[SCORE].numpy().tolist()
        return [(name.decode(), cosine) for name, cosine in zip(names, cosines, strict=True)]

    def _pick(
        self, signature: str, inputs: Mapping[str, tf.Tensor], count: int, exclude: Sequence[str], only: Sequence[str]
    ) -> dict[str, tf.Tensor]:
        self.check_recommends()
        wanted = {
            K: tf.constant(count),
            EXCLUDE: tf.constant(list(exclude), tf.string),
            ONLY: tf.constant(list(only), tf.string),
        }
        return self._loaded.signatures[signature](**inputs, **wanted)

    def _asset(self, prefix: str, column: features.Column) -> list[str]:
        path = self.path / "assets" / f"{prefix}{column.name}"
        if not path.exists():
            return []
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise DamagedModelError(self.path, f"{path.name} is no text in UTF-8: {error}") from error
        # Not `splitlines`, which knows ends of lines that a title may hold.
        return [name for name in text.split("\n") if name]

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


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _FAULT_CHARACTERS else text[:_FAULT_CHARACTERS] + "…"


def _person(user: str | None, ratings: Mapping[str, float]) -> dict[str, tf.Tensor]:
    """Somebody as signatures take them: a user, or for None, ratings of somebody new."""
    if user is not None:
        return {features.USER_ID.name: tf.constant([user])}
    return {
        features.MOVIE_TITLE.name: tf.constant(list(ratings), tf.string),
        features.USER_RATING.name: tf.constant(list(ratings.values()), tf.float32),
    }


def seen_titles(output: str, user: str) -> set[str]:
    """Titles that a user rated in the data of the last run.

    Raises:
      UserError: there was no run, its record is damaged, or its data are gone or no longer what a run takes.
    """
    record = pathlib.Path(output) / LAST_RUN_FILE
    try:
        data = json.loads(record.read_text(encoding="utf-8"))["config"]["data"]
        root, splits = str(data["root"]), data["splits"] if data["given"] else [""]
        patterns = [ratings_pattern(split) for split in splits]
    except FileNotFoundError:
        raise UserError(f"expected {record}, which says where the ratings are; run `movie-ranking run` first") from None
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"expected {record} to be what a run wrote; got something else, at {error}; `movie-ranking run` writes it "
            "anew; or leave out --exclude-seen"
        ) from error
    files = [path for pattern in patterns for path in tf.io.gfile.glob(f"{paths.escape(root)}/{pattern}")]
    if not files:
        raise UserError(f"expected the ratings of the last run in {root}; they are gone; leave out --exclude-seen")
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
