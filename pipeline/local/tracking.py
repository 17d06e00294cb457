"""Records runs in MLflow, which is an optional extra: parameters, metrics, tags, report and model.

All of it comes from ML Metadata and the artifacts, so that a run can be recorded when it ends, and at any time later.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from tfx.utils import path_utils

from components import report_facts
from modules import judge
from modules.errors import UserError
from modules.sliced_metrics import OVERALL, Evaluation
from pipeline.config import locations
from pipeline.exit_codes import ExitCode
from pipeline.local import run_facts, run_report
from pipeline.local.past_runs import PastRun
from pipeline.local.run_artifacts import RunArtifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from components.outcome import Outcome

Item = TypeVar("Item")
# The tag by which a run that was recorded before is found again.
RUN_TAG = "movie_ranking.run_id"
REPORT_FILE, MODEL_FOLDER = "report.html", "model"
# A larger model is named by its path alone.
MOST_MODEL_BYTES = 200 << 20
# What MLflow takes in one request, and in one value.
_MOST_ITEMS, _MOST_CHARACTERS = 100, 500
# The client would try for minutes to reach a server, and would tell its makers how it is used.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class TrackingError(Exception):
    """MLflow did not take a run."""


def record(metadata_path: str, past: PastRun, uri: str) -> str:
    """Records a run in MLflow, in the experiment of the pipeline's name; one that is there is brought up to date.

    Args:
      metadata_path: the ML Metadata database.
      past: the run.
      uri: of a tracking server, or of a database, as MLflow takes it.

    Raises:
      UserError: the run did not come to a model.
      TrackingError: the server or the database cannot be reached, or refuses it.

    Returns:
      Experiment and id of MLflow's run, for people.
    """
    artifacts = RunArtifacts(metadata_path, past.executions)
    model = artifacts.get("Trainer", "model") or artifacts.given("Evaluator", "model")
    if model is None or not past.record:
        raise UserError(f"expected a run that came to its end, and to a model; got {past.run_id}, which did not")
    result = run_report.outcome_of(metadata_path, past)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    experiment = past.record["config"]["name"]
    try:
        client = MlflowClient(tracking_uri=uri)
        run_id = _find_or_create(client, experiment, past)
        _write(client, run_id, metadata_path, past, result, path_utils.serving_model_path(model.uri))
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        # Of an address that nobody answers at, the first line says it.
        raise TrackingError(str(error).partition("\n")[0]) from error
    return f"experiment {experiment}, run {run_id}"


def _find_or_create(client: MlflowClient, experiment: str, past: PastRun) -> str:
    """The id of MLflow's run that has the tag of ours."""
    known = client.get_experiment_by_name(experiment)
    experiment_id = known.experiment_id if known else client.create_experiment(experiment)
    found = client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{past.run_id}'", max_results=1)
    if found:
        return found[0].info.run_id
    created = client.create_run(
        experiment_id, start_time=_milliseconds(past), tags={RUN_TAG: past.run_id}, run_name=past.run_id
    )
    return created.info.run_id


def _write(
    client: MlflowClient, run_id: str, metadata_path: str, past: PastRun, result: Outcome, model_path: str
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    began = _milliseconds(past)
    # A parameter cannot be changed; that of a run can differ only in how another release of this program names it.
    kept = client.get_run(run_id).data.params
    parameters = [
        Param(name, value)
        for name, value in _parameters(run_facts.lineage_of(metadata_path, past)).items()
        if name not in kept
    ]
    for params in _batches(parameters):
        client.log_batch(run_id, params=params)
    for metrics in _batches([Metric(name, value, began, 0) for name, value in _metrics(result.evaluation).items()]):
        client.log_batch(run_id, metrics=metrics)
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in _tags(result, model_path).items()])
    client.log_text(run_id, run_report.page_of(metadata_path, past), REPORT_FILE)
    if not locations.is_remote(model_path) and 0 < _size(model_path) <= MOST_MODEL_BYTES:
        client.log_artifacts(run_id, model_path, MODEL_FOLDER)
    ended = began + int(1000 * past.record["seconds"])
    client.set_terminated(run_id, "FAILED" if result.exit_code == ExitCode.FAILED else "FINISHED", ended)


def _milliseconds(past: PastRun) -> int:
    return int(1000 * past.began.timestamp())


def _parameters(lineage: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What made the model, such as "configuration/Trainer preset"; not which run it was."""
    return {
        f"{group.lower()}/{name}": value[:_MOST_CHARACTERS]
        for group, values in lineage.items()
        if group != "Run"
        for name, value in values.items()
    }


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    """The candidate's metrics by their names, those of its slices and of the other models with these before them."""
    measured = {"": evaluation.get(OVERALL, {}).get(judge.CANDIDATE, {})}
    measured |= {f"{name}/": each for name, each in evaluation.get(OVERALL, {}).items() if name != judge.CANDIDATE}
    # MLflow knows no plus sign in names.
    measured |= {
        f"{' '.join(key).replace('+', ' or more')}/": by_model[judge.CANDIDATE]
        for key, by_model in evaluation.items()
        if key != OVERALL
    }
    return {
        f"{before}{name}": value
        for before, metrics in measured.items()
        for name, value in metrics.items()
        if math.isfinite(value)
    }


def _tags(result: Outcome, model_path: str) -> dict[str, str]:
    code = result.exit_code
    tags = {
        "movie_ranking.exit_code": str(int(code)),
        "movie_ranking.verdict": code.name.lower().replace("_", " "),
        "movie_ranking.model": model_path,
        # Shown by MLflow as the description.
        "mlflow.note.content": "\n\n".join((report_facts.verdict(result), *result.reasons)),
    }
    if result.pushed_path:
        tags["movie_ranking.version"] = os.path.basename(result.pushed_path)
    return tags


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for first in range(0, len(items), _MOST_ITEMS):
        yield items[first : first + _MOST_ITEMS]


def _size(folder: str) -> int:
    """Bytes of the files of a folder; 0 of one that is gone, as after `movie-ranking clean`."""
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)
