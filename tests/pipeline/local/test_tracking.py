"""Runs recorded in a real MLflow store, when they end and later."""

from __future__ import annotations

import json
import pathlib
import shlex
import socket
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from data import synthetic
from pipeline import cli
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run, tracking

mlflow = pytest.importorskip("mlflow", reason="MLflow, an extra, is not installed")

pytestmark = pytest.mark.slow

SETTINGS = ("trainer.model.batch_size=256", "trainer.model.epochs=2", "evaluator.baseline=none")
BLESS_ANY = ("evaluator.rmse_bound=9", "evaluator.lists_baseline=none")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=4_000, users=40, titles=100, seed=1)
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An address of a database; MLflow puts its artifacts into the current folder."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield f"sqlite:///{folder}/mlflow.db"


def run_pipeline(
    data: pathlib.Path,
    output: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    store: str,
    *assignments: str,
    **more,
) -> tuple[ExitCode, str]:
    """The exit code, and what is said of MLflow."""
    config = resolve.resolve(
        {"data.root": str(data), "output": str(output), "trainer.preset": "notebook"},
        assignments=(*SETTINGS, *assignments),
    )
    capfd.readouterr()
    code = run.run(config, plain=True, tracking_uri=store, **more)
    shown = capfd.readouterr()
    assert shown.err == ""
    (said,) = (line for line in shown.out.splitlines() if "in MLflow" in line)
    return code, said


