"""Whole runs on Flink and Spark themselves: embedded, and as clusters of several processes.

All of them are in this file, so that one follows the other and no more than one engine runs at a time.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from data import synthetic
from modules.errors import UserError
from pipeline.config import resolve
from pipeline.engines import jars
from pipeline.engines.serving import Served, served
from pipeline.exit_codes import ExitCode
from pipeline.local import run
from tests.pipeline.engines.flink_rest import FlinkRest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = ("trainer.model.batch_size=256", "trainer.model.epochs=8", "evaluator.rmse_bound=1.1")
# RatingsExampleGen, StatisticsGen, Transform and Evaluator.
JOBS = 4
TRANSFORM = 3
# One whole run on each engine is for everybody: the one that shows most on Flink, the shorter one on Spark.
ON_REQUEST = pytest.mark.skipif(
    os.environ.get("MOVIE_RANKING_CLUSTERS") != "1",
    reason="a second whole run on an engine takes minutes; set MOVIE_RANKING_CLUSTERS=1 to run it",
)


def fetched(engine: str) -> str:
    """Fetches an engine, once for all processes and all sessions; skips where it cannot be had."""
    try:
        jars.DISTRIBUTIONS[engine].fetch(print)
        jars.java()
    except UserError as error:
        pytest.skip(str(error))
    return engine


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=6_000, users=60, titles=150, seed=1)
    return folder


def run_pipeline(
    ratings: pathlib.Path, output: pathlib.Path, *more: str, to: str | None = None, **beam: Any
) -> tuple[ExitCode, dict]:
    values: Mapping[str, Any] = {"data.root": str(ratings), "output": str(output), "trainer.preset": "notebook"}
    config = resolve.resolve(
        {**values, **{f"beam.{name}": value for name, value in beam.items()}}, assignments=(*SETTINGS, *more)
    )
    code = run.run(config, to_component=to, plain=True)
    return code, json.loads((output / run.LAST_RUN_FILE).read_text())


@pytest.fixture(scope="module")
def expected(ratings: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    code, record = run_pipeline(ratings, tmp_path_factory.mktemp("direct"))
    assert code == ExitCode.PUSHED
    return record


def check_same(record: dict, expected: dict) -> None:
    assert record["split_sizes"] == expected["split_sizes"]
    assert record["metrics"] == pytest.approx(expected["metrics"], abs=1e-9)
    for row, wanted in zip(record["slices"], expected["slices"], strict=True):
        numbers = {name: value for name, value in wanted.items() if isinstance(value, float)}
        assert {name: row[name] for name in numbers} == pytest.approx(numbers, abs=1e-9)


@ON_REQUEST
def test_embedded_flink_comes_to_what_direct_does(
    ratings: pathlib.Path, tmp_path: pathlib.Path, expected: dict
) -> None:
    code, record = run_pipeline(ratings, tmp_path, runner=fetched("flink"))
    assert code == ExitCode.PUSHED
    check_same(record, expected)
    log = (tmp_path / "logs" / "engine" / "flink-job-server.log").read_text()
    assert log.count("switched from state RUNNING to FINISHED.") == JOBS


def kill_at_work(cluster: Served, job_number: int, over: threading.Event) -> tuple[str, str]:
    """Kills, by SIGKILL, the task manager that has most to do for a job, once a quarter of its tasks have finished.

    Returns:
      The job's id, and the task manager's title.

    Raises:
      AssertionError: the run was over before the job was seen at work.
    """
    rest = FlinkRest(cluster.master)
    while not over.wait(0.1):
        jobs = rest.jobs()
        if len(jobs) < job_number:
            continue
        job = jobs[job_number - 1]
        if 4 * job["tasks"]["finished"] >= job["tasks"]["total"] > 0 and (tasks := rest.running_tasks(job["jid"])):
            title = f"flink-{tasks.most_common(1)[0][0]}"
            os.kill(next(worker.pid for worker in cluster.workers if worker.title == title), signal.SIGKILL)
            return job["jid"], title
    raise AssertionError(f"expected job {job_number} to be seen at work; the run was over before")


def test_flink_goes_on_when_a_task_manager_is_killed(
    ratings: pathlib.Path, tmp_path: pathlib.Path, expected: dict
) -> None:
    over = threading.Event()
    with (
        served(fetched("flink"), workers=2, logs=tmp_path / "logs") as cluster,
        concurrent.futures.ThreadPoolExecutor() as beside,
    ):
        killing = beside.submit(kill_at_work, cluster, TRANSFORM, over)
        try:
            code, record = run_pipeline(ratings, tmp_path / "run", runner="flink", job_endpoint=cluster.job_endpoint)
        finally:
            over.set()
        job, killed = killing.result()
        assert [worker.title for worker in cluster.workers if not worker.runs] == [killed]
        assert code == ExitCode.PUSHED
        check_same(record, expected)
        rest = FlinkRest(cluster.master)
        assert [job["state"] for job in rest.jobs()] == ["FINISHED"] * JOBS
        assert rest.job(job)["timestamps"]["RESTARTING"] > 0


def test_embedded_spark_comes_to_what_direct_does(
    ratings: pathlib.Path, tmp_path: pathlib.Path, expected: dict
) -> None:
    code, record = run_pipeline(ratings, tmp_path, runner=fetched("spark"))
    assert code == ExitCode.PUSHED
    check_same(record, expected)
    log = (tmp_path / "logs" / "engine" / "spark-job-server.log").read_text()
    assert finished_on_spark(log) == JOBS


def finished_on_spark(log: str) -> int:
    return sum("SparkPipelineRunner: Job " in line and line.endswith(" finished.") for line in log.splitlines())


@ON_REQUEST
def test_two_workers_of_spark_come_to_what_direct_does(
    ratings: pathlib.Path, tmp_path: pathlib.Path, expected: dict
) -> None:
    with served(fetched("spark"), workers=2, logs=tmp_path / "logs") as cluster:
        code, record = run_pipeline(ratings, tmp_path / "run", runner="spark", job_endpoint=cluster.job_endpoint)
        assert code == ExitCode.PUSHED
        check_same(record, expected)
        assert finished_on_spark(cluster.job_server.log.read_text()) == JOBS
        for worker in cluster.workers:
            assert "Asked to launch executor" in worker.log.read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        # More than a pipe holds: where nobody read it, the worker would wait for ever.
        ("i=0; while [ $i -lt 9000 ]; do echo 'one more line'; i=$((i+1)); done; echo no lamp >&2; exit 3", "no lamp"),
        (None, "No such file or directory"),
    ],
    ids=["talks and fails", "is not there"],
)
def test_a_worker_command_that_fails_says_why(
    ratings: pathlib.Path, tmp_path: pathlib.Path, script: str | None, said: str
) -> None:
    command = tmp_path / "worker"
    if script is not None:
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
    began = time.monotonic()
    code, record = run_pipeline(
        ratings,
        tmp_path / "run",
        f"beam.environment_config={command}",
        to="RatingsExampleGen",
        runner=fetched("flink"),
    )
    assert code == ExitCode.FAILED
    assert said in "\n".join(record["reasons"])
    assert "engine/flink-job-server.log" in "\n".join(record["reasons"])
    assert time.monotonic() - began < 120
