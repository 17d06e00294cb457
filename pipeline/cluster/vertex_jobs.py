"""Pipeline jobs and schedules on Vertex AI, by Google's client."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

# gRPC's C++ code tells on which machine it is.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from google.auth import credentials as auth_credentials
from google.cloud import aiplatform, storage  # type: ignore[attr-defined]
from google.cloud.aiplatform_v1 import types

from pipeline.cluster.compiled_job import CompiledJob
from pipeline.cluster.service_errors import ServiceError, google_errors
from pipeline.config import submission_parameters
from pipeline.exit_codes import ExitCode, ServiceCode

REQUEST_TIMEOUT_S = 60.0
State = types.PipelineState
TaskState = types.PipelineTaskDetail.State
ENDED = {State.PIPELINE_STATE_SUCCEEDED, State.PIPELINE_STATE_FAILED, State.PIPELINE_STATE_CANCELLED}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where jobs run.

    Attributes:
      project: of Google Cloud.
      region: of Google Cloud.
      endpoint: host of the API where it is not the region's own, such as a Private Service Connect endpoint.
    """

    project: str
    region: str
    endpoint: str | None = None

    def connect(self, credentials: auth_credentials.Credentials | None = None) -> None:
        """Tells the client; by default it takes Application Default Credentials when it first needs them."""
        # Its own messages, and the traces of errors that it survives, are not ours.
        for name in ("pipeline_jobs", "pipeline_job_schedules", "base"):
            logging.getLogger(f"google.cloud.aiplatform.{name}").disabled = True
        aiplatform.init(project=self.project, location=self.region, api_endpoint=self.endpoint, credentials=credentials)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submission:
    """One use of a compiled job.

    Attributes:
      job: what was compiled.
      parameters: values that differ from the compiled ones.
      labels: beside those of the job.
      service_account: overrules the job's.
      network: overrules the job's.
      encryption_key: overrules the job's.
      job_id: of the job; by default made of name and time.
    """

    job: CompiledJob
    parameters: dict[str, submission_parameters.Scalar] = dataclasses.field(default_factory=dict)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    service_account: str | None = None
    network: str | None = None
    encryption_key: str | None = None
    job_id: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Service account and network in force."""
        content = self.job.content
        return {
            "service_account": self.service_account or content.get("serviceAccount"),
            "network": self.network or content.get("network"),
        }

    def build(self) -> aiplatform.PipelineJob:
        """The client's job; nothing is sent.

        Raises:
          ValueError: the client finds something out of order.
        """
        content = self.job.content
        return aiplatform.PipelineJob(
            display_name=content["displayName"],
            template_path=self.job.path,
            job_id=self.job_id,
            parameter_values=self.parameters,
            encryption_spec_key_name=self.encryption_key or content.get("encryptionSpec", {}).get("kmsKeyName"),
            labels={**content.get("labels", {}), **self.labels},
        )


def _request(submission: Submission) -> tuple[aiplatform.PipelineJob, types.CreatePipelineJobRequest]:
    """The client's job, and what it is created with."""
    job = submission.build()
    # The client has no public way to ask for it before it is sent.
    message = types.PipelineJob(job._gca_resource)
    for key, value in submission.identity.items():
        if value:
            setattr(message, key, value)
    parent = f"projects/{job.project}/locations/{job.location}"
    return job, types.CreatePipelineJobRequest(parent=parent, pipeline_job=message, pipeline_job_id=job.job_id)


def request_text(submission: Submission) -> str:
    """The request that would be sent, as JSON."""
    _, request = _request(submission)
    text = types.CreatePipelineJobRequest.to_json(request, including_default_value_fields=False)
    return json.dumps(json.loads(text), indent=2, sort_keys=True)


def submit(submission: Submission) -> aiplatform.PipelineJob:
    """Starts a job.

    Raises:
      ServiceError: the service did not take it.
    """
    with google_errors("submitting the job"):
        job, request = _request(submission)
        _check_bucket(submission.job.pipeline_root, job.project)
        # `PipelineJob.submit` would make a missing bucket first, and look for its owner in another service.
        created = job.api_client.create_pipeline_job(request=request, timeout=REQUEST_TIMEOUT_S)
        return aiplatform.PipelineJob.get(created.name)


def schedule(
    submission: Submission, *, cron: str, name: str, max_runs: int | None = None
) -> aiplatform.PipelineJobSchedule:
    """Starts a job again and again.

    Args:
      submission: the job.
      cron: when, such as "TZ=Europe/Berlin 0 4 * * *".
      name: display name of the schedule.
      max_runs: how often at most.

    Raises:
      ServiceError: the service did not take it.
    """
    with google_errors("creating the schedule"):
        job = submission.build()
        _check_bucket(submission.job.pipeline_root, job.project)
        return job.create_schedule(
            cron=cron,
            display_name=name,
            max_run_count=max_runs,
            **submission.identity,
            create_request_timeout=REQUEST_TIMEOUT_S,
        )


