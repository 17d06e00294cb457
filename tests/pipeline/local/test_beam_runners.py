"""Whole runs whose Beam pipelines are submitted to a job server and worked on by other processes.

The job server is Beam's own, which runs pipelines in Python; those of Flink and Spark speak the same protocol. Workers
are processes that a worker pool starts, so that nothing passes between submission and work but what Beam serializes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from tfx.proto import example_gen_pb2

from components import ratings_example_gen
from data import synthetic
from pipeline.config import resolve
from pipeline.config.resolve import NOTHING
from pipeline.exit_codes import ExitCode
from pipeline.local import run
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SETTINGS = ("trainer.model.batch_size=256", "trainer.model.epochs=8", "evaluator.rmse_bound=1.1")
START_S = 90


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def served(module: str, port: int, *arguments: str) -> Iterator[str]:
    """Runs one of Beam's servers in a process of its own, and gives its address once it answers."""
    environment = {
        **os.environ,
        "TF_USE_LEGACY_KERAS": "1",
        # Worker pools start `python`.
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        began = time.monotonic()
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("localhost", port)):
                break
            assert process.poll() is None
            assert time.monotonic() - began < START_S
            time.sleep(0.2)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def job_server() -> Iterator[str]:
    port = free_port()
    with served("apache_beam.runners.portability.local_job_service_main", port, f"--port={port}") as address:
        yield address


@pytest.fixture(scope="module")
def worker_pool() -> Iterator[str]:
    port = free_port()
    with served("apache_beam.runners.worker.worker_pool_main", port, f"--service_port={port}") as address:
        yield address


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=6_000, users=60, titles=150, seed=1)
    return folder


def finished_jobs(job_server: str) -> list[str]:
    with grpc.insecure_channel(job_server) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(beam_job_api_pb2.GetJobsRequest())
    return [beam_job_api_pb2.JobState.Enum.Name(job.state) for job in jobs.job_info]


def run_pipeline(
    ratings: pathlib.Path, output: pathlib.Path, *beam: str, flags: Mapping[str, Any] = NOTHING
) -> tuple[ExitCode, dict]:
    values = {"data.root": str(ratings), "output": str(output), "trainer.preset": "notebook", **flags}
    config = resolve.resolve(values, assignments=(*SETTINGS, *beam))
    code = run.run(config, plain=True)
    return code, json.loads((output / run.LAST_RUN_FILE).read_text())


def test_processes_that_share_nothing_come_to_what_one_process_does(
    ratings: pathlib.Path, tmp_path: pathlib.Path, job_server: str, worker_pool: str
) -> None:
    before = len(finished_jobs(job_server))
    code, record = run_pipeline(
        ratings,
        tmp_path / "cluster",
        f"beam.job_endpoint={job_server}",
        "beam.environment=external",
        f"beam.environment_config={worker_pool}",
        # This job server ends its answers after so long.
        flags={"beam.runner": "flink", "beam.args": ("--job_server_timeout=600",)},
    )
    assert code == ExitCode.PUSHED
    # RatingsExampleGen, StatisticsGen, Transform and Evaluator.
    assert finished_jobs(job_server)[before:] == ["DONE"] * 4
    code, expected = run_pipeline(ratings, tmp_path / "one")
    assert code == ExitCode.PUSHED
    assert record["split_sizes"] == expected["split_sizes"]
    assert record["metrics"] == pytest.approx(expected["metrics"], abs=1e-5)
    assert [row["value"] for row in record["slices"]] == [row["value"] for row in expected["slices"]]


def test_workers_in_processes_of_this_machine(
    ratings: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = functools.partial(ratings_example_gen.plan_work, range_bytes=20_000)
    assert len(planned(str(ratings), example_gen_pb2.Input(splits=[{"pattern": "ratings*.csv"}]))) > 5
    monkeypatch.setattr(ratings_example_gen, "plan_work", planned)
    written = []
    for workers in (1, 2):
        output = tmp_path / str(workers)
        values = {"data.root": str(ratings), "output": str(output)}
        config = resolve.resolve(values, assignments=(f"beam.workers={workers}",))
        assert run.run(config, to_component="StatisticsGen", plain=True) == ExitCode.STOPPED_EARLY
        record = json.loads((output / run.LAST_RUN_FILE).read_text())
        assert sum(record["split_sizes"].values()) == 6_000
        files = [*output.glob("artifacts/*/*/*/Split-*/*.gz"), *output.glob("artifacts/*/*/*/Split-*/*.pb")]
        written.append({str(path.relative_to(output)): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len(written[0]) > 15


def test_spark_arguments_reach_a_job_server_and_code_comes_back_to_this_process(
    ratings: pathlib.Path, tmp_path: pathlib.Path, job_server: str
) -> None:
    before = len(finished_jobs(job_server))
    config = resolve.resolve(
        {"data.root": str(ratings), "output": str(tmp_path), "beam.runner": "spark"},
        assignments=(f"beam.job_endpoint={job_server}", "beam.environment=loopback"),
    )
    assert run.run(config, to_component="RatingsExampleGen", plain=True) == ExitCode.STOPPED_EARLY
    assert finished_jobs(job_server)[before:] == ["DONE"]
