"""Compiled jobs, run as a cluster would run them, against a local run."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

import tensorflow as tf

from components import evaluation_files
from data import synthetic
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run
from tests.conftest import ROOT
from tests.pipeline.cluster import replay
from tests.pipeline.cluster.cluster_jobs import BUCKET, compiled
from tests.pipeline.cluster.kubeflow_replay import KubeflowRun
from tests.pipeline.cluster.replay_environment import image_environment
from tests.pipeline.cluster.warm_python import WarmPython

ROWS, USERS, TITLES = 6_000, 60, 150
RMSE = "root_mean_squared_error"
# Of float32 sums whose order is not fixed.
TOLERANCE = 5e-5
MODEL = ("trainer.model.batch_size=256", "trainer.model.epochs=8")
BOUND = 1.1


def cluster(
    folder: pathlib.Path, name: str, python: WarmPython, run_class: type[replay.Run] = replay.Run
) -> replay.Cluster:
    """A cluster that knows nothing yet, with a pipeline root of its own."""
    return replay.Cluster({f"{BUCKET}/root": folder / name, BUCKET: folder / "bucket"}, python, run_class)


def job(platform: str = "vertex", schema: str = "2.1.0") -> dict:
    return compiled(platform, (*MODEL, f"evaluator.rmse_bound={BOUND}"), schema)


def metrics(task: replay.Task) -> dict[str, float]:
    """What Evaluator measured over all test ratings, of the candidate."""
    return evaluation_files.read(task.outputs["evaluation"][0]["uri"])[()]["candidate"]


def failures(tasks: dict[str, replay.Task]) -> str:
    return "\n".join(f"{name}: {task.log[-3000:]}" for name, task in tasks.items() if task.state == replay.FAILED)


def states(tasks: dict[str, replay.Task]) -> dict[str, str]:
    return {name: task.state for name, task in tasks.items()}


def rmse_of(model_path: pathlib.Path, examples: str) -> float:
    """The RMSE of a SavedModel over the test examples, with NumPy, in float64."""
    spec = {"user_id": tf.io.FixedLenFeature([], tf.string), "movie_title": tf.io.FixedLenFeature([], tf.string)}
    spec["user_rating"] = tf.io.FixedLenFeature([], tf.float32)
    files = sorted(str(path) for path in pathlib.Path(examples, "Split-test").glob("*"))
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    rows = tf.io.parse_example(records, spec)
    model = tf.saved_model.load(str(model_path))
    predicted = model({"user_id": rows["user_id"], "movie_title": rows["movie_title"]}).numpy()[:, 0]
    return math.sqrt(np.mean((predicted.astype(np.float64) - rows["user_rating"].numpy()) ** 2))


@pytest.mark.slow
# The tests of this class run in order: the second job finds what the first one left.
class TestOneCluster:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
        folder = tmp_path_factory.mktemp("cluster")
        (folder / "bucket").mkdir()
        synthetic.write(folder / "bucket" / "ratings", rows=ROWS, users=USERS, titles=TITLES, seed=1)
        return folder

    @pytest.fixture(scope="class")
    def python(self, folder: pathlib.Path) -> Iterator[WarmPython]:
        python = WarmPython({**image_environment(ROOT / "Dockerfile"), "PYTHONPATH": str(ROOT)}, folder)
        yield python
        python.close()

    @pytest.fixture(scope="class")
    def machine(self, folder: pathlib.Path, python: WarmPython) -> replay.Cluster:
        return cluster(folder, "first", python)

    @pytest.fixture(scope="class")
    def local(self, folder: pathlib.Path) -> dict:
        settings = (*MODEL, f"evaluator.rmse_bound={BOUND}")
        ratings, output = folder / "bucket" / "ratings", folder / "local"
        values = {"data.root": str(ratings), "output": str(output), "trainer.preset": "notebook"}
        config = resolve.resolve(values, assignments=settings)
        assert run.run(config, plain=True) == ExitCode.PUSHED
        return json.loads((output / run.LAST_RUN_FILE).read_text())

    @pytest.fixture(scope="class")
    def vertex_job(self) -> dict:
        return job()

    @pytest.fixture(scope="class")
    def first(self, machine: replay.Cluster, vertex_job: dict) -> dict[str, replay.Task]:
        return machine.run(vertex_job)

    def test_every_task_succeeds(self, first: dict[str, replay.Task]) -> None:
        assert set(states(first).values()) == {replay.SUCCEEDED}, failures(first)

    def test_its_model_is_as_good_as_the_local_one(self, first: dict[str, replay.Task], local: dict) -> None:
        ours, theirs = metrics(first["Evaluator"]), local["metrics"]
        assert ours["example_count"] == theirs["example_count"]
        for name in (RMSE, "mean_absolute_error", "ndcg"):
            assert ours[name] == pytest.approx(theirs[name], abs=TOLERANCE), name

    def test_the_pushed_model_is_the_one_that_was_measured(self, first, local: dict, folder: pathlib.Path) -> None:
        (version,) = (folder / "first" / "serving_model").iterdir()
        assert first["Pusher"].outputs["pushed_model"][0]["metadata"]["pushed"] == 1
        pushed = rmse_of(version, first["RatingsExampleGen"].outputs["examples"][0]["uri"])
        assert pushed == pytest.approx(local["metrics"][RMSE], abs=TOLERANCE)

    def test_it_has_a_report(self, first: dict[str, replay.Task], folder: pathlib.Path) -> None:
        page = pathlib.Path(first["ReportGen"].outputs["report"][0]["uri"], "report.html").read_text("utf-8")
        (version,) = (folder / "first" / "serving_model").iterdir()
        assert "The new model is in use: a prediction is typically" in page
        assert f"Pushed as {version}" in page
        for said in ("Ratings by value", "Fit: ", "user + title bias", "None: the ratings fit the schema."):
            assert said in page

    def test_the_driver_told_what_the_ratings_are(self, first: dict[str, replay.Task]) -> None:
        assert "num_files:1" in first["RatingsExampleGen"].parameters["input_fingerprint"]

    def test_the_first_job_has_no_model_to_compare_with(self, first: dict[str, replay.Task]) -> None:
        assert first["Evaluator"].inputs["baseline_model"] == []

    def test_a_second_job_with_other_parameters(self, machine: replay.Cluster, vertex_job: dict, first) -> None:
        second = machine.run(vertex_job, {"seed": 7, "training_budget": 6, "rmse_bound": 1.15})
        assert not failures(second)
        cached = {name for name, state in states(second).items() if state == replay.CACHED}
        assert cached == {
            "RatingsExampleGen", "TablesExampleGen", "StatisticsGen", "CuratedSchema", "ExampleValidator",
            "AnomalyGate", "Transform",
        }  # fmt: skip
        baseline = second["Evaluator"].inputs["baseline_model"]
        assert [each["name"] for each in baseline] == [first["Trainer"].outputs["model"][0]["name"]]
        blessing = second["Evaluator"].outputs["blessing"][0]["metadata"]
        assert blessing["baseline_model_id"] == first["Trainer"].outputs["model"][0]["name"]
        assert blessing["current_model_id"] == second["Trainer"].outputs["model"][0]["name"]
        assert metrics(second["Evaluator"])[RMSE] != pytest.approx(metrics(first["Evaluator"])[RMSE], abs=TOLERANCE)

    def test_a_model_over_the_bound_is_not_pushed(self, machine, vertex_job: dict, folder: pathlib.Path, first) -> None:
        before = sorted((folder / "first" / "serving_model").iterdir())
        tasks = machine.run(vertex_job, {"rmse_bound": 0.1})
        assert not failures(tasks)
        assert tasks["Trainer"].state == replay.CACHED
        assert tasks["Evaluator"].outputs["blessing"][0]["metadata"]["blessed"] == 0
        assert tasks["Pusher"].outputs["pushed_model"][0]["metadata"]["pushed"] == 0
        assert sorted((folder / "first" / "serving_model").iterdir()) == before
        page = pathlib.Path(tasks["ReportGen"].outputs["report"][0]["uri"], "report.html").read_text("utf-8")
        assert "The new model is not good enough to be used" in page
        assert "above the bound of 0.1000" in page

    def test_the_first_schema_version_gives_the_same_model(self, folder: pathlib.Path, local: dict, python) -> None:
        tasks = cluster(folder, "legacy", python).run(job(schema="2.0.0"))
        assert set(states(tasks).values()) == {replay.SUCCEEDED}, failures(tasks)
        assert metrics(tasks["Evaluator"])[RMSE] == pytest.approx(local["metrics"][RMSE], abs=TOLERANCE)

    def test_kubeflow_pushes_the_same_model(self, folder: pathlib.Path, local: dict, python: WarmPython) -> None:
        tasks = cluster(folder, "kubeflow", python, KubeflowRun).run(job("kubeflow"))
        assert set(states(tasks).values()) == {replay.SUCCEEDED}, failures(tasks)
        (version,) = (folder / "kubeflow" / "serving_model").iterdir()
        assert tasks["Pusher"].outputs["pushed_model"][0]["metadata"]["pushed_destination"] == str(version)
        artifacts = folder / "kubeflow" / "job-1" / "bucket"
        assert rmse_of(version, str(artifacts / "RatingsExampleGen" / "salt" / "examples")) == pytest.approx(
            local["metrics"][RMSE], abs=TOLERANCE
        )
        # Of the model, not of the folder that it was in while it was judged.
        model = tasks["Trainer"].outputs["model"][0]
        blessing = tasks["Evaluator"].outputs["blessing"][0]["metadata"]
        assert (blessing["current_model_id"], blessing["current_model"]) == (model["name"], model["uri"])
        page = (artifacts / "ReportGen" / "salt" / "report" / "report.html").read_text("utf-8")
        assert f"Pushed as {version}" in page

    def test_anomalies_stop_a_job_after_the_retries(self, folder: pathlib.Path, python: WarmPython) -> None:
        bad = folder / "bucket" / "bad"
        synthetic.write(bad, rows=ROWS, users=USERS, titles=TITLES, seed=1)
        with (bad / "ratings.csv").open("a", encoding="utf-8") as file:
            file.write("1,Off the scale,99.5\n")
        settings = (*MODEL, "cluster.components.AnomalyGate.retries=1")
        machine = cluster(folder, "anomalies", python, KubeflowRun)
        tasks = machine.run(compiled("kubeflow", settings), {"data_root": f"{BUCKET}/bad"})
        assert states(tasks)["AnomalyGate"] == replay.FAILED
        assert tasks["AnomalyGate"].attempts == 2
        assert "user_rating" in tasks["AnomalyGate"].log
        assert {state for name, state in states(tasks).items() if name in ("Transform", "Trainer", "Pusher")} == {
            replay.NOT_TRIGGERED
        }


DOCUMENT = {
    "inputs": {
        "artifacts": {"model": {"artifacts": [{"name": "m", "uri": "/u", "metadata": {"id": 'a"b'}}]}},
        "parameterValues": {"n": 3},
    }
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--a={{$.inputs.artifacts['model'].uri}}/x", "--a=/u/x"),
        ("{{$.inputs.artifacts['model'].metadata['id']}}", 'a"b'),
        ("{{$.inputs.parameterValues['n']}}", "3"),
        ("{{$}}", json.dumps(DOCUMENT)),
        ("plain", "plain"),
    ],
)
def test_placeholders_are_replaced(text: str, expected: str) -> None:
    assert replay.substitute(text, DOCUMENT) == expected


def test_a_placeholder_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(replay.ReplayError, match="leads nowhere"):
        replay.substitute("{{$.inputs.artifacts['data'].uri}}", DOCUMENT)


def test_processes_see_the_variables_of_the_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    environment = image_environment(ROOT / "Dockerfile")
    assert environment["TF_USE_LEGACY_KERAS"] == "1"
    assert environment["PATH"] == os.environ["PATH"]
    assert "SECRET" not in environment
