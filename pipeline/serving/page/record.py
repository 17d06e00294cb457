"""What the last run recorded of a version: how it was judged, on what data, and beside what."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

# Metrics by their names in the record, spelled here since the server does without the modules that measure; a test
# compares them.
EXAMPLE_COUNT, RMSE, MAE = "example_count", "root_mean_squared_error", "mean_absolute_error"
NDCG, PAIRWISE_ACCURACY, LIST_NDCG = "ndcg", "pairwise_accuracy", "list_ndcg"
MSE_DIFFERENCE, MSE_DIFFERENCE_STDERR = "mse_difference", "mse_difference_stderr"
EXPECTED_RMSE = "expected_rmse"
SHARES_INSIDE = {0.5: "share_inside_50", 0.8: "share_inside_80", 0.95: "share_inside_95"}
# By `movie-ranking run`, in its output folder.
_FILE = "last_run.json"
_THIS = "this model"
_NAMES = {
    "blessed": "the version before",
    "user_title_bias": "user + title bias",
    "title_mean": "title mean",
    "global_mean": "global mean",
    "popularity": "most rated titles",
}
_SLICINGS = {"user_activity": "ratings of the user", "title_popularity": "ratings of the title"}
# Slices that are named by no number, before the others.
_WITHOUT = ("new", "unrated")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A model on the test ratings.

    Attributes:
      name: of the model, for people.
      rmse, mae: in stars; None where they were not measured, like all that follows.
      ndcg: NDCG@10 of each user's test ratings.
      pairwise_accuracy: share of the pairs in the right order.
      mse_lead: by how much its mean squared error is above that of this model, and the standard error of that.
      list_ndcg: NDCG@10 of lists out of all titles.
    """

    name: str
    rmse: float | None
    mae: float | None
    ndcg: float | None
    pairwise_accuracy: float | None
    mse_lead: tuple[float, float] | None
    list_ndcg: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """The model on some of the test ratings.

    Attributes:
      feature: what they have in common, for people.
      value: of the feature, such as "10-49".
      count: test ratings.
      rmse: of this model, stars.
      baseline: RMSE of user + title bias; None where it was not measured.
    """

    feature: str
    value: str
    count: int
    rmse: float
    baseline: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What is recorded of a version.

    Attributes:
      data: name of the data folder.
      split_sizes: examples by split.
      preset: of the model.
      fitted: what Trainer chose, in lines.
      models: this one first.
      slices: of users and titles.
      expected_rmse: RMSE that the model expects of itself, stars; None of one that does not tell.
      inside: by the share of the ratings that an interval should hold, 0 to 1, the share that it holds.
    """

    data: str
    split_sizes: Mapping[str, int]
    preset: str
    fitted: list[str]
    models: list[Judged]
    slices: list[Slice]
    expected_rmse: float | None
    inside: Mapping[float, float]


def read(output: str, version: int) -> Record | None:
    """What is recorded of a version; None where the last run pushed another one, or its record cannot be read.

    Args:
      output: folder of the pipeline, on this machine.
      version: number of the version.
    """
    try:
        run = json.loads(pathlib.Path(output, _FILE).read_text(encoding="utf-8"))
        # The folder may have been moved since: versions count by their numbers.
        if os.path.basename(run["pushed_path"] or "") != str(version):
            return None
        return _record(run)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _record(run: Mapping[str, Any]) -> Record:
    mine = run["metrics"]
    return Record(
        data=os.path.basename(os.path.normpath(str(run["config"]["data"]["root"]))),
        split_sizes=dict(run["split_sizes"]),
        preset=str(run["config"]["trainer"]["preset"]),
        fitted=str(run["fitted"]).splitlines(),
        models=[
            _judged(_THIS, mine),
            *(_judged(_NAMES.get(name, name), values) for name, values in run["other_models"].items()),
        ],
        slices=[
            Slice(
                feature=_SLICINGS.get(each["feature"], each["feature"]),
                value=str(each["value"]),
                count=int(each[EXAMPLE_COUNT]),
                rmse=float(each[RMSE]),
                baseline=each["other_models"].get("user_title_bias", {}).get(RMSE),
            )
            for each in sorted(run["slices"], key=_place)
            if each.get(RMSE) is not None
        ],
        expected_rmse=mine.get(EXPECTED_RMSE),
        inside={level: mine[name] for level, name in SHARES_INSIDE.items() if mine.get(name) is not None},
    )


def _place(of: Mapping[str, Any]) -> tuple[int, int]:
    """Where a slice stands: those of users first, and the least known of each."""
    feature, value = of["feature"], str(of["value"])
    number = re.match(r"\d+", value)
    known = list(_SLICINGS).index(feature) if feature in _SLICINGS else len(_SLICINGS)
    return known, int(number[0]) if number else _WITHOUT.index(value) - len(_WITHOUT) if value in _WITHOUT else 0


def _judged(name: str, values: Mapping[str, float | None]) -> Judged:
    lead, stderr = values.get(MSE_DIFFERENCE), values.get(MSE_DIFFERENCE_STDERR)
    return Judged(
        name=name,
        rmse=values.get(RMSE),
        mae=values.get(MAE),
        ndcg=values.get(NDCG),
        pairwise_accuracy=values.get(PAIRWISE_ACCURACY),
        mse_lead=None if lead is None or stderr is None else (lead, stderr),
        list_ndcg=values.get(LIST_NDCG),
    )
