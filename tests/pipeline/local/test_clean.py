"""What runs have left and nothing needs is removed, and what is needed stays, also where that is interrupted."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from data import synthetic
from pipeline import cli
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import cleaning, run
from pipeline.local.pushed_model import PushedModel
from tests.conftest import ROOT
from tests.pipeline.local.test_end_to_end import run_pipeline, states
from tests.pipeline.local.test_integrity import QUICK, WHATEVER_WAS_BLESSED, executed, flip, served
from tests.pipeline.local.test_output_lock import another

pytestmark = pytest.mark.slow

# Removing so many files takes long enough to be killed at it.
MANY = 40_000
DELETED = metadata_store_pb2.Artifact.DELETED


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=3_000, users=40, titles=80, seed=1)
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("output")


def run_seed(ratings: pathlib.Path, output: pathlib.Path, seed: int, **options) -> tuple[ExitCode, dict]:
    settings = (*QUICK, *WHATEVER_WAS_BLESSED, "trainer.retrieval=none", f"trainer.seed={seed}")
    return run_pipeline(ratings, output, *settings, **options)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main(["clean", *arguments])
    return int(done.value.code or 0)


def planned(output: pathlib.Path, keep: int = 1) -> dict[str, cleaning.Part]:
    return {part.what: part for part in cleaning.Cleaning(str(output), keep).plan().parts}


def size(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def store(output: pathlib.Path) -> ml_metadata.MetadataStore:
    return ml_metadata.MetadataStore(metadata.sqlite_metadata_connection_config(str(output / "metadata.sqlite")))


def models(output: pathlib.Path) -> list[pathlib.Path]:
    """What Trainer made, the oldest first."""
    return sorted((output / "artifacts" / "Trainer" / "model").iterdir(), key=lambda folder: int(folder.name))


def doomed(output: pathlib.Path) -> set[str]:
    return {path for part in planned(output).values() for path in part.paths}


def oldest_of(output: pathlib.Path, key: str) -> str:
    """The folder of the first result of a component."""
    return str(min((output / "artifacts" / key).iterdir(), key=lambda folder: int(folder.name)))


# The tests of this class run in order, on one output folder, as a user's commands would.
class TestOneOutputFolder:
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_each_seed_leaves_a_model(self, ratings, output: pathlib.Path, seed: int) -> None:
        assert run_seed(ratings, output, seed)[0] == ExitCode.PUSHED

    def test_a_dry_run_says_and_does_nothing(self, output: pathlib.Path, capfd) -> None:
        before = {path: path.stat().st_mtime_ns for path in output.rglob("[!.]*") if path.is_file()}
        assert call("--keep", "1", "--dry-run", "--output", str(output)) == 0
        assert call("--keep", "3", "--dry-run", "--json", "--output", str(output)) == 0
        shown = capfd.readouterr().out
        assert "nothing is removed by --dry-run" in shown
        table = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in shown.splitlines() if "│" in line}
        # The last run was compared with the model before it, which stays.
        assert table["Trainer"] == table["Evaluator"] == "1"
        assert table["pushed versions"] == "2"
        assert "Transform" not in table
        answer = json.loads(shown[shown.index("{") :])
        assert answer["dry_run"]
        assert [part["what"] for part in answer["remove"]] == [cleaning.LEFTOVERS]
        assert answer["keep_size"] > 0.99 * size(output / "artifacts")
        assert before == {path: path.stat().st_mtime_ns for path in before}

    def test_labelled_versions_stay(self, output: pathlib.Path, capfd) -> None:
        oldest = min(served(output))
        labels = output / "serving_model" / "labels.json"
        labels.write_text(json.dumps({"labels": {"stable": oldest}}))
        (removed,) = planned(output)[cleaning.VERSIONS].paths
        assert removed == served(output)[sorted(served(output))[1]]
        # With Pusher's output, by which its evaluation is found.
        told = {oldest_of(output, key) for key in ("Pusher/pushed_model", "Evaluator/evaluation")}
        assert len(told) == 2
        assert told.isdisjoint(doomed(output))
        labels.write_text(json.dumps({"labels": {"stable": max(served(output))}, "history": [0, oldest]}))
        assert planned(output)[cleaning.VERSIONS].paths == (removed,)
        assert told.isdisjoint(doomed(output))
        labels.write_text(json.dumps({"labels": {"stable": max(served(output))}}))
        assert told <= doomed(output)
        for damaged in ('{"labels": {"stable": "1"}}', '{"labels": 1}', "[]", "{"):
            labels.write_text(damaged)
            assert call("--keep", "1", "--output", str(output)) == ExitCode.BAD_INPUT
            assert f"{labels}" in capfd.readouterr().err
        labels.unlink()

    def test_the_newest_version_that_is_whole_stays(self, output: pathlib.Path) -> None:
        newest, before = (pathlib.Path(served(output)[number]) for number in sorted(served(output), reverse=True)[:2])
        assert str(before) in planned(output)[cleaning.VERSIONS].paths
        flip(newest / "assets" / "movie_title")
        assert str(before) not in planned(output)[cleaning.VERSIONS].paths
        flip(newest / "assets" / "movie_title")

    def test_leftovers_are_named(self, output: pathlib.Path) -> None:
        left = [output / "serving_model" / ".pushing-5", output / "serving_model" / ".removing-6"]
        left.append(output / "artifacts" / "Trainer" / "model_run" / "checkpoints")
        left.append(output / "artifacts.set-aside-20260101-120000")
        for folder in left:
            (folder / "below").mkdir(parents=True)
            (folder / "below" / "state.npz").write_bytes(bytes(1000))
        assert {str(folder) for folder in left} <= set(planned(output)[cleaning.LEFTOVERS].paths)

    def test_checkpoints_of_a_trainer_that_did_not_end_stay(self, output: pathlib.Path) -> None:
        checkpoints = str(output / "artifacts" / "Trainer" / "model_run" / "checkpoints")
        last = max(int(folder.name) for folder in models(output))
        (execution,) = store(output).get_executions_by_id([last])
        execution.last_known_state = metadata_store_pb2.Execution.FAILED
        store(output).put_executions([execution])
        assert checkpoints not in planned(output)[cleaning.LEFTOVERS].paths
        execution.last_known_state = metadata_store_pb2.Execution.COMPLETE
        store(output).put_executions([execution])
        assert checkpoints in planned(output)[cleaning.LEFTOVERS].paths

    def test_a_folder_in_use_says_who_holds_it(self, output: pathlib.Path, capfd) -> None:
        with another(output) as process:
            assert call("--keep", "1", "--output", str(output)) == ExitCode.BUSY
            said = capfd.readouterr().err
        assert f"{output} is in use by `movie-ranking tune`, process {process.pid}" in said

    def test_what_is_killed_goes_on(self, output: pathlib.Path) -> None:
        first = models(output)[0]
        many = first / "many"
        many.mkdir()
        for number in range(MANY):
            (many / str(number)).touch()
        code = "import movie_ranking_main; movie_ranking_main.main()"
        command = [sys.executable, "-c", code, "clean", "--keep", "1", "--output", str(output)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while process.poll() is None and len(os.listdir(many)) == MANY and time.monotonic() < deadline:
                pass
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert 0 < len(os.listdir(many)) < MANY
        states_by_uri = {artifact.uri: artifact.state for artifact in store(output).get_artifacts()}
        assert states_by_uri[str(first)] == DELETED
        assert str(first) in planned(output)["Trainer"].paths

    def test_what_is_not_needed_goes(self, output: pathlib.Path, capfd) -> None:
        first = models(output)[0]
        (set_aside,) = output.glob("artifacts.set-aside-*")
        before = size(output / "artifacts") + size(output / "serving_model") + size(set_aside)
        plan = cleaning.Cleaning(str(output), 1).plan()
        assert call("--keep", "1", "--output", str(output)) == 0
        assert "to be removed" in capfd.readouterr().out
        after = size(output / "artifacts") + size(output / "serving_model")
        assert after == before - plan.size < before
        assert plan.kept_size == after + size(output / "logs")
        assert not first.exists()
        assert not set_aside.exists()
        assert len(models(output)) == 2
        assert len(served(output)) == 1
        assert not list((output / "serving_model").glob(".*"))
        assert not (output / "artifacts" / "Trainer" / "model_run" / "checkpoints").exists()
        gone = {artifact.uri for artifact in store(output).get_artifacts() if artifact.state == DELETED}
        assert str(first) in gone
        assert not [uri for uri in gone if os.path.exists(uri)]
        assert PushedModel.latest(str(output), print).path.name == str(max(served(output)))

    def test_a_second_time_there_is_nothing_to_do(self, output: pathlib.Path, capfd) -> None:
        assert call("--keep", "1", "--output", str(output)) == 0
        assert "nothing is to be removed; " in capfd.readouterr().out

    def test_the_last_run_again_executes_nothing(self, ratings, output: pathlib.Path) -> None:
        code, record = run_seed(ratings, output, 3)
        assert (code, executed(record), record["notes"]) == (ExitCode.PUSHED, set(), [])

    def test_a_removed_run_executes_again_and_is_pushed(self, ratings, output: pathlib.Path) -> None:
        before = set(served(output))
        code, record = run_seed(ratings, output, 1)
        assert code == ExitCode.PUSHED
        assert executed(record) == {"Trainer", "Evaluator", "ServableValidator", "Pusher", "ReportGen"}
        assert states(record)["Transform"] == "cached"
        assert record["notes"] == []
        assert set(served(output)) - before == {int(pathlib.Path(record["pushed_path"]).name)}

    def test_after_a_run_that_stopped_early_the_model_that_serves_stays(self, ratings, output: pathlib.Path) -> None:
        run_seed(ratings, output, 1, to_component="Transform")
        newest = models(output)[-1]
        assert call("--keep", "1", "--output", str(output)) == 0
        assert models(output) == [newest]
        assert len(served(output)) == 1
        assert not (output / "logs" / "Trainer.log").exists()
        assert (output / "logs" / "Transform.log").exists()
        # The newest blessed model is there to be compared with.
        _, record = run_seed(ratings, output, 4)
        assert str(newest) in record["blessed_model"]


class TestWhere:
    @pytest.fixture(scope="class")
    def elsewhere(self, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
        """The output folder of two runs on other ratings, whose artifacts are not below it."""
        folder = tmp_path_factory.mktemp("elsewhere")
        for seed in (1, 2):
            synthetic.write(folder / str(seed), rows=200, users=20, titles=30, seed=seed)
            values = {"data.root": str(folder / str(seed)), "output": str(folder / "output")}
            config = resolve.resolve(values, assignments=(f"artifacts={folder}/artifacts",))
            assert run.run(config, plain=True, to_component="RatingsExampleGen") == ExitCode.STOPPED_EARLY
        return folder

    def test_what_cannot_be_removed_is_a_message(self, elsewhere: pathlib.Path, monkeypatch, capfd) -> None:
        """Administrators may remove everything, so that it has to be pretended."""

        def refuse(path: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", path)

        monkeypatch.setattr(cleaning.shutil, "rmtree", refuse)
        assert call("--keep", "1", "--output", str(elsewhere / "output")) == ExitCode.FAILED
        assert "Error: expected to remove what no run needs; got: [Errno 13]" in capfd.readouterr().err
        (artifact,) = (each for each in store(elsewhere / "output").get_artifacts() if each.uri.endswith("/1"))
        assert artifact.state == DELETED
        assert os.path.exists(artifact.uri)

    def test_artifacts_elsewhere_are_found(self, elsewhere: pathlib.Path, monkeypatch, capfd) -> None:
        (elsewhere / "link").symlink_to("output")
        monkeypatch.chdir(elsewhere)
        assert call("--keep", "1", "--json", "--output", "link") == 0
        removed = {part["what"]: part["paths"] for part in json.loads(capfd.readouterr().out)["remove"]}
        examples = elsewhere / "artifacts" / "RatingsExampleGen" / "examples"
        assert removed["RatingsExampleGen"] == [f"{examples}/1"]
        assert os.listdir(examples) == ["2"]

    def test_a_copy_is_left_alone(self, elsewhere: pathlib.Path, capfd) -> None:
        copy = elsewhere / "copy"
        copy.mkdir()
        for name in ("metadata.sqlite", "last_run.json"):
            (copy / name).write_bytes((elsewhere / "output" / name).read_bytes())
        assert call("--keep", "1", "--output", str(copy)) == ExitCode.BAD_INPUT
        assert f"got {copy}, whose last run was in {elsewhere}/output" in capfd.readouterr().err

    @pytest.mark.parametrize("damaged", [b"[1]", b"{}", b'{"config": 1}', b"\xff"])
    @pytest.mark.parametrize("name", ["metadata.sqlite", "last_run.json"])
    def test_damaged_records_are_named(self, elsewhere: pathlib.Path, capfd, name: str, damaged: bytes) -> None:
        file = elsewhere / "output" / name
        content = file.read_bytes()
        file.write_bytes(damaged)
        assert call("--keep", "1", "--output", str(file.parent)) == ExitCode.BAD_INPUT
        assert str(file) in capfd.readouterr().err
        file.write_bytes(content)

    def test_before_any_run_there_is_nothing_to_do(self, tmp_path: pathlib.Path, capfd) -> None:
        (tmp_path / "metadata.sqlite").touch()
        assert call("--keep", "1", "--output", str(tmp_path)) == 0
        assert "nothing is to be removed; 0.0 MB stay" in capfd.readouterr().out

    def test_a_folder_without_runs_is_refused(self, tmp_path: pathlib.Path, capfd) -> None:
        for folder in (tmp_path, tmp_path / "nowhere", "gs://bucket/output"):
            assert call("--keep", "1", "--output", str(folder)) == ExitCode.BAD_INPUT
            assert "expected an output folder of `movie-ranking run` on this machine" in capfd.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_nothing_to_keep_is_refused(self, tmp_path: pathlib.Path, capfd) -> None:
        assert call("--keep", "0", "--output", str(tmp_path)) == ExitCode.BAD_INPUT
        assert "0 is not in the range x>=1" in capfd.readouterr().err
