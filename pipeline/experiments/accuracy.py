"""How accurate the presets are, beside baselines and predictors of other libraries, on the same rows.

Every preset is trained, exported, loaded again, and asked with user and title alone. What was measured once is kept
until code, data or library change.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from rich.console import Console

from data import atomic
from data.sidecar import RATINGS_FILE, Sidecar, TableFile, table_files
from data.synthetic import EXPECTED_FILE
from modules import (
    baselines,
    features,
    list_metrics,
    metrics,
    presets,
    recommending,
    retrieval_fit,
    serving,
    trainer,
)
from modules.features import MOVIE_TITLE, USER_ID, USER_RATING
from modules.list_metrics import LENGTH
from modules.ratings import Ratings
from pipeline.config import resolve
from pipeline.experiments.accuracy_table import NOISE_FLOOR, Kind, Measurement
from pipeline.experiments.fit_time import FitTime, timed
from pipeline.experiments.list_table import ListMeasurement
from pipeline.experiments.peers import Peer, Task
from pipeline.graph.fingerprint import fingerprint
from pipeline.local.capture import captured
from pipeline.local.task_display import TaskDisplay
from pipeline.local.transformed import Transformed, run_to_transform

# The names say so: `ndcg_at_10`.
RANKING_DEPTH = 10

Baseline = type[baselines.GlobalMean] | type[baselines.TitleMean] | type[baselines.UserTitleBias]
BASELINES: dict[str, Baseline] = {
    "global mean": baselines.GlobalMean,
    "title mean": baselines.TitleMean,
    "user + title bias": baselines.UserTitleBias,
}


class Answer(NamedTuple):
    """What a method says of a split.

    Attributes:
      predictions: stars, float [test rows]; None of one that gives lists alone.
      fit: how long fitting took.
      lists: int [users of `Split.liked`, LENGTH], ids of titles, best first, -1 behind the end of a shorter list; None
        of one that rates alone.
    """

    predictions: np.ndarray | None
    fit: FitTime
    lists: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """Something that predicts ratings, or picks titles, or both.

    Attributes:
      name: what tables call it.
      kind: the sort of predictor that it is.
      seeds: what to repeat it with; one where the seed changes nothing.
      version: what its predictions depend on beside data and seed.
      answer: fits on a split's training rows: `answer(split, seed)`.
    """

    name: str
    kind: Kind
    seeds: tuple[int, ...]
    version: tuple[str, ...]
    answer: Callable[[Split, int], Answer]


class Liked(NamedTuple):
    """Highly rated test rows by user.

    Attributes:
      users: int64 [users], ids, rising.
      titles: of each user, ids of the titles with training rows.
      number: int [users], how many titles there are with others.
    """

    users: np.ndarray
    titles: list[np.ndarray]
    number: np.ndarray


class Split:
    """The rows of a data folder with train/ and test/, loaded when they are needed.

    Attributes:
      name: the split's name.
      sidecar: record of the data folder.
      checksums: SHA-256 of each of its tables, by the name of its file.
      train: training rows, as `train/ratings.csv` has them.
      test: test rows, in the order of all predictions.
    """

    def __init__(self, name: str, folder: pathlib.Path, output: pathlib.Path, display: TaskDisplay):
        """Reads what the data folder says of itself.

        Args:
          name: the split's name.
          folder: data folder with train/ and test/.
          output: folder for the pipeline's artifacts.
          display: told how far the pipeline is.
        """
        self.name = name
        self.sidecar = Sidecar.read(folder)
        # The record of a folder that was made by hand may name no file.
        self.checksums = self.sidecar.checksums or {
            table: TableFile.of(folder, table).sha256 for table in sorted(table_files(folder))
        }
        self._folder, self._output, self._display = folder, output, display

    @functools.cached_property
    def train(self) -> pd.DataFrame:
        return read_rows(self._folder / "train" / RATINGS_FILE)

    @functools.cached_property
    def test(self) -> pd.DataFrame:
        return read_rows(self._folder / "test" / RATINGS_FILE)

    @property
    def expected(self) -> np.ndarray | None:
        """The best possible prediction of each test row, float32 [rows]; None where nobody knows it."""
        path = self._folder / EXPECTED_FILE
        return np.load(path) if path.exists() else None

    @functools.cached_property
    def task(self) -> Task:
        """What a predictor of another library gets."""
        return Task(
            train=self.train,
            test=self.test,
            users=self._side_table(features.USERS),
            titles=self._side_table(features.TITLES),
            scale=self.sidecar.rating_scale,
        )

    def _side_table(self, table: features.Table) -> pd.DataFrame:
        """Its columns by its key; none where the folder has no such table."""
        path = self._folder / table.file
        rows = read_rows(path) if path.exists() else pd.DataFrame({table.key.name: []})
        return rows.set_index(table.key.name)

    @functools.cached_property
    def transformed(self) -> Transformed:
        """What the pipeline made of the rows, up to Transform."""
        config = resolve.resolve({"data.root": str(self._folder), "output": str(self._output)})
        return run_to_transform(config, self._display)

    @functools.cached_property
    def ratings(self) -> Ratings:
        """What a model is fitted on."""
        return self.transformed.load("train")

    @functools.cached_property
    def liked(self) -> Liked:
        """What users who were rated for in training liked among the test rows."""
        users, titles = self.test_ids()
        high = self.test[USER_RATING.name].to_numpy() >= retrieval_fit.positive_from(self.ratings)
        kept = high & (users < self.ratings.num_users)
        rows = pd.DataFrame({"user": users[kept], "title": titles[kept]}).groupby("user")["title"]
        return Liked(
            users=np.array(list(rows.groups), np.int64),
            titles=[np.unique(each[each < self.ratings.num_titles]) for _, each in rows],
            number=rows.size().to_numpy(),
        )

    def names(self, column: features.Column) -> list[str]:
        """The names of the users (titles) with training rows, in the order of their ids."""
        return [name.decode() for name in self.transformed.output.vocabulary_by_name(column.name)]

    def test_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the users and titles of the test rows, int [rows]; those behind the vocabularies are unknown."""
        users, titles = (self._ids(column) for column in (USER_ID, MOVIE_TITLE))
        return users, titles

    def _ids(self, column: features.Column) -> np.ndarray:
        names = self.names(column)
        ids = pd.Index(names).get_indexer(self.test[column.name])
        return np.where(ids < 0, len(names), ids)


