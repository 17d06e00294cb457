"""Pipeline jobs and schedules on Vertex AI, by Google's client."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
from typing import Any

# Otherwise gRPC's C++ code writes on the terminal on which machine it is.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, storage  # type: ignore[attr-defined]
from google.cloud.aiplatform_v1 import types

from modules.errors import UserError
from pipeline.cluster.compiled_job import CompiledJob
from pipeline.cluster.service_errors import ServiceError, google_errors
from pipeline.config import submission_parameters
from pipeline.exit_codes import MEANINGS, ExitCode, ServiceCode

REQUEST_TIMEOUT_S = 60.0
Values = dict[str, submission_parameters.Scalar]
State = types.PipelineState
TaskState = types.PipelineTaskDetail.State
ENDED = {State.PIPELINE_STATE_SUCCEEDED, State.PIPELINE_STATE_FAILED, State.PIPELINE_STATE_CANCELLED}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jobs:
    """The jobs of one project and region, and what a submission overrules.

    Attributes:
      project: Google Cloud project.
      region: Google Cloud region.
      endpoint: host of the API where it is not the region's own, such as a Private Service Connect endpoint.
      labels: labels beside those of the compiled job.
      service_account: overrules the compiled one.
      network: overrules the compiled one.
      encryption_key: overrules the compiled one.
      job_id: id of the job; by default made of name and time.
      max_runs: how often a schedule runs at most.
      anonymous: nothing will be sent, so that no credentials are needed.
    """

    project: str
    region: str
    endpoint: str | None = None
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    service_account: str | None = None
    network: str | None = None
    encryption_key: str | None = None
    job_id: str | None = None
    max_runs: int | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        """Sets up the client, which by default takes Application Default Credentials when it first needs them.

        Raises:
          UserError: there is no such region.
        """
        # Its own messages, and the traces of errors that it survives, are not ours.
        for name in ("pipeline_jobs", "pipeline_job_schedules", "base"):
            logging.getLogger(f"google.cloud.aiplatform.{name}").disabled = True
        with google_errors("setting up the client"):
            aiplatform.init(
                project=self.project,
                location=self.region,
                api_endpoint=self.endpoint,
                credentials=AnonymousCredentials() if self.anonymous else None,
            )

    def check(self, job: CompiledJob) -> None:
        """Refuses a job for Kubeflow; Vertex runs both versions of the specification, and resolvers.

        Raises:
          UserError: it was compiled for something else.
        """
        if job.is_for_kubeflow:
            raise UserError(f"{job.path} was compiled for Kubeflow; compile it with --target vertex")

    def request_text(self, job: CompiledJob, values: Values) -> str:
        """The request that would be sent, as JSON."""
        text = types.CreatePipelineJobRequest.to_json(
            self._request(job, self._build(job, values)), including_default_value_fields=False
        )
        return json.dumps(json.loads(text), indent=2, sort_keys=True)

    def start(self, job: CompiledJob, values: Values) -> StartedJob:
        """Starts a job.

        Args:
          job: what was compiled.
          values: those of its parameters that differ from the compiled ones.

        Raises:
          ServiceError: the service did not take it.
          UserError: the client finds something out of order.
        """
        with google_errors("submitting the job"):
            built = self._build(job, values)
            _check_bucket(job.pipeline_root, self.project)
            # `PipelineJob.submit` would make a missing bucket first, and look for its owner in another service.
            created = built.api_client.create_pipeline_job(request=self._request(job, built), timeout=REQUEST_TIMEOUT_S)
            return StartedJob(aiplatform.PipelineJob.get(created.name))

    def schedule(self, job: CompiledJob, values: Values, *, cron: str, name: str) -> str:
        """Starts a job again and again; returns the name of the schedule.

        Args:
          job: what was compiled.
          values: those of its parameters that differ from the compiled ones.
          cron: when, such as "TZ=Europe/Berlin 0 4 * * *".
          name: display name of the schedule.

        Raises:
          ServiceError: the service did not take it.
        """
        with google_errors("creating the schedule"):
            built = self._build(job, values)
            _check_bucket(job.pipeline_root, self.project)
            made = built.create_schedule(
                cron=cron,
                display_name=name,
                max_run_count=self.max_runs,
                **self._identity(job),
                create_request_timeout=REQUEST_TIMEOUT_S,
            )
        return made.resource_name

    def cancel(self, job_id: str) -> str:
        """Asks for a job to be cancelled, named by its id or its full name; returns the latter.

        Raises:
          ServiceError: there is no such job, or it may not be cancelled.
        """
        with google_errors(f"cancelling {job_id}"):
            job = aiplatform.PipelineJob.get(job_id)
            job.cancel()
        return job.resource_name

    def _build(self, job: CompiledJob, values: Values) -> aiplatform.PipelineJob:
        """The client's job; nothing is sent."""
        # The client reads compiled jobs from files only.
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(job.content, file)
            file.flush()
            return aiplatform.PipelineJob(
                display_name=job.content["displayName"],
                template_path=file.name,
                job_id=self.job_id,
                parameter_values=values,
                encryption_spec_key_name=self.encryption_key or job.content.get("encryptionSpec", {}).get("kmsKeyName"),
                labels={**job.content.get("labels", {}), **self.labels},
            )

    def _request(self, job: CompiledJob, built: aiplatform.PipelineJob) -> types.CreatePipelineJobRequest:
        """What a job is created with."""
        # The client has no public way to ask for it before it is sent.
        message = types.PipelineJob(built._gca_resource)
        for key, value in self._identity(job).items():
            if value:
                setattr(message, key, value)
        parent = f"projects/{built.project}/locations/{built.location}"
        return types.CreatePipelineJobRequest(parent=parent, pipeline_job=message, pipeline_job_id=built.job_id)

    def _identity(self, job: CompiledJob) -> dict[str, Any]:
        """Service account and network in force."""
        return {
            "service_account": self.service_account or job.content.get("serviceAccount"),
            "network": self.network or job.content.get("network"),
        }


