"""What a report says of a run, out of the artifacts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.types import artifact_utils

from components import anomaly_gate, curated_schema, evaluation_files, example_files
from components.outcome import MODELS, Outcome
from components.run_results import Results
from data import summary
from modules import features, judge, list_judge, paths, serving, typical_lists
from modules.list_metrics import LIST_COVERAGE, LIST_GINI, LIST_NDCG, LIST_RECALL, LIST_USERS
from modules.sliced_metrics import (
    EXAMPLE_COUNT,
    EXPECTED_RMSE,
    MAE,
    MSE_DIFFERENCE,
    MSE_DIFFERENCE_STDERR,
    NDCG,
    OVERALL,
    PAIRWISE_ACCURACY,
    RMSE,
    SHARES_INSIDE,
    Evaluation,
)
from modules.user_bootstrap import ENDS
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.report.facts import Calibration, Curve, Data, Listing, Measure, Ranks, Rating, Run, Slice, Step, Typical

_LISTING = {**MODELS, list_judge.POPULARITY: "most rated titles"}
# Ratings that are read for their histogram.
_MOST_RATINGS = 100_000
_TYPICAL_USERS = 3
# Standard errors to either side of an interval of 95 %.
_WIDTH = 1.96
# What a message says was there in place of what was expected; it may name a user.
_GOT = re.compile(r"; got .*?(?= at line |; |$)", re.DOTALL)
_UNCHANGED = "; what was in use before stays in use"
_FAILED_LATER = "what the run does after that failed"


def facts_of(
    results: Results,
    outcome: Outcome,
    *,
    began: str,
    preset: str,
    lineage: Mapping[str, Mapping[str, str]],
    run_id: str = "",
    data: Mapping[str, Any] | None = None,
    steps: Sequence[Step] = (),
) -> Run:
    """What a report says of a run.

    Args:
      results: what the run made.
      outcome: what it came to.
      began: date and time, UTC.
      preset: of the model; "" where none is known.
      lineage: names and values by group.
      run_id: of ML Metadata; "" where there is none.
      data: what the record of the data folder says: `source`, `licence`, `columns`, `rejected` and `reasons`.
      steps: components in the order in which they ran.
    """
    reasons = outcome.reasons
    if outcome.exit_code == ExitCode.BAD_INPUT:
        reasons = [_GOT.sub("; got something else", each) for each in reasons]
    evaluation = outcome.evaluation
    return Run(
        run_id=run_id,
        began=began,
        succeeded=outcome.pushed_path is not None,
        verdict=verdict(outcome),
        reasons=tuple(reasons),
        pushed=outcome.pushed_path or "",
        preset=preset,
        fitted=tuple(line for line in outcome.fitted.split("\n") if line),
        bound=evaluation_files.rmse_bound(results.evaluation.uri) if results.evaluation else None,
        data=_data(results, data or {}, outcome.split_sizes),
        anomalies=_anomalies(results.anomalies),
        curves=_curves(results.model_run),
        models=_ratings(evaluation),
        slices=_slices(evaluation),
        calibration=_calibration(evaluation),
        listings=_listings(evaluation),
        typical=_typical(results.evaluation),
        steps=tuple(steps),
        lineage=lineage,
        notes=tuple(outcome.notes),
    )


def verdict(outcome: Outcome) -> str:
    """What became of the model, in a sentence for people who know nothing of metrics."""
    code = outcome.exit_code
    if code == ExitCode.PUSHED:
        return f"The new model is in use: {_quality(outcome.evaluation)}."
    if code == ExitCode.NOT_BLESSED:
        quality = f"; {_quality(outcome.evaluation)}" if outcome.evaluation else ""
        return f"The new model is not good enough to be used{quality}{_UNCHANGED}."
    if code == ExitCode.NOT_SERVABLE:
        return f"The new model could not be loaded and asked, so it is not used{_UNCHANGED}."
    if code == ExitCode.ANOMALIES:
        return f"The ratings are not what they should be, so no model was fitted{_UNCHANGED}."
    if code == ExitCode.BAD_INPUT:
        return f"The ratings could not be read, so no model was fitted{_UNCHANGED}."
    if code == ExitCode.STOPPED_EARLY:
        return f"The run was stopped before a model could be put into use{_UNCHANGED}."
    if outcome.pushed_path is not None:
        return f"The new model is in use: {_quality(outcome.evaluation)}; {_FAILED_LATER}."
    return f"The run did not come to its end: {MEANINGS[code].partition(';')[0]}{_UNCHANGED}."


def _quality(evaluation: Evaluation) -> str:
    """How far off a model is, and how much less so than averages."""
    if not evaluation:
        return "its judgement is that of an earlier run"
    measured = evaluation[OVERALL]
    rmse, averages = measured[judge.CANDIDATE][RMSE], measured[serving.USER_TITLE_BIAS][RMSE]
    if not math.isfinite(rmse):
        return "it predicts something that is not a number"
    change = (averages - rmse) / averages if averages else 0.0
    compared = f"{abs(change):.0%} {'less' if change > 0 else 'more'}"
    return f"a prediction is typically {rmse:.2f} stars off, {compared} than averages of users and titles"


def _data(results: Results, record: Mapping[str, Any], sizes: Mapping[str, int]) -> Data:
    scale = curated_schema.read_scale(results.schema) if results.schema else None
    counted = _counted(results.statistics)
    return Data(
        source=record.get("source", ""),
        scale=scale,
        sizes=sizes,
        histogram=_histogram(results.examples, scale),
        activity=counted.get(features.USER_ID.name),
        popularity=counted.get(features.MOVIE_TITLE.name),
        rejected=record.get("rejected"),
        reasons=record.get("reasons", {}),
        columns=tuple(record["columns"]) if "columns" in record else None,
        licence=record.get("licence", ""),
    )


def _counted(statistics: types.Artifact | None) -> dict[str, Ranks]:
    """How often the most frequent values of text columns come up, in the split that models are fitted on."""
    if statistics is None or "train" not in artifact_utils.decode_split_names(statistics.split_names):
        return {}
    dataset = curated_schema.read_statistics(statistics, "train").datasets[0]
    # Of a value there is its count alone: an id names a user.
    return {
        feature.path.step[0]: Ranks(points=_points(feature), values=feature.string_stats.unique)
        for feature in dataset.features
        if feature.type == statistics_pb2.FeatureNameStatistics.STRING
    }


def _points(feature: statistics_pb2.FeatureNameStatistics) -> tuple[tuple[int, int], ...]:
    buckets = feature.string_stats.rank_histogram.buckets
    return tuple((bucket.low_rank + 1, round(bucket.sample_count)) for bucket in buckets)


def _histogram(examples: types.Artifact | None, scale: tuple[float, float] | None) -> Mapping[str, int]:
    """Of the test ratings, which a hash has picked, or of the first ones of these; of all where there are none."""
    if examples is None or scale is None:
        return {}
    splits = artifact_utils.decode_split_names(examples.split_names)
    spec = {features.USER_RATING.name: tf.io.FixedLenFeature([], tf.float32)}
    ratings = []
    for path in example_files.split_files(examples, ["test"] if "test" in splits else splits):
        for batch in example_files.read_serialized(path):
            ratings.append(tf.io.parse_example(batch, spec)[features.USER_RATING.name].numpy())
            if sum(map(len, ratings)) >= _MOST_RATINGS:
                return summary.histogram(ratings, scale)
    return summary.histogram(ratings, scale) if ratings else {}


def _anomalies(anomalies: types.Artifact | None) -> tuple[str, ...] | None:
    if anomalies is None:
        return None
    splits = artifact_utils.decode_split_names(anomalies.split_names)
    found = (anomaly_gate.describe(split, anomaly_gate.read_anomalies(anomalies, split)) for split in splits)
    return tuple(line for lines in found for line in lines)


def _curves(model_run: types.Artifact | None) -> tuple[Curve, ...]:
    """What Trainer logged for TensorBoard."""
    points: dict[str, list[tuple[int, float]]] = {}
    pattern = os.path.join(paths.escape(model_run.uri), "*.tfevents.*") if model_run else ""
    for path in sorted(tf.io.gfile.glob(pattern)) if pattern else ():
        for event in tf.compat.v1.train.summary_iterator(path):
            for value in event.summary.value:
                points.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return tuple(Curve(name=name, points=tuple(each)) for name, each in points.items() if len(each) > 1)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _measure(measured: Mapping[str, float], name: str) -> Measure:
    """A metric with the interval that the bootstrap gives."""
    low, high = (_finite(measured.get(name + end)) for end in ENDS)
    return Measure(value=_finite(measured.get(name)), low=low, high=high)


def _with_stderr(measured: Mapping[str, float], name: str) -> Measure:
    """A metric with the interval that its standard error over users gives."""
    value, stderr = (_finite(measured.get(each)) for each in (name, f"{name}_stderr"))
    if value is None or stderr is None:
        return Measure(value=value)
    return Measure(value=value, low=value - _WIDTH * stderr, high=value + _WIDTH * stderr)


def _ratings(evaluation: Evaluation) -> tuple[Rating, ...]:
    measured = evaluation.get(OVERALL, {})
    return tuple(
        Rating(
            name=name,
            rmse=_measure(measured[model], RMSE),
            mae=_measure(measured[model], MAE),
            ndcg=_measure(measured[model], NDCG),
            pairwise=_measure(measured[model], PAIRWISE_ACCURACY),
            difference=_finite(measured[model].get(MSE_DIFFERENCE)),
            difference_stderr=_finite(measured[model].get(MSE_DIFFERENCE_STDERR)),
        )
        for model, name in MODELS.items()
        if model in measured
    )


def _slices(evaluation: Evaluation) -> tuple[Slice, ...]:
    keys = sorted(filter(None, evaluation), key=lambda key: (key[0], serving.SLICE_NAMES.index(key[1])))
    return tuple(
        Slice(
            feature=key[0].replace("_", " "),
            value=key[1],
            ratings=int(mine[EXAMPLE_COUNT]),
            rmse=_finite(mine.get(RMSE)),
            baseline=_finite(evaluation[key].get(serving.USER_TITLE_BIAS, {}).get(RMSE)),
            mae=_finite(mine.get(MAE)),
            ndcg=_finite(mine.get(NDCG)),
        )
        for key in keys
        if EXAMPLE_COUNT in (mine := evaluation[key][judge.CANDIDATE])
    )


def _calibration(evaluation: Evaluation) -> Calibration | None:
    mine = evaluation.get(OVERALL, {}).get(judge.CANDIDATE, {})
    if EXPECTED_RMSE not in mine:
        return None
    return Calibration(
        levels=tuple((level, _finite(mine.get(name))) for level, name in SHARES_INSIDE.items()),
        rmse=_finite(mine.get(RMSE)),
        promised=_finite(mine[EXPECTED_RMSE]),
    )


def _listings(evaluation: Evaluation) -> tuple[Listing, ...]:
    measured = evaluation.get(OVERALL, {})
    named = [(name, measured.get(model, {})) for model, name in _LISTING.items()]
    keys = sorted(
        (key for key in evaluation if key and key[0] == serving.USER_ACTIVITY),
        key=lambda key: serving.SLICE_NAMES.index(key[1]),
    )
    named += [(f"activity {key[1]}", evaluation[key].get(judge.CANDIDATE, {})) for key in keys]
    return tuple(
        Listing(
            name=name,
            users=each[LIST_USERS],
            ndcg=_with_stderr(each, LIST_NDCG),
            recall=_finite(each.get(LIST_RECALL)),
            coverage=_finite(each.get(LIST_COVERAGE)),
            gini=_finite(each.get(LIST_GINI)),
        )
        for name, each in named
        if LIST_NDCG in each
    )


def _typical(evaluation: types.Artifact | None) -> tuple[Typical, ...]:
    """A user of each of the most frequent activities."""
    lists = typical_lists.read(evaluation.uri) if evaluation else {}
    frequent: Iterable[str] = sorted(lists, key=lambda activity: -lists[activity][0])[:_TYPICAL_USERS]
    return tuple(
        Typical(activity=activity, titles=lists[activity][1])
        for activity in sorted(frequent, key=serving.SLICE_NAMES.index)
    )