def measure(
    folders: Mapping[str, pathlib.Path],
    methods: Sequence[Method],
    output: pathlib.Path,
    console: Console,
    *,
    verbose: bool = False,
) -> tuple[list[Measurement], list[ListMeasurement]]:
    """Fits and measures every method on every split with each of its seeds, or takes what an earlier call measured.

    The noise floor comes last of each split where it is known.

    Args:
      folders: data folder of each split, with train/ and test/.
      methods: what to measure.
      output: folder for results, logs and the pipeline's artifacts.
      console: shows progress.
      verbose: leave what TFX and the libraries write on the terminal as well.

    Returns:
      What methods that rate came to, and what methods that list did.

    Raises:
      ComponentError: the pipeline failed before there was something to fit on.
    """
    tasks = len(folders) * sum(len(method.seeds) for method in methods)
    measurements: list[Measurement] = []
    lists: list[ListMeasurement] = []
    with TaskDisplay(console, tasks) as display:
        for name, folder in folders.items():
            split = Split(name, folder, output / "pipelines" / name, display)
            for method in methods:
                for seed in method.seeds:
                    display.start(f"{name}, {method.name}" + (f", seed {seed}" if len(method.seeds) > 1 else ""))
                    store = _Store(output / "measured" / name, method, split.checksums, seed)
                    answer = store.load()
                    taken = answer is not None
                    if answer is None:
                        with captured(str(output / "logs" / "accuracy.log"), also_on_terminal=verbose):
                            tf.keras.backend.clear_session()
                            answer = method.answer(split, seed)
                        store.save(answer)
                    said = []
                    if answer.predictions is not None:
                        arguments = (method.kind, seed, answer.predictions, answer.fit)
                        measurements.append(_measured(split, method.name, *arguments))
                        said.append(f"RMSE {measurements[-1].rmse:.4f}")
                    if answer.lists is not None:
                        lists.append(_measured_lists(split, method, seed, answer.lists, answer.fit))
                        said.append(f"NDCG@10 of lists {lists[-1].ndcg.mean():.4f}")
                    display.end(f"{', '.join(said)}, fitted in {answer.fit.seconds:.1f} s", taken=taken)
            if split.expected is not None:
                measurements.append(_measured(split, NOISE_FLOOR, "floor", 0, split.expected, FitTime()))
    return measurements, lists


