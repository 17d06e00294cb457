"""What a run came to, read back from ML Metadata and the artifacts."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2
from tfx.components.evaluator import constants as evaluator_constants
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from components import curated_schema
from components.baseline_comparison import COMPARISON_FILE
from components.servable_validator import NOT_BLESSED_FILE
from modules import serving
from pipeline.exit_codes import ExitCode
from pipeline.graph import evaluation
from pipeline.local.run_artifacts import RunArtifacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to; a part that the run did not reach is None or empty.

    Attributes:
      exit_code: see `exit_codes`.
      reasons: why nothing was pushed, in words.
      split_sizes: examples in each split.
      metrics: what Evaluator measured over all test ratings.
      slices: the same by slice, such as ("user_activity", "3-9").
      comparison: the model beside the baselines, as BaselineComparison wrote it.
      baseline_model: the blessed model that the candidate was compared with, as "id (folder)".
      pushed_path: where the model was pushed.
    """

    exit_code: ExitCode
    reasons: list[str]
    split_sizes: dict[str, int]
    metrics: dict[str, float]
    slices: dict[tuple[str, str], dict[str, float]]
    comparison: dict[str, dict[str, dict[str, float | None]]]
    baseline_model: str | None
    pushed_path: str | None


def read(metadata_path: str, executions: dict[str, int]) -> Outcome:
    """Reads what a finished run came to.

    Args:
      metadata_path: the ML Metadata database.
      executions: the run's execution by component, done and cached ones alike.
    """
    artifacts = RunArtifacts(metadata_path, executions)
    metrics: dict[str, float] = {}
    slices: dict[tuple[str, str], dict[str, float]] = {}
    if evaluation_artifact := artifacts.get("Evaluator", "evaluation"):
        for slice_key, values in _read_metrics(evaluation_artifact.uri):
            if slice_key:
                slices[slice_key] = values
            else:
                metrics = values
    comparison = artifacts.get("BaselineComparison", "comparison")
    blessing = artifacts.get("Evaluator", "blessing")
    pushed = artifacts.get("Pusher", "pushed_model")
    pushed_path = _text(pushed, "pushed_destination") if pushed and _number(pushed, "pushed") else None
    exit_code, reasons = _verdict(artifacts, pushed_path)
    return Outcome(
        exit_code=exit_code,
        reasons=reasons,
        split_sizes=_split_sizes(artifacts.get("StatisticsGen", "statistics")),
        metrics=metrics,
        slices=slices,
        comparison=_read_json(os.path.join(comparison.uri, COMPARISON_FILE)) if comparison else {},
        baseline_model=_baseline_model(blessing),
        pushed_path=pushed_path,
    )


def _verdict(artifacts: RunArtifacts, pushed_path: str | None) -> tuple[ExitCode, list[str]]:
    blessing, servable = artifacts.get("Evaluator", "blessing"), artifacts.get("ServableValidator", "blessing")
    if blessing and not _number(blessing, evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY):
        evaluation_artifact = artifacts.get("Evaluator", "evaluation")
        return ExitCode.NOT_BLESSED, _missed_thresholds(evaluation_artifact.uri) if evaluation_artifact else []
    if servable and not _number(servable, "blessed"):
        with fileio.open(os.path.join(servable.uri, NOT_BLESSED_FILE)) as file:
            return ExitCode.NOT_SERVABLE, file.read().splitlines()
    if artifacts.get("Pusher", "pushed_model") is None:
        return ExitCode.STOPPED_EARLY, ["the run ended before Pusher"]
    if pushed_path is None:
        return ExitCode.FAILED, ["Pusher did not push although both blessings were given; see its log"]
    if not os.path.isdir(pushed_path):
        return ExitCode.FAILED, [
            f"the model was pushed to {pushed_path} by an earlier run, but it is no longer there; "
            "run with --from Pusher --no-cache to push it again"
        ]
    return ExitCode.PUSHED, []


def _missed_thresholds(uri: str) -> list[str]:
    reasons = []
    for by_slice in tfma.load_validation_result(uri).metric_validations_per_slice:
        for failure in by_slice.failures:
            bound = failure.metric_threshold.value_threshold.upper_bound.value
            allowed = failure.metric_threshold.change_threshold.absolute.value
            value = failure.metric_value.double_value.value
            if failure.metric_key.is_diff:
                reasons.append(
                    f"{failure.metric_key.name} is {value:.4f} above the blessed model's; "
                    f"at most {allowed:.4f} is allowed"
                )
            else:
                reasons.append(f"{failure.metric_key.name} must be below {bound:.4f}; it is {value:.4f}")
    return reasons or ["Evaluator gave no reason; see its log"]


def _read_metrics(uri: str) -> list[tuple[tuple[str, str] | None, dict[str, float]]]:
    """Slice and metrics by name, of the candidate model."""
    rows = []
    for metrics in tfma.load_metrics(uri):
        keys = metrics.slice_key.single_slice_keys
        slice_key = (keys[0].column, keys[0].bytes_value.decode()) if keys else None
        values = {
            item.key.name: item.value.double_value.value
            for item in metrics.metric_keys_and_values
            if not item.key.is_diff and item.key.model_name != evaluation.BASELINE_NAME
        }
        rows.append((slice_key, values))
    return rows


def _split_sizes(statistics: metadata_store_pb2.Artifact | None) -> dict[str, int]:
    if statistics is None:
        return {}
    artifact = standard_artifacts.ExampleStatistics()
    artifact.set_mlmd_artifact(statistics)
    return {
        split: curated_schema.read_statistics(artifact, split).datasets[0].num_examples
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }


def _baseline_model(blessing: metadata_store_pb2.Artifact | None) -> str | None:
    if blessing is None:
        return None
    uri = _text(blessing, evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY)
    number = _number(blessing, evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY)
    return f"{number} ({uri})" if uri else None


def _read_json(path: str) -> Any:
    with fileio.open(path) as file:
        return json.load(file)


def _text(artifact: metadata_store_pb2.Artifact, key: str) -> str:
    return artifact.custom_properties[key].string_value if key in artifact.custom_properties else ""


def _number(artifact: metadata_store_pb2.Artifact, key: str) -> int:
    return artifact.custom_properties[key].int_value if key in artifact.custom_properties else 0


def slice_order(key: tuple[str, str]) -> tuple[str, int]:
    """Sorts slices by feature, then by how much was known."""
    return key[0], serving.SLICE_NAMES.index(key[1])