class StartedJob:
    """A job that the service has taken.

    Attributes:
      name: full name of the job.
      url: where a browser shows it.
    """

    def __init__(self, job: aiplatform.PipelineJob):
        """Holds the client's job."""
        self._job = job
        self.name: str = job.resource_name
        self.url = (
            f"https://console.cloud.google.com/vertex-ai/locations/{job.location}/pipelines/runs/"
            f"{self.name.rsplit('/', 1)[-1]}?project={job.project}"
        )

    def states(self) -> tuple[dict[str, str], bool]:
        """The state of each task, in the order in which they started, and whether the job has ended.

        Raises:
          ServiceError: the service could not be asked.
        """
        with google_errors("asking for the job"):
            # The state is asked for; the tasks are of the same answer.
            state = self._job.state
            tasks = list(self._job.gca_resource.job_detail.task_details)
        tasks.sort(key=lambda task: (task.start_time or 0, task.task_id))
        return {task.task_name: TaskState(task.state).name for task in tasks}, state in ENDED

    def verdict(self) -> tuple[ExitCode | ServiceCode, list[str]]:
        """What the ended job came to, as a local run would say it, and why."""
        with google_errors("asking for the job"):
            state = self._job.state
            tasks = {task.task_name: task for task in self._job.gca_resource.job_detail.task_details}
        if state == State.PIPELINE_STATE_CANCELLED:
            return ServiceCode.CANCELLED, ["the job was cancelled"]
        pushed = [
            _property(tasks, name, "pushed_model", "pushed") for name in ("Pusher", "EndpointPusher") if name in tasks
        ]
        is_pushed = bool(pushed) and all(each == 1 for each in pushed)
        if state != State.PIPELINE_STATE_SUCCEEDED:
            failed = [task for task in tasks.values() if task.state == TaskState.FAILED]
            reasons = [f"{task.task_name}: {' '.join(task.error.message.split())}" for task in failed]
            if is_pushed:
                reasons.append("the model was pushed before that")
            anomalous = any(task.task_name == "AnomalyGate" for task in failed)
            return ExitCode.ANOMALIES if anomalous else ExitCode.FAILED, reasons or ["the job failed; no task says why"]
        if _property(tasks, "Evaluator", "blessing", "blessed") == 0:
            return ExitCode.NOT_BLESSED, [MEANINGS[ExitCode.NOT_BLESSED]]
        if _property(tasks, "ServableValidator", "blessing", "blessed") == 0:
            return ExitCode.NOT_SERVABLE, ["the exported model could not be loaded and queried"]
        if is_pushed:
            return ExitCode.PUSHED, []
        return ServiceCode.PUSH_UNKNOWN, ["the job succeeded, but Pusher's output does not say that a model was pushed"]


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


def _property(tasks: dict[str, types.PipelineTaskDetail], task: str, output: str, key: str) -> Any:
    """A property of a task's output artifact, or None."""
    if task not in tasks or output not in tasks[task].outputs:
        return None
    artifacts = tasks[task].outputs[output].artifacts
    return dict(artifacts[0].metadata or {}).get(key) if artifacts else None
