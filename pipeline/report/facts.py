"""What a report says of a run, as plain data; a part that the run did not reach is None or empty."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric, and the interval that holds it in 95 of 100 samples of users, where it is known.

    Attributes:
      value: None where there is no such number.
      low: lower end of the interval.
      high: upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranks:
    """How often the most frequent values of a column come up, as a curve.

    Attributes:
      points: rank, 1 for the most frequent, and ratings.
      values: how many values there are in all.
    """

    points: tuple[tuple[int, int], ...]
    values: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The ratings.

    Attributes:
      source: where they come from, for people.
      scale: lowest and highest rating, stars; None where no schema says.
      sizes: ratings by split.
      histogram: ratings by value, or by an interval of values.
      activity: ratings by user, of the split `train`.
      popularity: ratings by title, of the split `train`.
      rejected: rows that preparing left out; None where there is no record of it.
      reasons: rows left out, by what was expected of them.
      columns: what is known of users and titles beside the ratings; None where there is no record of it.
      licence: what the record of the data says of it; "" where it says nothing.
    """

    source: str = ""
    scale: tuple[float, float] | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    histogram: Mapping[str, int] = dataclasses.field(default_factory=dict)
    activity: Ranks | None = None
    popularity: Ranks | None = None
    rejected: int | None = None
    reasons: Mapping[str, int] = dataclasses.field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    licence: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """What a fit logged under one name.

    Attributes:
      name: of what was logged.
      points: step and value, in order.
    """

    name: str
    points: tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rating:
    """How well a model predicts ratings; errors in stars.

    Attributes:
      name: of the model, for people.
      rmse: root mean squared error.
      mae: mean absolute error.
      ndcg: NDCG@10 of the test titles of each user.
      pairwise: share of pairs that are in the right order.
      difference: by how much the mean squared error is above the judged model's, stars squared.
      difference_stderr: standard error of that.
    """

    name: str
    rmse: Measure
    mae: Measure
    ndcg: Measure
    pairwise: Measure
    difference: float | None = None
    difference_stderr: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """How good the lists of a model are.

    Attributes:
      name: of the model, or of a group of users, for people.
      users: whose lists were judged.
      ndcg: NDCG@10.
      recall: Recall@10.
      coverage: share of the catalogue that is in any list.
      gini: how unevenly titles are listed, 0 to 1.
    """

    name: str
    users: float
    ndcg: Measure
    recall: float | None
    coverage: float | None
    gini: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """The judged model on a part of the test ratings.

    Attributes:
      feature: what the ratings are divided by, for people.
      value: which part.
      ratings: how many.
      rmse: of the model, stars.
      baseline: RMSE of the user and title biases, stars.
      mae: of the model, stars.
      ndcg: NDCG@10 of the users' lists.
    """

    feature: str
    value: str
    ratings: int
    rmse: float | None
    baseline: float | None
    mae: float | None
    ndcg: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether a model is as sure as it may be.

    Attributes:
      levels: share of ratings that an interval is made to hold, and the share that it holds.
      rmse: measured, stars.
      promised: the RMSE that its standard deviations amount to, stars.
    """

    levels: tuple[tuple[float, float | None], ...]
    rmse: float | None
    promised: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Typical:
    """The list of a user, who is told by activity alone.

    Attributes:
      activity: how many ratings the user gave in training, such as "10-49".
      titles: best first, and whether the user liked it afterwards.
    """

    activity: str
    titles: tuple[tuple[str, bool], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A component of the run.

    Attributes:
      component: its id.
      state: done, cached, failed or running.
      seconds: it took.
    """

    component: str
    state: str
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a report says of a run.

    Attributes:
      run_id: of ML Metadata; "" of none.
      began: date and time, UTC; of a report that the run itself makes, those of the report.
      succeeded: whether a model was pushed.
      verdict: what became of the model, in a sentence.
      reasons: why nothing was pushed, or what failed after that.
      pushed: folder of the version; "" where nothing was pushed.
      preset: of the model.
      fitted: what was chosen for the model, in words, a line each.
      bound: the highest RMSE that is allowed, stars.
      data: the ratings.
      anomalies: where the ratings do not fit the schema; None where nobody looked.
      curves: what the fit logged.
      models: on all test ratings, the judged one first.
      slices: of the test ratings.
      calibration: of a model that tells how sure it is.
      listings: of models that recommend, the judged one first.
      typical: lists of three users.
      steps: components in the order in which they ran.
      lineage: names and values by group: data, code, configuration, versions.
      notes: what components had to tell.
    """

    run_id: str
    began: str
    succeeded: bool
    verdict: str
    reasons: tuple[str, ...] = ()
    pushed: str = ""
    preset: str = ""
    fitted: tuple[str, ...] = ()
    bound: float | None = None
    data: Data = dataclasses.field(default_factory=Data)
    anomalies: tuple[str, ...] | None = None
    curves: tuple[Curve, ...] = ()
    models: tuple[Rating, ...] = ()
    slices: tuple[Slice, ...] = ()
    calibration: Calibration | None = None
    listings: tuple[Listing, ...] = ()
    typical: tuple[Typical, ...] = ()
    steps: tuple[Step, ...] = ()
    lineage: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
