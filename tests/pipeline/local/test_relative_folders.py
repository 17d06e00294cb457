"""A run whose folders were given as relative paths, used from another working directory afterwards."""

from __future__ import annotations

import csv
import os
import pathlib

import ml_metadata
import pytest
from tfx.orchestration import metadata

from data import synthetic
from pipeline import cli
from pipeline.exit_codes import ExitCode

pytestmark = pytest.mark.slow

# Workers of Beam are processes of their own, started in a folder that need not be the run's.
BEAM = ("--set", "beam.workers=2", "--set", "beam.running_mode=multi_processing")
FLAGS = (
    "--preset",
    "notebook",
    "--rmse-bound",
    "9",
    "--set",
    "evaluator.baseline=none",
    "--set",
    "trainer.model.epochs=1",
    *BEAM,
)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return int(done.value.code or 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with ratings/, in which a run has left output/ and made/."""
    folder = tmp_path_factory.mktemp("home")
    synthetic.write(folder / "ratings", rows=3_000, users=40, titles=100, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        folders = ("--data", "ratings", "--output", "output", "--set", "artifacts=made/artifacts")
        assert call("run", *folders, *FLAGS) == ExitCode.PUSHED
    return folder


@pytest.fixture
def elsewhere(home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_metadata_name_artifacts_from_everywhere(home: pathlib.Path) -> None:
    connection = metadata.sqlite_metadata_connection_config(str(home / "output" / "metadata.sqlite"))
    uris = [artifact.uri for artifact in ml_metadata.MetadataStore(connection).get_artifacts()]
    assert uris
    assert all(uri.startswith(str(home / "made" / "artifacts")) for uri in uris if "serving_model" not in uri)
    assert all(os.path.isabs(uri) for uri in uris)


def test_seen_titles_are_left_out_from_elsewhere(home: pathlib.Path, elsewhere, capsys) -> None:
    rows = list(csv.DictReader((home / "ratings" / "ratings.csv").open(encoding="utf-8")))
    user = rows[0]["user_id"]
    seen = {row["movie_title"] for row in rows if row["user_id"] == user}
    options = ("rank", "--user", user, "--top", "500", "--output", str(home / "output"))
    assert call(*options) == 0
    every = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()]
    assert seen & set(every)
    assert call(*options, "--exclude-seen") == 0
    unseen = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()]
    assert unseen == [title for title in every if title not in seen]


def test_the_same_run_from_elsewhere_takes_what_is_there(home: pathlib.Path, elsewhere, capfd) -> None:
    up = os.path.relpath(home)
    folders = ("--data", f"{up}/ratings", "--output", f"{up}/output", "--set", f"artifacts={up}/made/artifacts")
    assert call("run", *folders, *FLAGS) == ExitCode.PUSHED
    assert "no component was executed" in " ".join(capfd.readouterr().out.split())
    assert not list(elsewhere.iterdir())
