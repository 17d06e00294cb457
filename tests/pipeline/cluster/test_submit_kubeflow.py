"""`movie-ranking submit kubeflow` through Kubeflow's own client, against a service on this machine."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.cluster import compiler
from pipeline.exit_codes import ExitCode, ServiceCode
from tests.conftest import ROOT
from tests.pipeline.cluster import loopback
from tests.pipeline.cluster.cluster_jobs import compiled

# Every test starts the command line in a process of its own.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("job") / "job.json"
    compiler.write(compiled("kubeflow"), str(path))
    return path


@pytest.fixture
def service() -> loopback.KubeflowService:
    return loopback.KubeflowService()


@pytest.fixture
def host(service: loopback.KubeflowService) -> Iterator[str]:
    with loopback.serve_http(service.answer) as url:
        yield url


def submit(host: str, folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "submit", "kubeflow", "--host", host]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run(state: str, tasks: dict[str, str], errors: dict[str, str] | None = None) -> dict:
    details = [
        {"task_id": name, "display_name": name, "state": task_state}
        | ({"error": {"code": 13, "message": errors[name]}} if errors and name in errors else {})
        for name, task_state in tasks.items()
    ]
    return {"state": state, "run_details": {"task_details": details}}


def sent(service: loopback.KubeflowService, path: str) -> dict:
    (body,) = [body for method, found, body in service.requests if method == "POST" and found.split("?")[0] == path]
    return body


def test_a_run_arrives_as_it_was_compiled(service, host: str, job: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = submit(host, tmp_path, str(job), "--parameter", "seed=7", "--service-account", "pipeline-runner")
    assert done.returncode == 0, done.stderr
    body = sent(service, "/apis/v2beta1/runs")
    expected = json.loads(job.read_text())["pipelineSpec"]
    spec = body["pipeline_spec"].get("pipeline_spec", body["pipeline_spec"])
    assert json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec()) == json_format.ParseDict(
        expected, pipeline_spec_pb2.PipelineSpec()
    )
    assert body["runtime_config"] == {"parameters": {"seed": 7}, "pipeline_root": "gs://bucket/root"}
    assert body["service_account"] == "pipeline-runner"
    assert sent(service, "/apis/v2beta1/experiments")["display_name"] == "movie-ranking"
    assert f"{host}/#/runs/details/run-1" in done.stdout


def test_a_dry_run_contacts_nothing(service, host: str, job: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = submit(host, tmp_path, str(job), "--dry-run", "--parameter", "seed=7")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runtime_config"]["parameters"] == {"seed": 7}
    assert not service.requests


def test_a_recurring_run_arrives(service, host: str, job: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = submit(host, tmp_path, str(job), "--schedule", "0 0 4 * * *", "--schedule-name", "nightly")
    assert done.returncode == 0, done.stderr
    body = sent(service, "/apis/v2beta1/recurringruns")
    assert body["display_name"] == "nightly"
    assert body["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    assert "scheduled recurring-1" in done.stdout


def test_a_run_is_cancelled(service, host: str, tmp_path: pathlib.Path) -> None:
    done = submit(host, tmp_path, "--cancel", "run-1")
    assert done.returncode == 0, done.stderr
    assert ("POST", "/apis/v2beta1/runs/run-1:terminate", {}) in service.requests


@pytest.mark.parametrize(
    ("plans", "code", "message"),
    [
        ([run("RUNNING", {"Trainer": "RUNNING"}), run("SUCCEEDED", {"Trainer": "SUCCEEDED"})], ServiceCode.PUSH_UNKNOWN,
         "does not tell"),
        ([run("FAILED", {"AnomalyGate": "FAILED"}, {"AnomalyGate": "off the scale"})], ExitCode.ANOMALIES,
         "off the scale"),
        ([run("FAILED", {"Trainer": "FAILED"}, {"Trainer": "out of memory"})], ExitCode.FAILED, "out of memory"),
        ([run("CANCELED", {"Trainer": "CANCELED"})], ServiceCode.CANCELLED, "cancelled"),
    ],
)  # fmt: skip
def test_how_a_run_ended(service, host: str, job, tmp_path, plans: list, code: ExitCode, message: str) -> None:
    service.plans = list(plans)
    done = submit(host, tmp_path, str(job), "--wait", "--poll", "0")
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stdout
    assert any(line.split() == ["Trainer", "running"] for line in done.stdout.splitlines()) == (len(plans) == 2)


def test_waiting_has_an_end(service, host: str, job: pathlib.Path, tmp_path: pathlib.Path) -> None:
    service.plans = [run("RUNNING", {"Trainer": "RUNNING"})]
    done = submit(host, tmp_path, str(job), "--wait", "--poll", "0.1", "--timeout", "0.1")
    assert done.returncode == ServiceCode.TIMED_OUT


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (401, ServiceCode.NO_CREDENTIALS, "Application Default Credentials"),
        (403, ServiceCode.NOT_PERMITTED, "administrator"),
        (400, ServiceCode.REFUSED, "correct what it names"),
        (429, ServiceCode.OVER_QUOTA, "Quotas"),
        (503, ServiceCode.UNREACHABLE, "check the region or host"),
    ],
)
def test_refusals_are_one_line_with_a_remedy_and_a_code(
    service, host: str, job, tmp_path, status, code, remedy
) -> None:
    service.refusal = (status, {"message": "the spec is\nunusual"})
    done = submit(host, tmp_path, str(job))
    assert done.returncode == code, done.stderr
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("Error")]
    assert "the spec is unusual" in line
    assert remedy in line


@pytest.mark.parametrize("arguments", [(), ("--schedule", "0 0 4 * * *")], ids=["run", "schedule"])
def test_what_the_client_refuses_is_a_message(service, host: str, job, tmp_path, arguments: tuple[str, ...]) -> None:
    service.experiments = [{"experiment_id": str(number), "display_name": "movie-ranking"} for number in (1, 2)]
    done = submit(host, tmp_path, str(job), *arguments)
    assert done.returncode == ExitCode.BAD_INPUT, done.stderr
    assert "Multiple experiments is found with name movie-ranking; correct what it names" in done.stderr


def test_a_host_that_is_not_there_is_unreachable(job: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = submit(host, tmp_path, str(job))
    assert done.returncode == ServiceCode.UNREACHABLE, done.stderr
    assert host in done.stderr


@pytest.mark.parametrize("settings", [(), ("evaluator.blessed_model=none",)], ids=["resolver", "no resolver"])
def test_a_job_for_vertex_is_refused(service, host: str, tmp_path: pathlib.Path, settings: tuple[str, ...]) -> None:
    path = tmp_path / "vertex.json"
    compiler.write(compiled("vertex", settings), str(path))
    done = submit(host, tmp_path, str(path))
    assert done.returncode == ExitCode.BAD_INPUT
    assert "--target kubeflow" in done.stderr
    assert not service.requests


@pytest.mark.parametrize("content", ["", "{", "[]", '{"namespace": 5}'])
def test_damaged_settings_of_the_client_are_named(host: str, job, tmp_path: pathlib.Path, content: str) -> None:
    settings = tmp_path / ".config" / "kfp" / "context.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(content)
    done = submit(host, tmp_path, str(job))
    assert done.returncode == ExitCode.BAD_INPUT, done.stderr
    assert f"expected settings of Kubeflow's client in {settings}" in done.stderr
