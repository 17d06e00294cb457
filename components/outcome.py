"""What a run came to, out of the artifacts."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import constants as evaluator_constants
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import curated_schema, evaluation_files, model_digest
from components.model_pusher import DESTINATION_PROPERTY
from components.run_results import Results
from components.servable_validator import NOT_BLESSED_FILE
from modules import judge, list_judge, paths, serving
from modules.list_metrics import LIST_LEAD, LIST_LEAD_STDERR, LIST_LEAD_Z, LIST_NDCG, LIST_USERS
from modules.sliced_metrics import (
    EXAMPLE_COUNT,
    MSE_DIFFERENCE,
    MSE_DIFFERENCE_STDERR,
    MSE_DIFFERENCE_Z,
    OVERALL,
    RMSE,
    USER_COUNT,
    Evaluation,
)
from modules.training_log import CHOSEN_FILE
from pipeline.exit_codes import ExitCode

# The models of an evaluation, for people.
MODELS = {
    judge.CANDIDATE: "this model",
    judge.BLESSED: "blessed model",
    serving.USER_TITLE_BIAS: "user + title bias",
    serving.TITLE_MEAN: "title mean",
    serving.GLOBAL_MEAN: "global mean",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to; a part that the run did not reach is None or empty.

    Attributes:
      exit_code: see `exit_codes`.
      reasons: why nothing was pushed, or what failed after that, in words.
      split_sizes: examples in each split.
      evaluation: what Evaluator measured: by slice, such as ("user_activity", "3-9"), then by model, then by metric.
      blessed_model: the model, blessed before, that the candidate was compared with, as "id (folder)".
      pushed_path: where the model was pushed, although what came after that may have failed.
      lists_path: the file of all users' lists, where some were asked for.
      fitted: what Trainer chose, in words: a line for the ranking model, and one for what recommends, if there is one.
      notes: what components had to tell beside their verdicts.
    """

    exit_code: ExitCode
    reasons: list[str] = dataclasses.field(default_factory=list)
    split_sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    evaluation: Evaluation = dataclasses.field(default_factory=dict)
    blessed_model: str | None = None
    pushed_path: str | None = None
    lists_path: str | None = None
    fitted: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """The candidate's over all test ratings."""
        return self.evaluation[OVERALL][judge.CANDIDATE] if self.evaluation else {}

    def as_record(self) -> dict[str, Any]:
        """All of it as plain JSON; the candidate's metrics under `metrics`, null where there is no such number."""
        return {
            "exit_code": int(self.exit_code),
            "reasons": self.reasons,
            "split_sizes": self.split_sizes,
            "metrics": _plain(self.metrics),
            "other_models": _other_models(self.evaluation.get(OVERALL, {})),
            "slices": [
                {
                    "feature": key[0],
                    "value": key[1],
                    **_plain(by_model[judge.CANDIDATE]),
                    "other_models": _other_models(by_model),
                }
                for key, by_model in self.evaluation.items()
                if key
            ],
            "blessed_model": self.blessed_model,
            "pushed_path": self.pushed_path,
            "lists_path": self.lists_path,
            "fitted": self.fitted,
            "notes": self.notes,
        }


