"""What a run came to, read back from ML Metadata and the artifacts."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2
from tfx.components.evaluator import constants as evaluator_constants
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from components import curated_schema, evaluation_files, model_digest, pushed_versions
from components.bulk_recommender import FILE_PROPERTY, LISTS_KEY
from components.model_pusher import BLESSING_KEYS
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
from pipeline.local.pushed import Pushed
from pipeline.local.run_artifacts import RunArtifacts

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
      reasons: why nothing was pushed, in words.
      split_sizes: examples in each split.
      evaluation: what Evaluator measured: by slice, such as ("user_activity", "3-9"), then by model, then by metric.
      blessed_model: the model, blessed before, that the candidate was compared with, as "id (folder)".
      pushed_path: where the model was pushed.
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


def read(metadata_path: str, executions: dict[str, int]) -> Outcome:
    """Reads what a finished run came to.

    Args:
      metadata_path: the ML Metadata database.
      executions: the run's execution by component, done and cached ones alike.
    """
    artifacts = RunArtifacts(metadata_path, executions)
    evaluation = artifacts.get("Evaluator", "evaluation")
    pushed = Pushed.of(artifacts.get("Pusher", "pushed_model"))
    reached = Outcome(
        exit_code=ExitCode.PUSHED,
        split_sizes=_split_sizes(artifacts.get("StatisticsGen", "statistics")),
        evaluation=evaluation_files.read(evaluation.uri) if evaluation else {},
        blessed_model=_blessed_model(artifacts.get("Evaluator", "blessing")),
        pushed_path=pushed.version if pushed else None,
        lists_path=_lists_path(artifacts.get("BulkRecommender", LISTS_KEY)),
        fitted=_fitted(artifacts.get("Trainer", "model_run")),
    )
    exit_code, reasons = _verdict(artifacts, reached, pushed)
    return dataclasses.replace(reached, exit_code=exit_code, reasons=reasons)


def _lists_path(lists: metadata_store_pb2.Artifact | None) -> str | None:
    return lists.custom_properties[FILE_PROPERTY].string_value or None if lists else None


def _fitted(model_run: metadata_store_pb2.Artifact | None) -> str:
    """What Trainer wrote beside its logs; nothing where it wrote none."""
    path = os.path.join(model_run.uri, CHOSEN_FILE) if model_run else ""
    if not path or not fileio.exists(path):
        return ""
    with fileio.open(path) as file:
        return file.read()


def _verdict(artifacts: RunArtifacts, reached: Outcome, pushed: Pushed | None) -> tuple[ExitCode, list[str]]:
    blessing, servable = artifacts.get("Evaluator", "blessing"), artifacts.get("ServableValidator", "blessing")
    if blessing and not _number(blessing, evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY):
        validation = tfma.load_validation_result(paths.plain(artifacts.require("Evaluator", "evaluation").uri))
        return ExitCode.NOT_BLESSED, missed_thresholds(validation, reached.evaluation, reached.blessed_model)
    if servable and not _number(servable, "blessed"):
        if blessing and _text(blessing, model_digest.PROPERTY) != _text(servable, model_digest.PROPERTY):
            return ExitCode.FAILED, [_changed_between(blessing)]
        with fileio.open(os.path.join(servable.uri, NOT_BLESSED_FILE)) as file:
            return ExitCode.NOT_SERVABLE, file.read().splitlines()
    if artifacts.get("Pusher", "pushed_model") is None:
        return ExitCode.STOPPED_EARLY, ["the run ended before Pusher"]
    if pushed is None:
        # Verdicts of an earlier run, where this one skipped Evaluator, and perhaps ServableValidator.
        model, infra = (artifacts.given("Pusher", key) for key in BLESSING_KEYS)
        if model and not _number(model, evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY):
            said = "an earlier run did not bless the model; run with --from Evaluator, which says why"
            return ExitCode.NOT_BLESSED, [said]
        if infra and not _number(infra, "blessed"):
            said = (
                "an earlier run could not load and query the model; run with --from ServableValidator, which says why"
            )
            return ExitCode.NOT_SERVABLE, [said]
        return ExitCode.FAILED, ["Pusher did not push although both blessings were given; see its log"]
    if fault := pushed_versions.fault(pushed.version, pushed.digest):
        return ExitCode.FAILED, [f"{fault}; the same command pushes it again"]
    return ExitCode.PUSHED, []


def _changed_between(blessing: metadata_store_pb2.Artifact) -> str:
    """Of a model that ServableValidator found in another state than Evaluator."""
    model = _text(blessing, evaluator_constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY)
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


def _split_sizes(statistics: metadata_store_pb2.Artifact | None) -> dict[str, int]:
    if statistics is None:
        return {}
    artifact = standard_artifacts.ExampleStatistics()
    artifact.set_mlmd_artifact(statistics)
    return {
        split: curated_schema.read_statistics(artifact, split).datasets[0].num_examples
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }


def _blessed_model(blessing: metadata_store_pb2.Artifact | None) -> str | None:
    if blessing is None:
        return None
    uri = _text(blessing, evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY)
    number = _number(blessing, evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY)
    return f"{number} ({uri})" if uri else None


def _text(artifact: metadata_store_pb2.Artifact, key: str) -> str:
    return artifact.custom_properties[key].string_value if key in artifact.custom_properties else ""


def _number(artifact: metadata_store_pb2.Artifact, key: str) -> int:
    return artifact.custom_properties[key].int_value if key in artifact.custom_properties else 0