def cancel(job_id: str) -> aiplatform.PipelineJob:
    """Asks for a job to be cancelled.

    Args:
      job_id: or the full resource name.

    Raises:
      ServiceError: there is no such job, or it may not be cancelled.
    """
    with google_errors(f"cancelling {job_id}"):
        job = aiplatform.PipelineJob.get(job_id)
        job.cancel()
    return job


def _check_bucket(pipeline_root: str, project: str) -> None:
    """Refuses a bucket that is not there; tasks would fail for it one after the other."""
    from google.api_core import exceptions

    name = pipeline_root.removeprefix("gs://").split("/")[0]
    try:
        found = storage.Client(project=project).bucket(name).exists(timeout=REQUEST_TIMEOUT_S, retry=None)
    except exceptions.Forbidden:
        # To use a bucket needs other permissions than to look at it; the service will tell.
        return
    if not found:
        raise ServiceError(
            ServiceCode.REFUSED,
            "submitting the job",
            f"there is no bucket gs://{name}",
            "make it with `gcloud storage buckets create`, or compile with another --pipeline-root",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """A task that changed its state."""

    task: str
    state: str


def watch(
    job: aiplatform.PipelineJob,
    *,
    interval_s: float,
    timeout_s: float | None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Change]:
    """Yields the tasks of a job as they change, until the job has ended.

    Raises:
      TimeoutError: it took longer than `timeout_s`.
      ServiceError: the service could not be asked.
    """
    began = time.monotonic()
    known: dict[str, str] = {}
    while True:
        with google_errors("asking for the job"):
            # The state is asked for; the tasks are of the same answer.
            state = job.state
            tasks = list(job.gca_resource.job_detail.task_details)
        for task in sorted(tasks, key=lambda task: (task.start_time or 0, task.task_id)):
            name = TaskState(task.state).name
            if known.get(task.task_name) != name:
                known[task.task_name] = name
                yield Change(task=task.task_name, state=name)
        if state in ENDED:
            return
        if timeout_s is not None and time.monotonic() - began + interval_s > timeout_s:
            raise TimeoutError
        sleep(interval_s)


def verdict(job: aiplatform.PipelineJob) -> tuple[ExitCode | ServiceCode, list[str]]:
    """What an ended job came to, as a local run would tell it, and why."""
    with google_errors("asking for the job"):
        state = job.state
        tasks = {task.task_name: task for task in job.gca_resource.job_detail.task_details}
    if state == State.PIPELINE_STATE_CANCELLED:
        return ServiceCode.CANCELLED, ["the job was cancelled"]
    if state != State.PIPELINE_STATE_SUCCEEDED:
        failed = [task for task in tasks.values() if task.state == TaskState.FAILED]
        reasons = [f"{task.task_name}: {' '.join(task.error.message.split())}" for task in failed]
        anomalous = any(task.task_name == "AnomalyGate" for task in failed)
        return ExitCode.ANOMALIES if anomalous else ExitCode.FAILED, reasons or ["the job failed; no task says why"]
    if _property(tasks, "Evaluator", "blessing", "blessed") == 0:
        return ExitCode.NOT_BLESSED, ["the RMSE is over the bound, or worse than the blessed model's"]
    if _property(tasks, "ServableValidator", "blessing", "blessed") == 0:
        return ExitCode.NOT_SERVABLE, ["the exported model could not be loaded and queried"]
    pushed = [
        _property(tasks, name, "pushed_model", "pushed") for name in ("Pusher", "EndpointPusher") if name in tasks
    ]
    if pushed and all(each == 1 for each in pushed):
        return ExitCode.PUSHED, []
    return ServiceCode.PUSH_UNKNOWN, ["the job succeeded, but Pusher's output does not say that a model was pushed"]


def _property(tasks: dict[str, types.PipelineTaskDetail], task: str, output: str, key: str) -> Any:
    """A property of a task's output artifact, or None."""
    if task not in tasks or output not in tasks[task].outputs:
        return None
    artifacts = tasks[task].outputs[output].artifacts
    return dict(artifacts[0].metadata or {}).get(key) if artifacts else None


def console_url(job: aiplatform.PipelineJob) -> str:
    """Where a browser shows the job."""
    return (
        f"https://console.cloud.google.com/vertex-ai/locations/{job.location}/pipelines/runs/"
        f"{job.resource_name.rsplit('/', 1)[-1]}?project={job.project}"
    )
