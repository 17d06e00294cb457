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
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from rich.console import Console

from data import atomic
from data.sidecar import RATINGS_FILE, Sidecar, TableFile, table_files
from data.synthetic import EXPECTED_FILE
from modules import baselines, features, metrics, presets, serving, trainer
from modules.features import MOVIE_TITLE, USER_ID, USER_RATING
from modules.ratings import Ratings
from pipeline.config import resolve
from pipeline.experiments.accuracy_table import NOISE_FLOOR, Kind, Measurement
from pipeline.experiments.fit_time import FitTime, timed
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """Something that predicts ratings.

    Attributes:
      name: what tables call it.
      kind: the sort of predictor that it is.
      seeds: what to repeat it with; one where the seed changes nothing.
      version: what its predictions depend on beside data and seed.
      rate: fits on a split's training rows: `rate(split, seed)` gives stars, float [test rows], and the fit's time.
    """

    name: str
    kind: Kind
    seeds: tuple[int, ...]
    version: tuple[str, ...]
    rate: Callable[[Split, int], tuple[np.ndarray, FitTime]]


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

    def test_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the users and titles of the test rows, int [rows]; those behind the vocabularies are unknown."""
        users, titles = (self._ids(column) for column in (USER_ID, MOVIE_TITLE))
        return users, titles

    def _ids(self, column: features.Column) -> np.ndarray:
        names = [name.decode() for name in self.transformed.output.vocabulary_by_name(column.name)]
        ids = pd.Index(names).get_indexer(self.test[column.name])
        return np.where(ids < 0, len(names), ids)


def measure(
    folders: Mapping[str, pathlib.Path],
    methods: Sequence[Method],
    output: pathlib.Path,
    console: Console,
    *,
    verbose: bool = False,
) -> list[Measurement]:
    """Fits and measures every method on every split with each of its seeds, or takes what an earlier call measured.

    The noise floor comes last of each split where it is known.

    Args:
      folders: data folder of each split, with train/ and test/.
      methods: what to measure.
      output: folder for results, logs and the pipeline's artifacts.
      console: shows progress.
      verbose: leave what TFX and the libraries write on the terminal as well.

    Raises:
      ComponentError: the pipeline failed before there was something to fit on.
    """
    tasks = len(folders) * sum(len(method.seeds) for method in methods)
    measurements = []
    with TaskDisplay(console, tasks) as display:
        for name, folder in folders.items():
            split = Split(name, folder, output / "pipelines" / name, display)
            for method in methods:
                for seed in method.seeds:
                    display.start(f"{name}, {method.name}" + (f", seed {seed}" if len(method.seeds) > 1 else ""))
                    store = _Store(output / "measured" / name, method, split.checksums, seed)
                    rated = store.load()
                    if rated is None:
                        with captured(str(output / "logs" / "accuracy.log"), also_on_terminal=verbose):
                            tf.keras.backend.clear_session()
                            rated = method.rate(split, seed)
                        store.save(*rated)
                    measurements.append(_measured(split, method.name, method.kind, seed, *rated))
                    display.end(f"RMSE {measurements[-1].rmse:.4f}, fitted in {rated[1].seconds:.1f} s")
            if split.expected is not None:
                measurements.append(_measured(split, NOISE_FLOOR, "floor", 0, split.expected, FitTime()))
    return measurements


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
        rate=functools.partial(_rate_by_preset, name, values),
    )


def baseline_method(name: str) -> Method:
    """One of BASELINES."""
    return Method(
        name=name,
        kind="baseline",
        seeds=(0,),
        version=(fingerprint("modules.baselines"),),
        rate=functools.partial(_rate_by_baseline, BASELINES[name]),
    )


def peer_method(peer: Peer, seeds: Sequence[int]) -> Method:
    """A predictor of another library."""
    return Method(
        name=peer.name,
        kind="peer",
        seeds=tuple(seeds) if peer.seeded else tuple(seeds)[:1],
        version=(fingerprint("pipeline.experiments.peers"), peer.version),
        rate=lambda split, seed: peer.fit(split.task, seed),
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
    """Predictions of one method on one split with one seed, on disk, under a key of all that they depend on."""

    def __init__(self, folder: pathlib.Path, method: Method, checksums: Mapping[str, str], seed: int):
        name = re.sub(r"[^a-z0-9]+", "-", method.name.lower()).strip("-")
        self._record = folder / f"{name}-{seed}.json"
        self._predictions = folder / f"{name}-{seed}.npy"
        facts = (method.name, *method.version, *checksums.values(), str(seed))
        self._key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]

    def load(self) -> tuple[np.ndarray, FitTime] | None:
        """Predictions and the time of fitting; None where there are none for this key."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if record["key"] != self._key:
            return None
        return np.load(self._predictions), FitTime(**record["fit"])

    def save(self, predictions: np.ndarray, fit: FitTime) -> None:
        """Keeps them; the record goes last, so that it never stands beside older predictions."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._record.unlink(missing_ok=True)
        np.save(self._predictions, predictions)
        atomic.write_text(self._record, json.dumps({"key": self._key, "fit": dataclasses.asdict(fit)}) + "\n")


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


def _rate_by_preset(name: str, values: dict[str, Any], split: Split, seed: int) -> tuple[np.ndarray, FitTime]:
    ratings = split.ratings
    with timed() as spent:
        model, fitted_on, _ = trainer.train(ratings, None, preset=name, values=values, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        side = split.transformed.side_features
        serving.export(serving.ServingModel(model, split.transformed.output, fitted_on, side), folder)
        exported = tf.saved_model.load(folder)
        users, titles = (tf.constant(split.test[column.name].tolist()) for column in (USER_ID, MOVIE_TITLE))
        answer = exported.signatures["predict"](user_id=users, movie_title=titles)
    return answer[serving.PREDICTED_RATING].numpy()[:, 0], spent


def _rate_by_baseline(baseline: Baseline, split: Split, seed: int) -> tuple[np.ndarray, FitTime]:
    ratings = split.ratings
    with timed() as spent:
        fitted = baseline.fit(ratings)
    return fitted.predict(*split.test_ids()), spent
