"""`movie-ranking submit vertex` through Google's own client, against services on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

import grpc
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.cluster import compiler
from pipeline.exit_codes import ExitCode, ServiceCode
from tests.conftest import ROOT
from tests.pipeline.cluster import loopback
from tests.pipeline.cluster.cluster_jobs import compiled
from tests.pipeline.cluster.loopback import PARENT, PROJECT, REGION, plan

# Every test starts the command line in a process of its own.
pytestmark = pytest.mark.slow

KEY = "projects/project/locations/europe-west4/keyRings/ring/cryptoKeys/key"
PUSHED = {
    "Evaluator": {"blessing": {"blessed": 1.0}},
    "ServableValidator": {"blessing": {"blessed": 1.0}},
    "Pusher": {"pushed_model": {"pushed": 1.0}},
}
DONE: dict[str, str] = dict.fromkeys(("Trainer", "Evaluator", "ServableValidator", "Pusher"), "SUCCEEDED")


@dataclasses.dataclass
class World:
    """The services, and the command line that talks to them."""

    vertex: loopback.VertexService
    storage: loopback.StorageService
    endpoint: str
    environment: dict[str, str]
    folder: pathlib.Path
    secret: str

    def submit(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "submit", "vertex"]
        command += [*arguments, "--project", PROJECT, "--region", REGION, "--endpoint", self.endpoint]
        done = subprocess.run(
            command, env={**self.environment, **environment}, cwd=self.folder, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        for secret in (self.secret, "Bearer"):
            assert secret not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def wait(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.submit(str(self.job), "--wait", "--poll", "0", *arguments)

    @property
    def job(self) -> pathlib.Path:
        return self.folder / "job.json"

    def sent(self, method: str) -> list:
        return [request for name, request in self.vertex.requests if name.endswith(method)]


@pytest.fixture(scope="module")
def job_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("job") / "job.json"
    settings = ("cluster.labels.team=films", "cluster.service_account=tasks@project.iam.gserviceaccount.com")
    compiler.write(compiled(assignments=settings), str(path))
    return path


@pytest.fixture
def world(tmp_path: pathlib.Path, job_file: pathlib.Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        vertex, storage = loopback.VertexService(), loopback.StorageService("bucket")
        endpoint, roots = stack.enter_context(loopback.serve_vertex(vertex, tmp_path))
        url = stack.enter_context(loopback.serve_http(storage.answer))
        account = tmp_path / "account.json"
        secret = loopback.write_service_account(account)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots),
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
            "STORAGE_EMULATOR_HOST": url,
        }
        (tmp_path / "job.json").write_bytes(job_file.read_bytes())
        yield World(vertex, storage, endpoint, environment, tmp_path, secret)


def test_a_job_arrives_as_it_was_compiled(world: World) -> None:
    done = world.submit(str(world.job), "--job-id", "films-1")
    assert done.returncode == ExitCode.PUSHED, done.stderr
    (request,) = world.sent("CreatePipelineJob")
    compiled_job = json.loads(world.job.read_text())
    assert request.parent == PARENT
    assert request.pipeline_job_id == "films-1"
    sent = request.pipeline_job
    spec = json_format.MessageToDict(type(sent).pb(sent).pipeline_spec)
    assert json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec()) == json_format.ParseDict(
        compiled_job["pipelineSpec"], pipeline_spec_pb2.PipelineSpec()
    )
    assert sent.runtime_config.gcs_output_directory == "gs://bucket/root"
    assert dict(sent.runtime_config.parameter_values) == compiled_job["runtimeConfig"]["parameterValues"]
    assert sent.labels["team"] == "films"
    assert sent.service_account == "tasks@project.iam.gserviceaccount.com"
    assert f"submitted {PARENT}/pipelineJobs/films-1" in done.stdout
    assert "console.cloud.google.com" in done.stdout
    assert all(each.startswith("Bearer ") for each in world.vertex.authorizations)
    assert not world.storage.created


def test_a_submission_changes_parameters_labels_and_identity(world: World) -> None:
    done = world.submit(
        str(world.job), "--parameter", "seed=7", "--parameter", "rmse_bound=1", "--parameter", "data_root=gs://b/other",
        "--label", "run=nightly", "--label", "team=series",
        "--service-account", "other@project.iam.gserviceaccount.com",
        "--network", "projects/1/global/networks/default", "--encryption-key", KEY, "--no-cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sent = world.sent("CreatePipelineJob")[0].pipeline_job
    values = dict(sent.runtime_config.parameter_values)
    assert (values["seed"], values["rmse_bound"], values["data_root"]) == (7, 1.0, "gs://b/other")
    assert values["preset"] == "notebook"
    assert (sent.labels["run"], sent.labels["team"]) == ("nightly", "series")
    assert sent.service_account == "other@project.iam.gserviceaccount.com"
    assert sent.network == "projects/1/global/networks/default"
    assert sent.encryption_spec.kms_key_name == KEY
    tasks = json_format.MessageToDict(type(sent).pb(sent).pipeline_spec)["root"]["dag"]["tasks"]
    assert not any(task["cachingOptions"] for task in tasks.values())


def test_the_first_schema_version_arrives_with_typed_values(world: World) -> None:
    compiler.write(compiled(schema="2.0.0"), str(world.job))
    done = world.submit(str(world.job), "--parameter", "seed=7")
    assert done.returncode == 0, done.stderr
    values = world.sent("CreatePipelineJob")[0].pipeline_job.runtime_config.parameters
    assert values["seed"].int_value == 7
    assert values["rmse_bound"].double_value == 1.2
    assert values["preset"].string_value == "notebook"


def test_a_dry_run_prints_the_request_and_contacts_nothing(world: World) -> None:
    done = world.submit(
        str(world.job), "--dry-run", "--parameter", "seed=7", "--job-id", "films-1",
        GOOGLE_APPLICATION_CREDENTIALS="/no/such/file",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    request = json.loads(done.stdout)
    assert request["parent"] == PARENT
    assert request["pipelineJobId"] == "films-1"
    assert request["pipelineJob"]["runtimeConfig"]["parameterValues"]["seed"] == 7
    assert request["pipelineJob"]["serviceAccount"] == "tasks@project.iam.gserviceaccount.com"
    assert not world.vertex.requests


def test_a_schedule_arrives(world: World) -> None:
    done = world.submit(
        str(world.job), "--schedule", "TZ=Europe/Berlin 0 4 * * *", "--schedule-name", "nightly", "--max-runs", "9",
        "--parameter", "seed=7",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    schedule = world.sent("CreateSchedule")[0].schedule
    assert (schedule.cron, schedule.display_name, schedule.max_run_count) == (
        "TZ=Europe/Berlin 0 4 * * *",
        "nightly",
        9,
    )
    job = schedule.create_pipeline_job_request.pipeline_job
    assert dict(job.runtime_config.parameter_values)["seed"] == 7
    assert job.service_account == "tasks@project.iam.gserviceaccount.com"
    assert job.labels["team"] == "films"
    assert f"scheduled {PARENT}/schedules/1" in done.stdout


def test_a_job_is_cancelled(world: World) -> None:
    assert world.submit(str(world.job), "--job-id", "films-1").returncode == 0
    done = world.submit("--cancel", "films-1")
    assert done.returncode == 0, done.stderr
    assert [request.name for request in world.sent("CancelPipelineJob")] == [f"{PARENT}/pipelineJobs/films-1"]


def test_cancelling_what_is_not_there_is_refused(world: World) -> None:
    done = world.submit("--cancel", "nonesuch")
    assert done.returncode == ServiceCode.REFUSED
    assert "nonesuch" in done.stderr


def test_waiting_shows_each_change_once_and_ends_like_a_local_run(world: World) -> None:
    world.vertex.plans = [
        plan("RUNNING", {"Trainer": "RUNNING"}),
        plan("RUNNING", {"Trainer": "RUNNING"}),
        plan("RUNNING", {"Trainer": "SUCCEEDED", "Evaluator": "RUNNING"}),
        plan("SUCCEEDED", DONE, PUSHED),
    ]
    done = world.wait()
    assert done.returncode == ExitCode.PUSHED, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines.count(["Trainer", "running"]) == 1
    assert lines.count(["Trainer", "succeeded"]) == 1
    assert ["Pusher", "succeeded"] in lines
    assert "the model was pushed" in done.stdout


@pytest.mark.parametrize(
    ("state", "tasks", "outputs", "errors", "code", "message"),
    [
        ("SUCCEEDED", DONE, {**PUSHED, "Evaluator": {"blessing": {"blessed": 0.0}}}, {}, ExitCode.NOT_BLESSED, "RMSE"),
        ("SUCCEEDED", DONE, {**PUSHED, "ServableValidator": {"blessing": {"blessed": 0.0}}}, {}, ExitCode.NOT_SERVABLE,
         "could not be loaded"),
        ("SUCCEEDED", DONE, {}, {}, ServiceCode.PUSH_UNKNOWN, "does not say"),
        ("FAILED", {"AnomalyGate": "FAILED"}, {}, {"AnomalyGate": "user_rating is off"}, ExitCode.ANOMALIES,
         "user_rating is off"),
        ("FAILED", {"Trainer": "FAILED"}, {}, {"Trainer": "out of\nmemory"}, ExitCode.FAILED, "Trainer: out of memory"),
        ("FAILED", {**DONE, "ReportGen": "FAILED"}, PUSHED, {"ReportGen": "odd"}, ExitCode.FAILED,
         "ReportGen: odd\nthe model was pushed before that"),
        ("CANCELLED", {"Trainer": "CANCELLED"}, {}, {}, ServiceCode.CANCELLED, "cancelled"),
    ],
)  # fmt: skip
def test_how_a_job_ended(world: World, state, tasks, outputs, errors, code, message) -> None:
    world.vertex.plans = [plan(state, tasks, outputs, errors)]
    done = world.wait()
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stdout


def test_waiting_has_an_end(world: World) -> None:
    world.vertex.plans = [plan("RUNNING", {"Trainer": "RUNNING"})]
    done = world.wait("--timeout", "0")
    assert done.returncode == ServiceCode.TIMED_OUT
    assert "the job goes on" in done.stderr


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, ServiceCode.NO_CREDENTIALS, "gcloud auth application-default login"),
        (grpc.StatusCode.PERMISSION_DENIED, ServiceCode.NOT_PERMITTED, "roles/aiplatform.user"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServiceCode.OVER_QUOTA, "Quotas"),
        (grpc.StatusCode.INVALID_ARGUMENT, ServiceCode.REFUSED, "correct what it names"),
        (grpc.StatusCode.NOT_FOUND, ServiceCode.REFUSED, "correct what it names"),
        (grpc.StatusCode.UNAVAILABLE, ServiceCode.UNREACHABLE, "check the region"),
    ],
)
def test_refusals_are_one_line_with_a_remedy_and_a_code(world: World, status, code, remedy: str) -> None:
    world.vertex.refusal = (status, "image europe-docker.pkg.dev/x is not there\nor so")
    done = world.submit(str(world.job))
    assert done.returncode == code, done.stderr
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("Error")]
    assert "image europe-docker.pkg.dev/x is not there or so" in line
    assert remedy in line


def test_without_credentials_the_remedy_is_named(world: World) -> None:
    done = world.submit(str(world.job), GOOGLE_APPLICATION_CREDENTIALS="/no/such/file")
    assert done.returncode == ServiceCode.NO_CREDENTIALS, done.stderr
    assert "/no/such/file" in done.stderr
    assert "gcloud auth application-default login" in done.stderr
    assert not world.vertex.requests


def test_a_job_for_kubeflow_is_refused(world: World) -> None:
    path = world.folder / "kubeflow.json"
    compiler.write(compiled("kubeflow"), str(path))
    done = world.submit(str(path))
    assert done.returncode == ExitCode.BAD_INPUT
    assert "compile it with --target vertex" in done.stderr
    assert not world.vertex.requests


def test_a_bucket_that_is_not_there_is_named_and_not_made(world: World) -> None:
    world.storage.buckets.clear()
    done = world.submit(str(world.job))
    assert done.returncode == ServiceCode.REFUSED, done.stderr
    assert "there is no bucket gs://bucket" in done.stderr
    assert not world.storage.created
    assert not world.vertex.requests


def test_who_may_not_look_at_the_bucket_may_still_submit(world: World) -> None:
    world.storage.status = 403
    done = world.submit(str(world.job))
    assert done.returncode == 0, done.stderr
    assert len(world.sent("CreatePipelineJob")) == 1


def test_a_host_that_is_not_there_is_unreachable(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world.endpoint = f"localhost:{free.getsockname()[1]}"
    done = world.submit(str(world.job))
    assert done.returncode == ServiceCode.UNREACHABLE, done.stderr
    assert "check the region" in done.stderr


DEFAULT = ["--parameter", "preset=default", "--parameter", "rmse_bound=1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.json"], "run `movie-ranking compile`"),
        (["job.json", "--parameter", "seed=many"], "seed must be of type int"),
        (["job.json", "--parameter", "seed=-1"], "seed must not be below 0"),
        (["job.json", "--parameter", "rmse_bound=0"], "rmse_bound must be above 0"),
        (["job.json", "--parameter", "preset=nonesuch"], "preset must be one of"),
        (["job.json", "--parameter", "preset=default"], "rmse_bound=STARS"),
        (["job.json", "--parameter", "training_budget=60", *DEFAULT], "burn_in must be below iterations; got 80 of 60"),
        (["job.json", "--label", "team"], "expected KEY=VALUE"),
        (["job.json", "--job-id", "Not An Id"], "job ID"),
    ],
)
def test_bad_input_is_told_before_anything_is_sent(world: World, arguments: list[str], message: str) -> None:
    done = world.submit(*arguments)
    assert done.returncode == ExitCode.BAD_INPUT, done.stdout + done.stderr
    assert message in " ".join(done.stderr.split())
    assert not world.vertex.requests
