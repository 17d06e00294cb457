"""What a local run came to, read back from ML Metadata and the artifacts."""

from __future__ import annotations

import dataclasses

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.types import standard_artifacts

from components import outcome, pushed_versions
from components.bulk_recommender import FILE_PROPERTY, LISTS_KEY
from components.model_pusher import BLESSING_KEYS
from components.outcome import Outcome
from components.run_results import Results
from pipeline.exit_codes import ExitCode
from pipeline.local.pushed import Pushed
from pipeline.local.run_artifacts import RunArtifacts

# By the field of `Results`: component, output and type.
_OUTPUTS = {
    "examples": ("RatingsExampleGen", "examples", standard_artifacts.Examples),
    "statistics": ("StatisticsGen", "statistics", standard_artifacts.ExampleStatistics),
    "schema": ("CuratedSchema", "schema", standard_artifacts.Schema),
    "anomalies": ("ExampleValidator", "anomalies", standard_artifacts.ExampleAnomalies),
    "model_run": ("Trainer", "model_run", standard_artifacts.ModelRun),
    "evaluation": ("Evaluator", "evaluation", standard_artifacts.ModelEvaluation),
    "blessing": ("Evaluator", "blessing", standard_artifacts.ModelBlessing),
    "infra_blessing": ("ServableValidator", "blessing", standard_artifacts.InfraBlessing),
    "pushed_model": ("Pusher", "pushed_model", standard_artifacts.PushedModel),
}
# What the last components were given, of whichever run.
_GIVEN = {
    "pushed_model": ([("ReportGen", "pushed_model")], standard_artifacts.PushedModel),
    "earlier_blessing": ([("Pusher", BLESSING_KEYS[0]), ("ReportGen", "blessing")], standard_artifacts.ModelBlessing),
    "earlier_infra_blessing": (
        [("Pusher", BLESSING_KEYS[1]), ("ReportGen", "infra_blessing")],
        standard_artifacts.InfraBlessing,
    ),
}


def read(metadata_path: str, executions: dict[str, int]) -> Outcome:
    """Reads what a finished run came to.

    Args:
      metadata_path: the ML Metadata database.
      executions: the run's execution by component, done and cached ones alike.
    """
    artifacts = RunArtifacts(metadata_path, executions)
    made = of_run(artifacts)
    reached = _outcome(artifacts, made)
    pushed = Pushed.of(made.pushed_model.mlmd_artifact) if made.pushed_model else None
    fault = pushed_versions.fault(pushed.version, pushed.digest) if pushed else None
    if reached.exit_code != ExitCode.PUSHED or not fault:
        return reached
    remedy = "the same command" if "Pusher" in executions else "`movie-ranking run --from Pusher`"
    reasons = [f"{fault}; {remedy} pushes it again"]
    return dataclasses.replace(reached, exit_code=ExitCode.FAILED, reasons=reasons, pushed_path=None)


def when_it_ended(artifacts: RunArtifacts) -> Outcome:
    """What a run came to when it ended; what became of a pushed version later is no part of it."""
    return _outcome(artifacts, of_run(artifacts))


def _outcome(artifacts: RunArtifacts, made: Results) -> Outcome:
    lists = artifacts.get("BulkRecommender", LISTS_KEY)
    path = lists.custom_properties[FILE_PROPERTY].string_value if lists else ""
    return dataclasses.replace(outcome.outcome_of(made), lists_path=path or None)


def of_run(artifacts: RunArtifacts) -> Results:
    """What a run made; where it began after Pusher, what was pushed before."""
    made: dict[str, types.Artifact] = {}
    for field, (component, key, kind) in _OUTPUTS.items():
        _add(made, field, kind, artifacts.get(component, key))
    for field, (inputs, kind) in _GIVEN.items():
        for component, key in inputs:
            _add(made, field, kind, artifacts.given(component, key))
    return Results(**made)


def _add(
    made: dict[str, types.Artifact],
    field: str,
    kind: type[types.Artifact],
    artifact: metadata_store_pb2.Artifact | None,
) -> None:
    """Adds what there is, if nothing is there yet."""
    if artifact is not None and field not in made:
        made[field] = kind()
        made[field].set_mlmd_artifact(artifact)