def _other_models(by_model: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    return {model: _plain(metrics) for model, metrics in by_model.items() if model != judge.CANDIDATE}


def _plain(metrics: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN and no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def outcome_of(results: Results) -> Outcome:
    """What a run came to by its results; whether a pushed version is still what servers take is not looked at."""
    reached = Outcome(
        exit_code=ExitCode.PUSHED,
        split_sizes=_split_sizes(results.statistics),
        evaluation=evaluation_files.read(results.evaluation.uri) if results.evaluation else {},
        blessed_model=_blessed_model(results.blessing),
        pushed_path=_pushed_path(results.pushed_model),
        fitted=_fitted(results.model_run),
    )
    exit_code, reasons = _verdict(results, reached)
    return dataclasses.replace(reached, exit_code=exit_code, reasons=reasons)


def _pushed_path(pushed_model: types.Artifact | None) -> str | None:
    if pushed_model is None or not pushed_model.get_int_custom_property("pushed"):
        return None
    return pushed_model.get_string_custom_property(DESTINATION_PROPERTY)


def _fitted(model_run: types.Artifact | None) -> str:
    """What Trainer wrote beside its logs; nothing where it wrote none."""
    path = os.path.join(model_run.uri, CHOSEN_FILE) if model_run else ""
    if not path or not fileio.exists(path):
        return ""
    with fileio.open(path) as file:
        return file.read()


def _verdict(results: Results, reached: Outcome) -> tuple[ExitCode, list[str]]:
    blessing, servable = results.blessing, results.infra_blessing
    if blessing and results.evaluation and not _is_good(blessing):
        validation = tfma.load_validation_result(paths.plain(results.evaluation.uri))
        return ExitCode.NOT_BLESSED, missed_thresholds(validation, reached.evaluation, reached.blessed_model)
    if servable and not _is_good(servable):
        if blessing and _digest(blessing) != _digest(servable):
            return ExitCode.FAILED, [_changed_between(blessing)]
        with fileio.open(os.path.join(servable.uri, NOT_BLESSED_FILE)) as file:
            return ExitCode.NOT_SERVABLE, file.read().splitlines()
    if results.pushed_model is None:
        return ExitCode.STOPPED_EARLY, ["the run ended before Pusher"]
    if reached.pushed_path is None:
        if results.earlier_blessing and not _is_good(results.earlier_blessing):
            said = "an earlier run did not bless the model; run with --from Evaluator, which says why"
            return ExitCode.NOT_BLESSED, [said]
        if results.earlier_infra_blessing and not _is_good(results.earlier_infra_blessing):
            said = (
                "an earlier run could not load and query the model; run with --from ServableValidator, which says why"
            )
            return ExitCode.NOT_SERVABLE, [said]
        return ExitCode.FAILED, ["Pusher did not push although both blessings were given; see its log"]
    return ExitCode.PUSHED, []


def _is_good(blessing: types.Artifact) -> bool:
    return bool(blessing.get_int_custom_property(evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY))


def _digest(blessing: types.Artifact) -> str:
    return blessing.get_string_custom_property(model_digest.PROPERTY)


def _changed_between(blessing: types.Artifact) -> str:
    """Of a model that ServableValidator found in another state than Evaluator."""
    model = blessing.get_string_custom_property(evaluator_constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY)
    return (
        f"the files in {model} were damaged or changed after Evaluator judged them, so that the model is not servable; "
        "run with --from Trainer --no-cache, which trains the model anew and judges it"
    )


def missed_thresholds(
    validation: tfma.ValidationResult, evaluation: Evaluation, blessed_model: str | None
) -> list[str]:
    """By how much, and against what, a candidate missed each threshold, a line each.

    Args:
      validation: what TFMA made of the thresholds.
      evaluation: the metrics that were validated.
      blessed_model: the blessed model, for people.
    """
    measured = evaluation[OVERALL]
    rmse = {model: metrics[RMSE] for model, metrics in measured.items() if RMSE in metrics}
    reasons = []
    few = {
        EXAMPLE_COUNT: "test ratings are too few to judge a model by; at least {:,.0f} are needed "
        "(evaluator.min_test_ratings)",
        USER_COUNT: "users with test ratings are too few to judge a model by; at least {:,.0f} are needed "
        "(evaluator.min_test_users)",
    }
    for by_slice in validation.metric_validations_per_slice:
        for failure in by_slice.failures:
            value = failure.metric_value.double_value.value
            if failure.metric_key.name in few:
                bound = failure.metric_threshold.value_threshold.lower_bound.value
                reasons.append(f"{value:,.0f} {few[failure.metric_key.name].format(bound)}")
            elif failure.metric_key.name == LIST_LEAD_Z:
                allowed = failure.metric_threshold.value_threshold.lower_bound.value
                stderr = measured[list_judge.POPULARITY][LIST_LEAD_STDERR]
                reasons.append(
                    f"it recommends worse than a list of the most rated titles: "
                    f"{_lists_below(measured, list_judge.POPULARITY)}, with a standard error of {stderr:.4f}; at most "
                    f"{-allowed:g} of these are allowed"
                )
            elif failure.metric_key.name == LIST_NDCG:
                allowed = failure.metric_threshold.change_threshold.absolute.value
                reasons.append(
                    f"it recommends worse than the blessed model, {blessed_model}: "
                    f"{_lists_below(measured, judge.BLESSED)}; at most {-allowed:.4f} is allowed"
                )
            elif failure.metric_key.name == MSE_DIFFERENCE_Z:
                needed = failure.metric_threshold.value_threshold.lower_bound.value
                reasons.append(_not_better(evaluation, failure.metric_key.model_name, needed))
            elif math.isnan(value):
                spoilt = "the model" if math.isnan(rmse[judge.CANDIDATE]) else f"the blessed model, {blessed_model},"
                reasons.append(f"{spoilt} predicts something that is not a number")
            elif failure.metric_key.is_diff:
                allowed = failure.metric_threshold.change_threshold.absolute.value
                reasons.append(
                    f"RMSE {rmse[judge.CANDIDATE]:.4f} is {value:.4f} above the {rmse[judge.BLESSED]:.4f} of the "
                    f"blessed model, {blessed_model}; at most {allowed:.4f} is allowed"
                )
            else:
                bound = failure.metric_threshold.value_threshold.upper_bound.value
                reasons.append(f"RMSE {value:.4f} is {value - bound:.4f} above the bound of {bound:.4f}")
    return list(dict.fromkeys(reasons))


def _lists_below(measured: dict[str, dict[str, float]], model: str) -> str:
    """By how much the lists of a candidate are worse than a model's."""
    mine, other = measured[judge.CANDIDATE], measured[model]
    return (
        f"NDCG@10 {mine[LIST_NDCG]:.4f} against {other[LIST_NDCG]:.4f} for {mine[LIST_USERS]:,.0f} users, "
        f"{-other[LIST_LEAD]:.4f} below"
    )


def _not_better(evaluation: Evaluation, baseline: str, needed: float) -> str:
    """In which way a candidate is not better than its baseline, of which z is below what is needed."""
    mine, other = evaluation[OVERALL][judge.CANDIDATE], evaluation[OVERALL][baseline]
    ratings, name = int(mine[EXAMPLE_COUNT]), MODELS[baseline]
    if math.isnan(mine[RMSE]):
        return "the model predicts something that is not a number"
    if ratings < 2:
        return f"whether it is better than {name} cannot be told from {ratings} test rating; at least 2 are needed"
    difference, stderr = other[MSE_DIFFERENCE], other[MSE_DIFFERENCE_STDERR]
    figures = (
        f"RMSE {mine[RMSE]:.4f} against {other[RMSE]:.4f}; the squared error of {name} minus that of the model is "
        f"{difference:.4g} on average over the {ratings:,} test ratings, with a standard error of {stderr:.4g}"
    )
    if difference <= 0:
        return f"it is not better than {name}: {figures}"
    return (
        f"it is not significantly better than {name}: {figures}; {other[MSE_DIFFERENCE_Z]:.2f} standard errors, where "
        f"{needed:g} are needed"
    )


def _split_sizes(statistics: types.Artifact | None) -> dict[str, int]:
    if statistics is None:
        return {}
    return {
        split: curated_schema.read_statistics(statistics, split).datasets[0].num_examples
        for split in artifact_utils.decode_split_names(statistics.split_names)
    }


def _blessed_model(blessing: types.Artifact | None) -> str | None:
    if blessing is None:
        return None
    uri = blessing.get_string_custom_property(evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY)
    # A number of ML Metadata here; on Vertex AI a name.
    name = blessing.get_custom_property(evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY)
    return f"{name} ({uri})" if uri else None
