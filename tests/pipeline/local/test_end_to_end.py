"""Whole runs on synthetic ratings: what must be pushed is pushed, what must not be is not, each with its exit code."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from components import probe_process
from data import synthetic
from modules import final_order, order_features, presets
from pipeline import cli
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run
from tests.conftest import ROOT
from tests.pipeline.local import weak_models

pytestmark = pytest.mark.slow

ROWS, USERS, TITLES = 6_000, 60, 150
# The notebook's batches of 8192 would be one step an epoch here.
SMALL_BATCHES = ("trainer.model.batch_size=256", "trainer.model.epochs=8")
BOUND = 1.1
# Where what a model is worth is not the matter.
BLESS_ANY = ("evaluator.rmse_bound=9", "evaluator.baseline=none")
# What is measured of a model that tells how sure it is.
CALIBRATION = ("share_inside_50", "share_inside_80", "share_inside_95", "expected_rmse")
# The record of a folder that was made by hand.
SCALE_ALONE = '{"rating_scale": [1, 5]}'


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=ROWS, users=USERS, titles=TITLES, seed=1)
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


def copy_without_record(ratings: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """A copy whose ratings may be edited, since no file of it is recorded."""
    shutil.copytree(ratings, folder)
    (folder / "ratings.json").write_text(SCALE_ALONE)
    return folder


def run_pipeline(data: pathlib.Path, output: pathlib.Path, *assignments: str, **options) -> tuple[ExitCode, dict]:
    settings = (*SMALL_BATCHES, *assignments)
    config = resolve.resolve(
        {"data.root": str(data), "output": str(output), "trainer.preset": "notebook"}, assignments=settings
    )
    code = run.run(config, plain=True, **options)
    return code, last_run(output)


def last_run(output: pathlib.Path) -> dict:
    return json.loads((output / run.LAST_RUN_FILE).read_text())


def states(record: dict) -> dict[str, str]:
    return {name: component["state"] for name, component in record["components"].items()}


def pushed_versions(output: pathlib.Path) -> list[str]:
    return sorted(path.name for path in (output / "serving_model").glob("*"))


@contextlib.contextmanager
def processes_that_probe() -> Iterator[list[probe_process._ProbeProcess]]:
    """What is started within, all of which must have ended by then."""
    started = []

    class Counted(probe_process._ProbeProcess):
        def __init__(self) -> None:
            super().__init__()
            started.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_process, "_ProbeProcess", Counted)
        yield started
    assert all(each._process.poll() is not None for each in started)


# The tests of this class run in order, on one output folder, as a user's runs would.
class TestOneOutputFolder:
    def test_a_good_model_is_pushed(self, ratings: pathlib.Path, output: pathlib.Path, capfd) -> None:
        code, record = run_pipeline(ratings, output, f"evaluator.rmse_bound={BOUND}")
        assert code == ExitCode.PUSHED
        assert set(states(record).values()) == {"done"}
        assert sum(record["split_sizes"].values()) == ROWS
        shares = {split: size / ROWS for split, size in record["split_sizes"].items()}
        assert shares == pytest.approx({"train": 0.72, "eval": 0.08, "test": 0.20}, abs=0.02)
        model = tf.saved_model.load(record["pushed_path"])
        rating = model({"user_id": np.array(["1"]), "movie_title": ["a title that nobody knows"]}).numpy()
        assert rating.shape == (1, 1)
        assert np.isfinite(rating).all()
        shown = capfd.readouterr().out
        for part in ("this model", "user + title bias", "global mean", "train", "anomalies", "pushed", "Trainer"):
            assert part in shown
        # This preset does not tell how sure it is.
        assert "their intervals" not in shown
        assert not [name for name in record["metrics"] if name in CALIBRATION]
        for name in record["components"]:
            assert (output / "logs" / f"{name}.log").stat().st_size > 0

    def test_every_test_rating_is_measured_once(self, output: pathlib.Path) -> None:
        record = last_run(output)
        assert set(record["other_models"]) == {"user_title_bias", "title_mean", "global_mean", "popularity"}
        assert record["other_models"].pop("popularity")["list_users"] == record["metrics"]["list_users"]
        for measured in (record["metrics"], *record["other_models"].values()):
            assert measured["example_count"] == record["split_sizes"]["test"]
        for feature in ("user_activity", "title_popularity"):
            slices = [row for row in record["slices"] if row["feature"] == feature]
            assert sum(row["example_count"] for row in slices) == record["split_sizes"]["test"]
            squared = sum(row["example_count"] * row["root_mean_squared_error"] ** 2 for row in slices)
            mean = squared / record["split_sizes"]["test"]
            assert mean == pytest.approx(record["metrics"]["root_mean_squared_error"] ** 2, rel=1e-6)

    def test_an_unchanged_run_executes_nothing_and_says_so(self, ratings, output: pathlib.Path, capfd) -> None:
        before = last_run(output)
        with processes_that_probe() as started:
            code, record = run_pipeline(ratings, output, f"evaluator.rmse_bound={BOUND}")
        assert code == ExitCode.PUSHED
        assert not started
        # Resolving a node of metadata is no execution of a component.
        assert {name for name, state in states(record).items() if state != "cached"} == {"BlessedModel"}
        assert record["pushed_path"] == before["pushed_path"]
        assert "no component was executed" in " ".join(capfd.readouterr().out.split())

    def test_the_pushed_model_answers_on_the_command_line(self, ratings, output: pathlib.Path, capsys) -> None:
        def lines(*arguments: str) -> list[str]:
            with pytest.raises(SystemExit) as done:
                cli.main([*arguments, "--output", str(output)])
            assert done.value.code == 0
            return capsys.readouterr().out.splitlines()

        rows = list(csv.DictReader((ratings / "ratings.csv").open(encoding="utf-8")))
        user = rows[0]["user_id"]
        seen = {row["movie_title"] for row in rows if row["user_id"] == user}
        ranked = [line.split(maxsplit=2) for line in lines("rank", "--user", user, "--top", "500")]
        assert [int(place) for place, _, _ in ranked] == list(range(1, len(ranked) + 1))
        assert [rating for _, rating, _ in ranked] == sorted((rating for _, rating, _ in ranked), reverse=True)
        assert seen & {title for _, _, title in ranked}
        unseen = [line.split(maxsplit=2)[2] for line in lines("rank", "--user", user, "--top", "500", "--exclude-seen")]
        assert unseen == [title for _, _, title in ranked if title not in seen]
        best = ranked[0]
        assert lines("predict", "--user", user, "--title", best[2])[0].split(maxsplit=1) == [best[1], best[2]]

    def test_the_same_seed_gives_the_same_rmse(self, ratings, output: pathlib.Path) -> None:
        before = last_run(output)
        with processes_that_probe() as started:
            code, record = run_pipeline(ratings, output, f"evaluator.rmse_bound={BOUND}", "cache=false")
        assert len(started) == 1
        assert code == ExitCode.PUSHED
        assert states(record)["Trainer"] == "done"
        rmse = "root_mean_squared_error"
        assert record["metrics"][rmse] == pytest.approx(before["metrics"][rmse], abs=5e-5)

    def test_a_model_over_the_bound_is_not_pushed(self, ratings, output: pathlib.Path, capfd) -> None:
        pushed = pushed_versions(output)
        code, record = run_pipeline(ratings, output, "evaluator.rmse_bound=0.1")
        assert code == ExitCode.NOT_BLESSED
        assert "above the bound of 0.1000" in record["reasons"][0]
        assert pushed_versions(output) == pushed
        assert states(record)["Trainer"] == "cached"
        assert "not pushed" in capfd.readouterr().out

    def test_a_model_worse_than_the_blessed_one_is_not_pushed(self, ratings, output: pathlib.Path) -> None:
        pushed = pushed_versions(output)
        # A learning rate too small to leave the start, where every rating is near zero and clipped to the lowest.
        code, record = run_pipeline(ratings, output, "evaluator.rmse_bound=9", "trainer.model.learning_rate=0.0000001")
        assert code == ExitCode.NOT_BLESSED
        assert f"of the blessed model, {record['blessed_model']}; at most" in " ".join(record["reasons"])
        assert pushed_versions(output) == pushed

    def test_an_anomaly_stops_the_run_before_training(self, ratings, output: pathlib.Path, tmp_path, capfd) -> None:
        data = copy_without_record(ratings, tmp_path / "ratings")
        with (data / "ratings.csv").open("a", encoding="utf-8") as file:
            file.write("1,Off the scale,99.5\n")
        code, record = run_pipeline(data, output, "evaluator.rmse_bound=9")
        assert code == ExitCode.ANOMALIES
        assert states(record)["AnomalyGate"] == "failed"
        assert "Trainer" not in states(record)
        assert "user_rating" in " ".join(record["reasons"])
        assert "user_rating" in capfd.readouterr().out

    def test_a_row_that_cannot_be_read_is_bad_input(self, ratings, output: pathlib.Path, tmp_path) -> None:
        data = copy_without_record(ratings, tmp_path / "ratings")
        with (data / "ratings.csv").open("a", encoding="utf-8") as file:
            file.write("1,No rating,five\n")
        code, record = run_pipeline(data, output)
        assert code == ExitCode.BAD_INPUT
        assert "five" in " ".join(record["reasons"])
        assert list(states(record)) == ["RatingsExampleGen"]

    def test_an_unservable_model_is_not_pushed(self, ratings, output: pathlib.Path, monkeypatch) -> None:
        pushed = pushed_versions(output)
        preset = presets.Preset(
            module=weak_models.__name__, config=weak_models.UnservableConfig, rmse_bound=9.0, summary="for tests"
        )
        monkeypatch.setitem(presets.PRESETS, "unservable", preset)
        config = resolve.resolve(
            {"data.root": str(ratings), "output": str(output), "trainer.preset": "unservable"},
            assignments=("evaluator.baseline=none",),
        )
        assert run.run(config, plain=True) == ExitCode.NOT_SERVABLE
        assert "finite" in " ".join(last_run(output)["reasons"])
        assert pushed_versions(output) == pushed

    def test_a_run_may_stop_early_and_go_on_from_there(self, ratings, output: pathlib.Path) -> None:
        settings = (f"evaluator.rmse_bound={BOUND}", "trainer.seed=5", "evaluator.max_regression=1")
        code, record = run_pipeline(ratings, output, *settings, to_component="Trainer")
        assert code == ExitCode.STOPPED_EARLY
        assert states(record)["Trainer"] == "done"
        assert states(record)["Pusher"] == "skipped"
        code, record = run_pipeline(ratings, output, *settings, from_component="BlessedModel")
        assert code == ExitCode.PUSHED
        assert states(record)["Trainer"] == "skipped"


def test_a_run_that_stops_before_the_model_starts_no_process_for_it(
    ratings: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with processes_that_probe() as started:
        code, _ = run_pipeline(ratings, tmp_path, to_component="CuratedSchema")
    assert code == ExitCode.STOPPED_EARLY
    assert not started


def test_a_model_that_tells_how_sure_it_is_is_judged_by_it(
    ratings: pathlib.Path, tmp_path: pathlib.Path, capfd
) -> None:
    short = {"iterations": 40, "burn_in": 20, "tolerance": 0, "pilot_iterations": 30, "pilot_burn_in": 10}
    settings = [f"trainer.model.{name}={value}" for name, value in short.items()]
    config = resolve.resolve({"data.root": str(ratings), "output": str(tmp_path)}, assignments=(*settings, *BLESS_ANY))
    assert run.run(config, plain=True) == ExitCode.PUSHED
    measured = last_run(tmp_path)["metrics"]
    shares = [measured[name] for name in CALIBRATION[:3]]
    # Of so few ratings, that are whole stars, no more than this.
    assert shares == pytest.approx([0.5, 0.8, 0.95], abs=0.06)
    assert measured["expected_rmse"] == pytest.approx(measured["root_mean_squared_error"], rel=0.1)
    (row,) = (line for line in capfd.readouterr().out.splitlines() if line.startswith("│ all "))
    assert [cell.strip() for cell in row.split("│")[2:5]] == [f"{100 * share:.1f} %" for share in shares]
    of_slices = [by_slice for by_slice in last_run(tmp_path)["slices"] if by_slice["feature"] == "user_activity"]
    for name in CALIBRATION[:3]:
        inside = sum(by_slice["example_count"] * by_slice[name] for by_slice in of_slices)
        assert inside == pytest.approx(measured["example_count"] * measured[name])


def test_a_model_that_rates_well_and_recommends_badly_is_not_pushed(
    ratings: pathlib.Path, tmp_path: pathlib.Path, monkeypatch, capfd
) -> None:
    def worst_first(names: list[str], lists: dict) -> final_order.Order:
        least_popular = -np.eye(len(names), dtype=np.float32)[[names.index(order_features.POPULARITY)]]
        return final_order.Order(tuple(names), np.zeros(1, np.float32), least_popular, least_popular)

    monkeypatch.setattr(final_order, "learn", worst_first)
    code, record = run_pipeline(ratings, tmp_path, *BLESS_ANY)
    assert code == ExitCode.NOT_BLESSED
    (reason,) = record["reasons"]
    assert reason.startswith("it recommends worse than a list of the most rated titles: NDCG@10 ")
    assert record["metrics"]["list_ndcg"] < record["other_models"]["popularity"]["list_ndcg"]
    shown = capfd.readouterr().out
    assert "lists of ten" in shown
    assert "--set evaluator.lists_baseline=none would bless it" in " ".join(shown.split())


def test_published_splits_are_taken_as_given_and_lists_are_left_behind(
    ratings: pathlib.Path, tmp_path: pathlib.Path, capfd
) -> None:
    header, *lines = (ratings / "ratings.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    data = tmp_path / "ratings"
    sizes = {}
    for split, rows in (("train", lines[:-500]), ("test", lines[-500:])):
        (data / split).mkdir(parents=True)
        (data / split / "ratings.csv").write_text(header + "".join(rows), encoding="utf-8")
        sizes[split] = len(rows)
    (data / "ratings.json").write_text(SCALE_ALONE)
    # The last rows are of few users.
    settings = (*BLESS_ANY, "evaluator.min_test_users=1", "trainer.model.epochs=1", "lists.top=3", "lists.form=jsonl")
    _, record = run_pipeline(data, tmp_path / "output", *settings)
    assert record["split_sizes"] == sizes
    assert record["metrics"]["example_count"] == 500
    assert record["exit_code"] == ExitCode.PUSHED
    listed = [json.loads(line) for line in pathlib.Path(record["lists_path"]).read_text("utf-8").splitlines()]
    users = {line.split(",")[0] for line in lines[:-500]}
    # Those who have rated everything have no list.
    assert 0.9 * len(users) < len({row["user_id"] for row in listed}) <= len(users)
    assert {row["rank"] for row in listed} == {1, 2, 3}
    assert "lists of all users " in capfd.readouterr().out


def test_folders_are_names_and_no_patterns(tmp_path: pathlib.Path, capfd) -> None:
    """Beside each folder lies one that its name, taken for a pattern, matches."""
    name, decoy = "run [v2]*", "run v*"
    data, output = tmp_path / "data" / name, tmp_path / "output" / name
    for folder, rows in ((data, 1_500), (data.with_name(decoy), 900)):
        synthetic.write(folder, rows=rows, users=30, titles=60, seed=rows, side_features=True)
    decoy_output = output.with_name(decoy)
    assert run_pipeline(data.with_name(decoy), decoy_output, *BLESS_ANY)[0] == ExitCode.PUSHED
    untouched = sorted(decoy_output.rglob("*"))
    for again in (False, True):
        code, record = run_pipeline(data, output, *BLESS_ANY)
        assert code == ExitCode.PUSHED
        assert sum(record["split_sizes"].values()) == 1_500
        assert record["metrics"]["example_count"] == record["split_sizes"]["test"]
        assert (states(record)["Trainer"] == "cached") == again
    assert f"pushed to {output}/serving_model/" in capfd.readouterr().out
    assert sorted(decoy_output.rglob("*")) == untouched

    rows = list(csv.DictReader((data / "ratings.csv").open(encoding="utf-8", newline="")))
    seen = {row["movie_title"] for row in rows if row["user_id"] == rows[0]["user_id"]}
    options = ["rank", "--user", rows[0]["user_id"], "--top", "500", "--output", str(output)]
    shown = {}
    for more in ([], ["--exclude-seen"]):
        with pytest.raises(SystemExit):
            cli.main([*options, *more])
        shown[len(more)] = {line.split(maxsplit=2)[2] for line in capfd.readouterr().out.splitlines()}
    assert shown[1] == shown[0] - seen
    assert seen < shown[0]


def start(
    arguments: list[str], project: pathlib.Path = ROOT, log: pathlib.Path | None = None
) -> subprocess.Popen[bytes]:
    """Starts the command line on a copy of the code, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "run", *arguments]
    stream = subprocess.DEVNULL if log is None else log.open("wb")
    return subprocess.Popen(command, cwd=project, env=environment, stdout=stream, stderr=subprocess.STDOUT)


