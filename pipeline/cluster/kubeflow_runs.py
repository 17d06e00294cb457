"""Runs and recurring runs on Kubeflow Pipelines, by its client."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from typing import Any

import kfp.client
import yaml

from modules.errors import UserError
from pipeline.cluster.compiled_job import CompiledJob
from pipeline.cluster.service_errors import kubeflow_errors
from pipeline.config import submission_parameters
from pipeline.exit_codes import ExitCode, ServiceCode

Values = dict[str, submission_parameters.Scalar]
# Where Kubeflow's client keeps the namespace that its user chose.
_SETTINGS = "~/.config/kfp/context.json"
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs of one Kubeflow host; connects when it first has to.

    Attributes:
      host: URL of Kubeflow Pipelines.
      namespace: namespace of a multi-user installation.
      experiment: what the runs belong to; by default named as the pipeline.
      service_account: Kubernetes service account that tasks run as.
    """

    host: str
    namespace: str | None = None
    experiment: str | None = None
    service_account: str | None = None

    @functools.cached_property
    def client(self) -> kfp.client.Client:
        """The client.

        Raises:
          ServiceError: the host cannot be reached, or wants credentials.
          UserError: the settings that Kubeflow's client keeps are damaged.
        """
        _check_settings()
        # It names the versions that it works with at each start.
        warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
        with kubeflow_errors("connecting", self.host):
            return kfp.client.Client(host=self.host, **({"namespace": self.namespace} if self.namespace else {}))

    def check(self, job: CompiledJob) -> None:
        """Refuses a job that Kubeflow Pipelines cannot run.

        Raises:
          UserError: it was compiled for something else.
        """
        if not job.is_for_kubeflow:
            raise UserError(f"{job.path} was not compiled for Kubeflow; compile it with --target kubeflow")

    def request_text(self, job: CompiledJob, values: Values) -> str:
        """The run that would be asked for, as JSON."""
        request = {
            "experiment": self.experiment or job.name,
            "namespace": self.namespace,
            "pipeline_spec": job.spec,
            "runtime_config": {"parameters": values, "pipeline_root": job.pipeline_root},
        }
        return json.dumps(request, indent=2, sort_keys=True)

    def start(self, job: CompiledJob, values: Values) -> StartedRun:
        """Starts a run.

        Args:
          job: what was compiled.
          values: those of its parameters that differ from the compiled ones.

        Raises:
          ServiceError: the service did not take it.
        """
        client = self.client
        with kubeflow_errors("submitting the run", self.host), _package(job) as path, _silent():
            run = client.create_run_from_pipeline_package(
                path,
                arguments=values,
                run_name=f"{job.name} {time.strftime('%Y-%m-%d %H-%M-%S')}",
                experiment_name=self.experiment or job.name,
                namespace=self.namespace,
                pipeline_root=job.pipeline_root,
                service_account=self.service_account,
            )
        return StartedRun(self, run.run_id)

    def schedule(self, job: CompiledJob, values: Values, *, cron: str, name: str) -> str:
        """Starts a run again and again; returns the id of the recurring run.

        Args:
          job: what was compiled.
          values: those of its parameters that differ from the compiled ones.
          cron: when, six fields with seconds first, such as "0 0 4 * * *".
          name: name of the recurring run.

        Raises:
          ServiceError: the service did not take it.
        """
        client = self.client
        with kubeflow_errors("creating the schedule", self.host), _package(job) as path, _silent():
            experiment = client.create_experiment(self.experiment or job.name, namespace=self.namespace)
            recurring = client.create_recurring_run(
                experiment_id=experiment.experiment_id,
                job_name=name,
                cron_expression=cron,
                pipeline_package_path=path,
                params=values,
                pipeline_root=job.pipeline_root,
            )
        return recurring.recurring_run_id

    def cancel(self, run_id: str) -> str:
        """Asks for a run to be ended; returns its id.

        Raises:
          ServiceError: there is no such run, or it may not be ended.
        """
        client = self.client
        with kubeflow_errors(f"cancelling {run_id}", self.host):
            client.terminate_run(run_id)
        return run_id


class StartedRun:
    """A run that the service has taken.

    Attributes:
      name: id of the run.
      url: where a browser shows it.
    """

    def __init__(self, runs: Runs, run_id: str):
        """Holds the id."""
        self._runs = runs
        self.name = run_id
        self.url = f"{runs.host.rstrip('/')}/#/runs/details/{run_id}"

    def states(self) -> tuple[dict[str, str], bool]:
        """The state of each task that has one, and whether the run has ended.

        Raises:
          ServiceError: the service could not be asked.
        """
        run = self._get()
        return {task.display_name: task.state for task in _tasks(run) if task.state}, run.state in ENDED

    def verdict(self) -> tuple[ExitCode | ServiceCode, list[str]]:
        """What the ended run came to, and why."""
        run = self._get()
        if run.state == "SUCCEEDED":
            return ServiceCode.PUSH_UNKNOWN, [
                "the run succeeded; Kubeflow does not tell whether Pusher pushed a model: see its log, "
                "or the folder of pushed models"
            ]
        if run.state == "CANCELED":
            return ServiceCode.CANCELLED, ["the run was cancelled"]
        failed = [task for task in _tasks(run) if task.state == "FAILED"]
        reasons = [f"{task.display_name}: {_message(task)}" for task in failed] or [_message(run)]
        anomalous = any(task.display_name == "AnomalyGate" for task in failed)
        return ExitCode.ANOMALIES if anomalous else ExitCode.FAILED, reasons

    def _get(self) -> Any:
        with kubeflow_errors("asking for the run", self._runs.host):
            return self._runs.client.get_run(self.name)


def _tasks(run: Any) -> list[Any]:
    return (run.run_details.task_details if run.run_details else None) or []


def _message(failed: Any) -> str:
    message = getattr(failed.error, "message", None) if failed.error else None
    return " ".join((message or "no reason was given; see its log").split())


@contextlib.contextmanager
def _package(job: CompiledJob) -> Iterator[str]:
    """The pipeline specification as the file that the client takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"{job.name}.yaml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(job.spec, file)
        yield path


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the links that the client prints; ours say the same."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _check_settings() -> None:
    """Refuses damaged settings, on which Kubeflow's client would end with a trace.

    Raises:
      UserError: they are damaged, or cannot be read.
    """
    path = os.path.expanduser(_SETTINGS)
    if not os.path.exists(path):
        return
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
        fault = None if isinstance(settings, dict) and isinstance(settings.get("namespace"), str) else "something else"
    except (OSError, ValueError) as error:
        fault = str(error)
    if fault:
        raise UserError(
            f'expected settings of Kubeflow\'s client in {path}, such as {{"namespace": "team"}}; got {fault}; mend or '
            "remove the file"
        )
