"""Reports of real runs, and what is told of the runs afterwards, from ML Metadata and the artifacts alone."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil
import time

import pytest
from click.testing import CliRunner

from components import report_gen
from data import synthetic
from pipeline import cli
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run, run_report
from pipeline.local.past_runs import PastRun, PastRuns

pytestmark = pytest.mark.slow

# No other text has it.
USER = "person-"
SETTINGS = ("trainer.model.batch_size=256", "trainer.model.epochs=2", "evaluator.baseline=none")
BLESS_ANY = ("evaluator.rmse_bound=9", "evaluator.lists_baseline=none")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=4_000, users=40, titles=100, seed=1)
    with (folder / "ratings.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    with (folder / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([USER + row[0], f"<b>{row[1]}</b>", *row[2:]] for row in rows)
    (folder / "ratings.json").write_text('{"rating_scale": [1, 5], "source": "MovieLens of a test"}')
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


def run_pipeline(data: pathlib.Path, output: pathlib.Path, *assignments: str, **options) -> tuple[ExitCode, str]:
    """The exit code and the report."""
    config = resolve.resolve(
        {"data.root": str(data), "output": str(output), "trainer.preset": "notebook"},
        assignments=(*SETTINGS, *assignments),
    )
    code = run.run(config, plain=True, **options)
    return code, (output / run_report.REPORT_FILE).read_text(encoding="utf-8")


def newest(output: pathlib.Path) -> PastRun:
    return PastRuns(str(output / "metadata.sqlite")).get(None)


def command(output: pathlib.Path, *arguments: str) -> dict | list:
    done = CliRunner().invoke(cli.cli, [*arguments, "--json", "--output", str(output)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# The tests of this class run in order, on one output folder.
class TestOneOutputFolder:
    def test_a_pushed_model_has_a_report(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        code, page = run_pipeline(ratings, output, *BLESS_ANY)
        assert code == ExitCode.PUSHED
        assert "The new model is in use: a prediction is typically" in page
        for heading in ("Data", "Anomalies", "Training", "Metrics", "Lists of recommendations", "Time", "Lineage"):
            assert f">{heading}</h2>" in page
        for said in ("MovieLens of a test", "GroupLens", "None: the ratings fit the schema.", "Fit: loss", "♥"):
            assert said in page
        assert page.count("ratings in training</h3>") in (1, 2, 3)
        assert "&lt;b&gt;" in page
        assert "<b>" not in page
        assert len(page.encode()) < 1 << 20

    def test_it_is_an_artifact_of_the_pipeline_too(self, output: pathlib.Path) -> None:
        (artifact,) = (output / "artifacts" / "ReportGen" / "report").glob(f"*/{run_report.REPORT_FILE}")
        page = artifact.read_text(encoding="utf-8")
        (version,) = (output / "serving_model").glob("[0-9]*")
        assert "The new model is in use: a prediction is typically" in page
        assert f"Pushed as {version}" in page
        for said in ("None: the ratings fit the schema.", "Fit: loss", "♥", "Preset notebook", "Ratings by value"):
            assert said in page

    def test_no_user_is_named(self, output: pathlib.Path) -> None:
        for page in output.rglob(run_report.REPORT_FILE):
            assert USER not in page.read_text(encoding="utf-8")

    def test_errors_have_intervals(self, output: pathlib.Path) -> None:
        metrics = json.loads((output / run.LAST_RUN_FILE).read_text())["metrics"]
        name = "root_mean_squared_error"
        assert metrics[f"{name}_low"] < metrics[name] < metrics[f"{name}_high"]
        page = (output / run_report.REPORT_FILE).read_text(encoding="utf-8")
        assert f"{metrics[name]:.4f} [{metrics[f'{name}_low']:.4f}, {metrics[f'{name}_high']:.4f}]" in page

    def test_the_same_report_is_made_again(self, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
        written = (output / run_report.REPORT_FILE).read_text(encoding="utf-8")
        (output / run.LAST_RUN_FILE).rename(tmp_path / "aside.json")
        path = tmp_path / "again" / "report.html"
        began = time.process_time()
        done = CliRunner().invoke(cli.cli, ["report", "--to", str(path), "--output", str(output)])
        print(f"made again in {time.process_time() - began:.2f} s of CPU")
        assert done.exit_code == 0, done.output
        assert path.read_text(encoding="utf-8") == written
        (tmp_path / "aside.json").rename(output / run.LAST_RUN_FILE)

    def test_a_model_that_is_not_good_enough_has_one_with_the_reason(
        self, ratings: pathlib.Path, output: pathlib.Path
    ) -> None:
        code, page = run_pipeline(ratings, output, "evaluator.rmse_bound=0.01", "evaluator.lists_baseline=none")
        assert code == ExitCode.NOT_BLESSED
        assert "The new model is not good enough to be used" in page
        assert "above the bound of 0.0100" in page

    def test_a_run_that_is_stopped_has_one_as_far_as_it_came(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        code, page = run_pipeline(ratings, output, *BLESS_ANY, to_component="AnomalyGate")
        assert code == ExitCode.STOPPED_EARLY
        assert "The run was stopped before a model could be put into use" in page
        assert "Ratings by value" in page
        assert "No model was judged." in page
        assert run_report.page_of(str(output / "metadata.sqlite"), newest(output)) == page

    def test_a_bad_row_has_one_that_names_nobody(
        self, ratings: pathlib.Path, output: pathlib.Path, tmp_path: pathlib.Path
    ) -> None:
        shutil.copytree(ratings, tmp_path / "bad")
        with (tmp_path / "bad" / "ratings.csv").open("a") as file:
            file.write(f"{USER}7,Heat,{USER}\n")
        code, page = run_pipeline(tmp_path / "bad", output)
        assert code == ExitCode.BAD_INPUT
        assert "The ratings could not be read" in page
        assert "got something else" in page
        assert USER not in page

    def test_runs_are_listed_the_newest_first(self, output: pathlib.Path) -> None:
        listed = command(output, "runs")
        verdicts = [each["verdict"] for each in listed]
        assert verdicts == ["bad input", "stopped early", "not blessed", "pushed"]
        pushed = listed[-1]
        (version,) = (path.name for path in (output / "serving_model").glob("[0-9]*"))
        assert pushed["version"] == version
        assert pushed["preset"] == "notebook"
        assert pushed["rmse"] > 0
        assert pushed["list_ndcg"] is not None

    def test_what_differs_is_told(self, output: pathlib.Path) -> None:
        listed = command(output, "runs")
        second, first = (each["run_id"] for each in listed[2:])
        found = command(output, "runs", "compare", first, second)
        assert found["differs"]["Configuration"]["Evaluator rmse_bound"] == ["9.0", "0.01"]
        assert "Data" not in found["differs"]
        before, after = found["metrics"]["root_mean_squared_error"]
        assert before == after
        assert any(name.startswith("user_activity") for name in found["slices"])

    def test_a_run_is_shown(self, output: pathlib.Path) -> None:
        run_id = command(output, "runs")[2]["run_id"]
        shown = command(output, "runs", "show", run_id)
        assert shown["exit_code"] == ExitCode.NOT_BLESSED
        assert shown["components"]["Trainer"]["state"] == "cached"
        assert shown["lineage"]["Configuration"]["Trainer seed"] == "42"

    @pytest.mark.parametrize("named", [True, False])
    def test_a_version_is_traced(self, output: pathlib.Path, named: bool) -> None:
        (version,) = (path.name for path in (output / "serving_model").glob("[0-9]*"))
        found = command(output, "lineage", *([version] if named else []))
        assert found["Version"]["folder"].endswith(version)
        assert found["Run"]["id"] == command(output, "runs")[-1]["run_id"]
        assert found["Configuration"]["Trainer preset"] == "notebook"
        assert {"python", "tensorflow", "numpy"} <= set(found["Versions"])
        assert len(found["Data"]["digest of the ratings as read"]) == 64

    @pytest.mark.parametrize("arguments", [("runs", "show", "x"), ("runs", "show", "2"), ("lineage", "7")])
    def test_what_is_not_there_is_refused(self, output: pathlib.Path, arguments: tuple[str, ...]) -> None:
        done = CliRunner().invoke(cli.cli, [*arguments, "--output", str(output)])
        assert done.exit_code == 2
        assert "expected a" in done.output

    @pytest.mark.parametrize(
        ("bound", "verdict", "said"),
        [(9, "The new model is in use: ", "pushed to "), (0.01, "The run did not come to its end", "not pushed: ")],
    )
    def test_a_report_that_fails_takes_nothing_back(
        self, ratings: pathlib.Path, output: pathlib.Path, bound: float, verdict: str, said: str, capfd
    ) -> None:
        def fail(*arguments: object) -> None:
            raise RuntimeError("no ink")

        settings = (*BLESS_ANY, f"evaluator.rmse_bound={bound}")
        shutil.rmtree(output / "artifacts" / "ReportGen")
        before = sorted((output / "serving_model").iterdir())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report_gen.Executor, "Do", fail)
            code, page = run_pipeline(ratings, output, *settings)
        assert code == ExitCode.FAILED
        assert sorted((output / "serving_model").iterdir()) == before
        shown = capfd.readouterr().out
        record = json.loads((output / run.LAST_RUN_FILE).read_text())
        assert "ReportGen failed: RuntimeError: no ink" in record["reasons"]
        if bound == 9:
            assert record["pushed_path"] == str(before[-1])
            assert "not pushed" not in shown
        else:
            assert record["pushed_path"] is None
            assert any("above the bound of 0.0100" in reason for reason in record["reasons"])
        assert said in shown
        assert verdict in page
        assert "ReportGen failed: RuntimeError: no ink" in page
        assert run_report.page_of(str(output / "metadata.sqlite"), newest(output)) == page
        listed = command(output, "runs")[0]
        assert (listed["verdict"], bool(listed["version"])) == ("failed", bound == 9)
        # The same command makes it.
        code, _ = run_pipeline(ratings, output, *settings)
        assert code == (ExitCode.PUSHED if bound == 9 else ExitCode.NOT_BLESSED)
        record = json.loads((output / run.LAST_RUN_FILE).read_text())
        done = {name for name, each in record["components"].items() if each["state"] == "done"}
        assert done == {"BlessedModel", "ReportGen"}

    def test_a_run_of_the_report_alone_says_what_was_pushed(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        assert run_pipeline(ratings, output, *BLESS_ANY)[0] == ExitCode.PUSHED
        code, page = run_pipeline(ratings, output, *BLESS_ANY, "cache=false", from_component="ReportGen")
        assert code == ExitCode.PUSHED
        (version,) = (output / "serving_model").glob("[0-9]*")
        assert f"Pushed as {version}" in page

    def test_another_model_is_shown_beside_the_blessed_one(self, ratings: pathlib.Path, output: pathlib.Path) -> None:
        code, page = run_pipeline(ratings, output, *BLESS_ANY, "trainer.seed=7", to_component="Evaluator")
        assert code in (ExitCode.STOPPED_EARLY, ExitCode.NOT_BLESSED)
        assert "blessed model" in page


@pytest.mark.parametrize("arguments", [("runs",), ("report",), ("lineage",)])
def test_a_folder_without_runs_is_refused(tmp_path: pathlib.Path, arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli.cli, [*arguments, "--output", str(tmp_path)])
    assert done.exit_code == 2
    assert "expected the ML Metadata of a run" in done.output
    assert not list(tmp_path.iterdir())