def track(store: str, output: pathlib.Path, *arguments: str) -> str:
    words = ["runs", "track", *arguments, "--mlflow", store, "--output", str(output)]
    done = CliRunner().invoke(cli.cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def recorded(store: str) -> list:
    """MLflow's runs, the newest first."""
    client = mlflow.MlflowClient(tracking_uri=store)
    return client.search_runs([client.get_experiment_by_name("movie-ranking").experiment_id])


def last_run(output: pathlib.Path) -> dict:
    return json.loads((output / run.LAST_RUN_FILE).read_text())


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# The tests of this class run in order, on one output folder and one store.
class TestOneStore:
    def test_a_run_is_recorded_when_it_ends(self, ratings, output, store, capfd) -> None:
        code, said = run_pipeline(ratings, output, capfd, store, *BLESS_ANY)
        assert code == ExitCode.PUSHED
        (found,) = recorded(store)
        assert said == f"recorded in MLflow: experiment movie-ranking, run {found.info.run_id}"
        assert found.info.status == "FINISHED"
        assert (found.info.end_time - found.info.start_time) / 1000 == pytest.approx(
            last_run(output)["seconds"], abs=0.01
        )

    def test_parameters_say_what_made_the_model(self, output, store) -> None:
        (found,) = recorded(store)
        parameters = found.data.params
        assert parameters["configuration/Trainer preset"] == "notebook"
        assert parameters["configuration/Trainer seed"] == "42"
        assert json.loads(parameters["configuration/Trainer model"]) == {"batch_size": 256, "epochs": 2}
        assert len(parameters["data/digest of the ratings as read"]) == 64
        assert len(parameters["code/Trainer"]) == 16
        assert "versions/tensorflow" in parameters

    def test_metrics_are_those_of_the_evaluation(self, output, store) -> None:
        (found,) = recorded(store)
        last = last_run(output)
        expected = {name: value for name, value in last["metrics"].items() if value is not None}
        for model, metrics in last["other_models"].items():
            expected |= {f"{model}/{name}": value for name, value in metrics.items() if value is not None}
        for each in last["slices"]:
            where = f"{each.pop('feature')} {each.pop('value').replace('200+', '200 or more')}"
            del each["other_models"]
            expected |= {f"{where}/{name}": value for name, value in each.items() if value is not None}
        assert found.data.metrics == pytest.approx(expected)
        assert {"root_mean_squared_error", "global_mean/root_mean_squared_error", "list_ndcg"} <= set(expected)
        assert any(name.startswith("user_activity") for name in expected)

    def test_tags_say_what_became_of_it(self, output, store) -> None:
        (found,) = recorded(store)
        (version,) = (path.name for path in (output / "serving_model").glob("[0-9]*"))
        ours = {name: value for name, value in found.data.tags.items() if name.startswith("movie_ranking.")}
        assert ours.pop("movie_ranking.run_id") == found.info.run_name
        assert ours.pop("movie_ranking.model").startswith(str(output))
        assert ours == {
            "movie_ranking.exit_code": "0",
            "movie_ranking.verdict": "pushed",
            "movie_ranking.version": version,
        }
        assert found.data.tags["mlflow.note.content"].startswith("The new model is in use")

    def test_report_and_model_are_the_files_of_the_run(self, output, store, tmp_path) -> None:
        (found,) = recorded(store)
        client = mlflow.MlflowClient(tracking_uri=store)
        report = client.download_artifacts(found.info.run_id, "report.html", str(tmp_path))
        assert pathlib.Path(report).read_bytes() == (output / "report.html").read_bytes()
        model = client.download_artifacts(found.info.run_id, "model", str(tmp_path))
        (version,) = (output / "serving_model").glob("[0-9]*")
        pushed = files(version)
        assert "saved_model.pb" in pushed
        assert files(pathlib.Path(model)) == pushed

    def test_a_run_that_is_recorded_again_stays_one(self, output, store) -> None:
        (before,) = recorded(store)
        assert track(store, output).endswith(before.info.run_id)
        (after,) = recorded(store)
        assert after.data.params == before.data.params
        assert after.data.metrics == before.data.metrics
        client = mlflow.MlflowClient(tracking_uri=store)
        assert len(client.get_metric_history(after.info.run_id, "root_mean_squared_error")) == 1

    def test_a_model_that_is_not_good_enough_is_recorded_too(self, ratings, output, store, capfd) -> None:
        code, said = run_pipeline(ratings, output, capfd, store, *BLESS_ANY[1:], "evaluator.rmse_bound=0.01")
        assert code == ExitCode.NOT_BLESSED
        newest, _ = recorded(store)
        assert said.endswith(newest.info.run_id)
        assert newest.data.tags["movie_ranking.verdict"] == "not blessed"
        assert "movie_ranking.version" not in newest.data.tags
        assert "above the bound of 0.0100" in newest.data.tags["mlflow.note.content"]
        assert newest.data.params["configuration/Evaluator rmse_bound"] == "0.01"

    def test_a_server_that_cannot_be_reached_changes_nothing(self, ratings, output, store, capfd) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, said = run_pipeline(ratings, output, capfd, nobody, *BLESS_ANY)
        assert code == ExitCode.PUSHED
        assert said.startswith(f"not recorded in MLflow: API request to {nobody}")
        later = shlex.split(said.partition("it can be recorded later: movie-ranking ")[2])
        done = CliRunner().invoke(cli.cli, later, catch_exceptions=False)
        assert done.exit_code == ExitCode.FAILED
        assert "Error: not recorded in MLflow: API request to" in done.output
        later[later.index(nobody)] = store
        done = CliRunner().invoke(cli.cli, later, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert len(recorded(store)) == 3
        assert recorded(store)[0].data.tags[tracking.RUN_TAG] == later[2]

    def test_a_server_that_does_not_answer_is_given_up(self, output, store, monkeypatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            words = [
                "runs",
                "track",
                "--mlflow",
                f"http://127.0.0.1:{silent.getsockname()[1]}",
                "--output",
                str(output),
            ]
            done = CliRunner().invoke(cli.cli, words, catch_exceptions=False)
        assert done.exit_code == ExitCode.FAILED
        assert "timed out" in done.output

    def test_a_large_model_is_named_alone(self, output, store, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(tracking, "MOST_MODEL_BYTES", 1000)
        monkeypatch.chdir(tmp_path)
        other = f"sqlite:///{tmp_path}/mlflow.db"
        track(other, output)
        (found,) = recorded(other)
        client = mlflow.MlflowClient(tracking_uri=other)
        assert [each.path for each in client.list_artifacts(found.info.run_id)] == ["report.html"]
        assert pathlib.Path(found.data.tags["movie_ranking.model"], "saved_model.pb").exists()

    def test_a_run_without_a_model_is_not_recorded(self, ratings, output, store, capfd) -> None:
        before = recorded(store)
        code, said = run_pipeline(ratings, output, capfd, store, *BLESS_ANY, to_component="AnomalyGate")
        assert code == ExitCode.STOPPED_EARLY
        assert said.startswith("not recorded in MLflow: expected a run that came to its end, and to a model; got 20")
        assert len(recorded(store)) == len(before)

    def test_a_folder_in_place_of_a_database_is_refused(self, output, store, tmp_path) -> None:
        words = ["runs", "track", "--mlflow", str(tmp_path / "mlruns"), "--output", str(output)]
        done = CliRunner().invoke(cli.cli, words, catch_exceptions=False)
        assert done.exit_code in (ExitCode.FAILED, ExitCode.BAD_INPUT)