def preset_method(name: str, seeds: Sequence[int], values: Mapping[str, Any] | None = None) -> Method:
    """A preset of ours, asked as the exported model that it becomes.

    Args:
      name: the preset's name.
      seeds: to repeat it with.
      values: configuration over the preset's defaults.
    """
    values = dict(values or {})
    preset = presets.get(name)
    return Method(
        name=f"preset {name}",
        kind="preset",
        seeds=tuple(seeds),
        version=(
            fingerprint(preset.module, "modules.trainer", "modules.preprocessing"),
            json.dumps(values, sort_keys=True),
            importlib.metadata.version("tensorflow"),
        ),
        answer=functools.partial(_ask_preset, name, values),
    )


def baseline_method(name: str) -> Method:
    """One of BASELINES."""
    return Method(
        name=name,
        kind="baseline",
        seeds=(0,),
        version=(fingerprint("modules.baselines"),),
        answer=functools.partial(_ask_baseline, BASELINES[name]),
    )


def peer_method(peer: Peer, seeds: Sequence[int]) -> Method:
    """A predictor of another library."""
    return Method(
        name=peer.name,
        kind="peer",
        seeds=tuple(seeds) if peer.seeded else tuple(seeds)[:1],
        version=(fingerprint("pipeline.experiments.peers"), peer.version),
        answer=lambda split, seed: Answer(*peer.fit(split.task, seed)),
    )


def read_rows(path: pathlib.Path) -> pd.DataFrame:
    """The rows of a table, with texts as texts, whatever they look like, and numbers as floats."""
    with path.open(encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split(",")
    columns = {column.name: column for column in features.COLUMNS if column.name in header}
    numbers = [name for name, column in columns.items() if column.dtype != "string"]
    return pd.read_csv(
        path,
        dtype={name: np.float64 if name in numbers else str for name in columns},
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )


class _Store:
    """The answer of one method on one split with one seed, on disk, under a key of all that they depend on."""

    def __init__(self, folder: pathlib.Path, method: Method, checksums: Mapping[str, str], seed: int):
        name = re.sub(r"[^a-z0-9]+", "-", method.name.lower()).strip("-")
        self._record = folder / f"{name}-{seed}.json"
        self._predictions, self._lists = (folder / f"{name}-{seed}{end}.npy" for end in ("", "-lists"))
        facts = (method.name, *method.version, *checksums.values(), str(seed))
        self._key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]

    def load(self) -> Answer | None:
        """The answer; None where there is none for this key."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if record["key"] != self._key:
            return None
        predictions, lists = (np.load(path) if path.exists() else None for path in (self._predictions, self._lists))
        return Answer(predictions, FitTime(**record["fit"]), lists)

    def save(self, answer: Answer) -> None:
        """Keeps it; the record goes last, so that it never stands beside older files."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        for path in (self._record, self._predictions, self._lists):
            path.unlink(missing_ok=True)
        for path, values in ((self._predictions, answer.predictions), (self._lists, answer.lists)):
            if values is not None:
                np.save(path, values)
        atomic.write_text(self._record, json.dumps({"key": self._key, "fit": dataclasses.asdict(answer.fit)}) + "\n")


