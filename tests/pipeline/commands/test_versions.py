"""`movie-ranking versions`: what was pushed, what was judged of it, and the labels."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner, Result

from components import model_digest, push_records, pushed_versions
from data import synthetic
from pipeline import cli
from pipeline.commands.versions import versions
from pipeline.exit_codes import ExitCode
from pipeline.serving.labels import LABELS_FILE, Labels
from tests.conftest import ROOT
from tests.pipeline.local.test_end_to_end import run_pipeline
from tests.pipeline.local.test_integrity import QUICK, WEIGHTS, WHATEVER_WAS_BLESSED, flip


def invoke(output: pathlib.Path, *arguments: str) -> Result:
    return CliRunner().invoke(versions, [*arguments, "--output", str(output)])


def done(output: pathlib.Path, *arguments: str) -> str:
    result = invoke(output, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(output: pathlib.Path) -> dict[int, dict]:
    return {each["version"]: each for each in json.loads(done(output, "--json"))["versions"]}


@pytest.fixture
def copied(tmp_path: pathlib.Path) -> pathlib.Path:
    """An output folder without ML Metadata, of versions 1, 2 and 1700000000."""
    for version in (1, 2, 1_700_000_000):
        folder = tmp_path / "serving_model" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph")
        push_records.write(str(folder.parent), version, model_digest.of_folder(str(folder)))
    return tmp_path


def test_without_metadata_the_versions_are_still_listed(copied: pathlib.Path) -> None:
    found = listed(copied)
    assert list(found) == [1_700_000_000, 2, 1]
    assert found[1_700_000_000] == {
        "version": 1_700_000_000,
        "pushed_at": "2023-11-14T22:13:20Z",
        "path": str(copied / "serving_model" / "1700000000"),
        "intact": True,
        "labels": [],
        "share": 1.0,
        "rmse": None,
        "ndcg": None,
        "list_ndcg": None,
    }
    assert (found[1]["pushed_at"], found[1]["share"]) == (None, 0.0)


def test_versions_are_labelled_promoted_and_rolled_back(copied: pathlib.Path) -> None:
    assert done(copied, "promote", "1") == "stable: 1 (before: none)\n"
    assert done(copied, "label", "canary", "2", "--share", "0.2") == (
        "canary: 2, for 0.2 of the users (before: none)\nstable: 1\n"
    )
    assert {number: each["share"] for number, each in listed(copied).items()} == {1_700_000_000: 0.0, 2: 0.2, 1: 0.8}
    assert done(copied, "label", "old", "1") == "canary: 2, for 0.2 of the users\nold: 1 (before: none)\nstable: 1\n"
    assert done(copied, "promote", "canary") == "canary: none (before: 2)\nold: 1\nstable: 2 (before: 1)\n"
    assert listed(copied)[1]["labels"] == ["old"]
    assert done(copied, "rollback") == "old: 1\nstable: 1 (before: 2)\n"
    assert done(copied, "unlabel", "old") == "old: none (before: 1)\nstable: 1\n"
    assert Labels.read(copied / "serving_model") == Labels(labels={"stable": 1}, canary_share=0.2)


def test_what_nobody_recorded_is_neither_given_nor_promoted(copied: pathlib.Path) -> None:
    push_records.remove(str(copied / "serving_model"), 1_700_000_000)
    assert {number: (each["intact"], each["share"]) for number, each in listed(copied).items()} == {
        1_700_000_000: (None, 0.0),
        2: (True, 1.0),
        1: (True, 0.0),
    }
    result = invoke(copied, "promote", "1700000000")
    assert (result.exit_code, "can be served: 1, 2; got 1700000000" in result.stderr) == (ExitCode.BAD_INPUT, True)


def test_a_version_that_is_gone_is_told(copied: pathlib.Path) -> None:
    done(copied, "promote", "1")
    shutil.rmtree(copied / "serving_model" / "1")
    result = invoke(copied, "--json")
    assert result.stderr == "note: label stable is of version 1, which is no longer there\n"
    # A server gives the newest then.
    assert [each["share"] for each in json.loads(result.stdout)["versions"]] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["promote", "3"], "expected one of the versions that can be served: 1, 2, 1700000000; got 3"),
        (["promote", "canary"], "expected a version, or a label that one has: none; got 'canary'"),
        (["label", "canary", "2"], "expected a stable version beside the canary, 2"),
        (["label", "canary", "two"], "'two' is not a valid integer"),
        (["label", "canary", "2", "--share", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["label", "stable", "2"], "give it with `movie-ranking versions promote`"),
        (["rollback"], "expected a version that was stable before now, and is still there; got none"),
        (["unlabel", "canary"], "expected a label that a version has: none; got 'canary'"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(copied: pathlib.Path, arguments: list[str], said: str) -> None:
    result = invoke(copied, *arguments)
    assert (result.exit_code, said in result.stderr) == (ExitCode.BAD_INPUT, True), result.stderr
    assert not (copied / "serving_model" / LABELS_FILE).exists()


@pytest.mark.parametrize("arguments", [[], ["promote", "1"], ["rollback"]])
def test_without_a_pushed_model_there_is_nothing_to_list(tmp_path: pathlib.Path, arguments: list[str]) -> None:
    result = invoke(tmp_path, *arguments)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert f"expected a pushed model under {tmp_path}/serving_model; there is none" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["promote", "1"]])
def test_damaged_labels_are_refused_by_their_file(copied: pathlib.Path, arguments: list[str]) -> None:
    file = copied / "serving_model" / LABELS_FILE
    file.write_text("{")
    result = invoke(copied, *arguments)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert f"expected labels in {file}; it is damaged" in result.stderr
    assert file.read_text() == "{"


def test_a_damaged_database_is_refused_by_its_file_where_it_is_needed(copied: pathlib.Path) -> None:
    (copied / "metadata.sqlite").write_bytes(b"no database" * 1000)
    result = invoke(copied)
    assert result.exit_code == ExitCode.BAD_INPUT, result.output
    assert f"in {copied}/metadata.sqlite; it is damaged: file is not a database; put it back" in result.stderr
    assert done(copied, "promote", "1") == "stable: 1 (before: none)\n"


@pytest.mark.slow
def test_a_change_imports_neither_tfx_nor_beam(copied: pathlib.Path) -> None:
    script = (
        "import sys\nfrom pipeline import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as ended:\n    code = ended.code\n"
        "print(code, {'tfx', 'apache_beam', 'ml_metadata', 'tensorflow_model_analysis'} & set(sys.modules))\n"
    )
    arguments = [sys.executable, "-c", script, "versions", "promote", "1", "--output", str(copied)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout == "stable: 1 (before: none)\n0 set()\n"


def test_the_folder_may_stand_before_the_change(copied: pathlib.Path) -> None:
    result = CliRunner().invoke(versions, ["--output", str(copied), "promote", "1"])
    assert (result.exit_code, result.stdout) == (0, "stable: 1 (before: none)\n")
    result = CliRunner().invoke(versions, ["--output", str(copied), "--json", "promote", "2"])
    assert (result.exit_code, "got it with a change" in result.stderr) == (ExitCode.BAD_INPUT, True)


def test_a_change_waits_for_a_push(copied: pathlib.Path) -> None:
    changing = threading.Thread(target=done, args=(copied, "promote", "1"))
    with pushed_versions.alone(str(copied / "serving_model")):
        changing.start()
        changing.join(timeout=1.0)
        assert changing.is_alive()
        assert not (copied / "serving_model" / LABELS_FILE).exists()
    changing.join(timeout=60.0)
    assert Labels.read(copied / "serving_model").labels == {"stable": 1}


@pytest.mark.slow
class TestRealRuns:
    @pytest.fixture(scope="class")
    def output(self, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
        """The output folder of two runs of different seeds."""
        ratings, folder = tmp_path_factory.mktemp("ratings"), tmp_path_factory.mktemp("runs") / "output"
        synthetic.write(ratings, rows=3_000, users=40, titles=80, seed=1)
        for seed in (1, 2):
            code, record = run_pipeline(ratings, folder, *QUICK, *WHATEVER_WAS_BLESSED, f"trainer.seed={seed}")
            assert code == ExitCode.PUSHED, record["reasons"]
            (folder / f"seed-{seed}.json").write_text(json.dumps(record))
        return folder

    def test_each_version_has_the_metrics_of_its_own_run(self, output: pathlib.Path) -> None:
        found = list(listed(output).values())[::-1]
        records = [json.loads((output / f"seed-{seed}.json").read_text()) for seed in (1, 2)]
        assert [each["path"] for each in found] == [record["pushed_path"] for record in records]
        assert [each["rmse"] for each in found] == [record["metrics"]["root_mean_squared_error"] for record in records]
        assert [each["ndcg"] for each in found] == [record["metrics"]["ndcg"] for record in records]
        assert [each["list_ndcg"] for each in found] == [record["metrics"]["list_ndcg"] for record in records]
        assert [each["intact"] for each in found] == [True, True]
        assert found[0]["rmse"] != found[1]["rmse"]

    def test_the_list_for_people_fits_a_terminal(self, output: pathlib.Path, capfd, monkeypatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            cli.main(["versions", "--output", str(output)])
        assert not ended.value.code
        out, err = capfd.readouterr()
        for number, each in listed(output).items():
            assert str(number) in out
            assert f"{each['rmse']:.4f}" in out
        assert "100 %" in out
        assert "deprecated" not in err

    def test_a_moved_folder_keeps_its_records(self, output: pathlib.Path, tmp_path: pathlib.Path) -> None:
        moved = shutil.copytree(output, tmp_path / "moved")
        assert [each["intact"] for each in listed(moved).values()] == [True, True]

    def test_a_damaged_version_is_neither_given_nor_promoted(self, output: pathlib.Path, tmp_path) -> None:
        moved = shutil.copytree(output, tmp_path / "moved")
        newest, older = listed(moved)
        flip(moved / "serving_model" / str(newest) / WEIGHTS)
        found = listed(moved)
        assert (found[newest]["intact"], found[newest]["share"]) == (False, 0.0)
        assert (found[older]["intact"], found[older]["share"]) == (True, 1.0)
        result = invoke(moved, "promote", str(newest))
        assert result.exit_code == ExitCode.BAD_INPUT
        assert f"expected one of the versions that can be served: {older}; got {newest}" in result.stderr
