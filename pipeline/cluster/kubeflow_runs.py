"""Runs and recurring runs on Kubeflow Pipelines, by its client."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import kfp.client
import yaml

from pipeline.cluster.compiled_job import CompiledJob
from pipeline.cluster.service_errors import kubeflow_errors
from pipeline.config import submission_parameters
from pipeline.exit_codes import ExitCode, ServiceCode

ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}


class Runs:
    """The runs of one Kubeflow host."""

    def __init__(self, host: str, namespace: str | None = None) -> None:
        """Connects.

        Args:
          host: URL of Kubeflow Pipelines.
          namespace: of a multi-user installation.

        Raises:
          ServiceError: the host cannot be reached, or wants credentials.
        """
        self.host, self._namespace = host, namespace
        # It names the versions that it works with at each start.
        warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
        with kubeflow_errors("connecting", host):
            self._client = kfp.client.Client(host=host, **({"namespace": namespace} if namespace else {}))

    def start(
        self,
        job: CompiledJob,
        values: dict[str, submission_parameters.Scalar],
        experiment: str,
        service_account: str | None,
    ) -> str:
        """Starts a run; returns its id.

        Raises:
          ServiceError: the service did not take it.
        """
        with kubeflow_errors("submitting the run", self.host), _package(job) as path, _silent():
            run = self._client.create_run_from_pipeline_package(
                path,
                arguments=values,
                run_name=f"{job.name} {time.strftime('%Y-%m-%d %H-%M-%S')}",
                experiment_name=experiment,
                namespace=self._namespace,
                pipeline_root=job.pipeline_root,
                service_account=service_account,
            )
        return run.run_id

    def repeat(
        self,
        job: CompiledJob,
        values: dict[str, submission_parameters.Scalar],
        experiment: str,
        *,
        cron: str,
        name: str,
    ) -> str:
        """Starts a run again and again; returns the id of the recurring run.

        Args:
          job: what was compiled.
          values: of its parameters.
          experiment: that the runs belong to.
          cron: when, six fields with seconds first, such as "0 0 4 * * *".
          name: of the recurring run.

        Raises:
          ServiceError: the service did not take it.
        """
        with kubeflow_errors("creating the schedule", self.host), _package(job) as path, _silent():
            of = self._client.create_experiment(experiment, namespace=self._namespace)
            recurring = self._client.create_recurring_run(
                experiment_id=of.experiment_id,
                job_name=name,
                cron_expression=cron,
                pipeline_package_path=path,
                params=values,
                pipeline_root=job.pipeline_root,
            )
        return recurring.recurring_run_id

    def cancel(self, run_id: str) -> None:
        """Asks for a run to be ended.

        Raises:
          ServiceError: there is no such run, or it may not be ended.
        """
        with kubeflow_errors(f"cancelling {run_id}", self.host):
            self._client.terminate_run(run_id)

    def watch(
        self,
        run_id: str,
        *,
        interval_s: float,
        timeout_s: float | None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[tuple[str, str]]:
        """Yields (task, state) as tasks change, until the run has ended.

        Raises:
          TimeoutError: it took longer than `timeout_s`.
          ServiceError: the service could not be asked.
        """
        began = time.monotonic()
        known: dict[str, str] = {}
        while True:
            run = self._get(run_id)
            for task in _tasks(run):
                if task.state and known.get(task.display_name) != task.state:
                    known[task.display_name] = task.state
                    yield task.display_name, task.state
            if run.state in ENDED:
                return
            if timeout_s is not None and time.monotonic() - began + interval_s > timeout_s:
                raise TimeoutError
            sleep(interval_s)

    def verdict(self, run_id: str) -> tuple[ExitCode | ServiceCode, list[str]]:
        """What an ended run came to, and why."""
        run = self._get(run_id)
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

    def url(self, run_id: str) -> str:
        """Where a browser shows the run."""
        return f"{self.host.rstrip('/')}/#/runs/details/{run_id}"

    def _get(self, run_id: str) -> Any:
        with kubeflow_errors("asking for the run", self.host):
            return self._client.get_run(run_id)


def request_text(
    job: CompiledJob, values: dict[str, submission_parameters.Scalar], experiment: str, namespace: str | None
) -> str:
    """The run that would be asked for, as JSON."""
    request = {
        "experiment": experiment,
        "namespace": namespace,
        "pipeline_spec": job.spec,
        "runtime_config": {"parameters": values, "pipeline_root": job.pipeline_root},
    }
    return json.dumps(request, indent=2, sort_keys=True)


def _tasks(run: Any) -> list[Any]:
    return (run.run_details.task_details if run.run_details else None) or []


def _message(of: Any) -> str:
    message = getattr(of.error, "message", None) if of.error else None
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