def _measured(split: Split, method: str, kind: Kind, seed: int, predictions: np.ndarray, fit: FitTime) -> Measurement:
    predictions = np.clip(np.asarray(predictions, np.float64), *split.sidecar.rating_scale)
    labels = split.test[USER_RATING.name].to_numpy()
    users = pd.factorize(split.test[USER_ID.name])[0]
    return Measurement(
        split=split.name,
        method=method,
        kind=kind,
        seed=seed,
        fit_seconds=fit.seconds,
        fit_cpu_seconds=fit.cpu_seconds,
        rmse=metrics.rmse(labels, predictions),
        mae=metrics.mae(labels, predictions),
        ndcg_at_10=metrics.ndcg_at_k(users, labels, predictions, RANKING_DEPTH),
        pairwise_accuracy=metrics.pairwise_accuracy(users, labels, predictions),
        squared_errors=np.square(predictions - labels),
    )


def _measured_lists(split: Split, method: Method, seed: int, lists: np.ndarray, fit: FitTime) -> ListMeasurement:
    _, titles, number = split.liked
    return ListMeasurement(
        split=split.name,
        method=method.name,
        kind=method.kind,
        seed=seed,
        fit_seconds=fit.seconds,
        ndcg=list_metrics.ndcg(lists, titles, number),
        recall_at_10=float(np.mean(list_metrics.hits(lists, titles).sum(axis=1) / number)),
        coverage=float(len(np.unique(lists[lists >= 0])) / split.ratings.num_titles),
    )


def _ask_preset(name: str, values: dict[str, Any], split: Split, seed: int) -> Answer:
    ratings, side = split.ratings, split.transformed.side_features
    with timed() as spent:
        trained = trainer.train(ratings, None, preset=name, values=values, seed=seed)
        retrieval, _ = trainer.train_retrieval(ratings, None, trained, preset=name, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        output = split.transformed.output
        exported = recommending.RecommendingModel(trained.model, output, trained.fitted_on, side, retrieval)
        serving.export(exported, folder)
        loaded = tf.saved_model.load(folder)
        users, titles = (tf.constant(split.test[column.name].tolist()) for column in (USER_ID, MOVIE_TITLE))
        answer = loaded.signatures["predict"](user_id=users, movie_title=titles)
        lists = _ask_for_lists(loaded, split)
    return Answer(answer[serving.PREDICTED_RATING].numpy()[:, 0], spent, lists)


def _ask_for_lists(loaded: Any, split: Split) -> np.ndarray:
    """Int [users, LENGTH]: ids of the titles that a loaded model recommends."""
    names, place = split.names(USER_ID), {name: id_ for id_, name in enumerate(split.names(MOVIE_TITLE))}
    users, none = [names[user] for user in split.liked.users], tf.constant([], tf.string)
    at_once = max(1, recommending.MOST_PAIRS // split.ratings.num_titles)
    listed: list[list[int]] = []
    for begin in range(0, len(users), at_once):
        answer = loaded.signatures[recommending.RECOMMEND_USERS](
            user_id=tf.constant(users[begin : begin + at_once]), k=tf.constant(LENGTH), exclude=none, only=none
        )
        for titles in answer[MOVIE_TITLE.name].numpy().tolist():
            found = [place[title.decode()] for title in titles if title]
            listed.append(found + [-1] * (LENGTH - len(found)))
    return np.array(listed, np.int32).reshape(-1, LENGTH)


def _ask_baseline(baseline: Baseline, split: Split, seed: int) -> Answer:
    ratings = split.ratings
    with timed() as spent:
        fitted = baseline.fit(ratings)
    return Answer(fitted.predict(*split.test_ids()), spent)