def test_a_killed_run_resumes_where_it_was(ratings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    output = tmp_path / "output"
    arguments = ["--data", str(ratings), "--output", str(output), "--preset", "notebook", "--rmse-bound", "9"]
    process = start(arguments)
    trainer_log = output / "logs" / "Trainer.log"
    deadline = time.monotonic() + 300
    while not (trainer_log.exists() and "read " in trainer_log.read_text()):
        assert process.poll() is None, "the run ended before Trainer"
        assert time.monotonic() < deadline, "Trainer never started"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "serving_model").exists()

    code, record = run_pipeline(ratings, output, "evaluator.rmse_bound=9")
    assert code == ExitCode.PUSHED
    before_trainer = ("RatingsExampleGen", "StatisticsGen", "CuratedSchema", "ExampleValidator", "AnomalyGate")
    assert {states(record)[name] for name in (*before_trainer, "Transform")} == {"cached"}
    assert states(record)["Trainer"] == "done"


def test_an_edit_runs_again_what_uses_the_code(ratings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    project, output = tmp_path / "project", tmp_path / "output"
    for package in ("pipeline", "components", "modules", "data"):
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    arguments = ["--data", str(ratings), "--output", str(output), "--preset", "notebook", "--to", "Transform"]

    def states_after_run() -> dict[str, str]:
        log = tmp_path / "run.log"
        assert start(arguments, project, log).wait() == ExitCode.STOPPED_EARLY, log.read_text()
        return {name: state for name, state in states(last_run(output)).items() if state != "skipped"}

    assert set(states_after_run().values()) == {"done"}
    with (project / "modules" / "preprocessing.py").open("a", encoding="utf-8") as file:
        file.write("\n# An edit.\n")
    after = states_after_run()
    assert after.pop("Transform") == "done"
    assert set(after.values()) == {"cached"}
