"""A database of ML Metadata that was lost or damaged."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sqlite3

import ml_metadata
import pytest
from tfx.orchestration import metadata

from data import synthetic
from modules.errors import UserError
from pipeline import cli
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import ExitCode
from pipeline.local import metadata_file, metadata_seal


@pytest.fixture
def config(tmp_path: pathlib.Path) -> PipelineConfig:
    """Of an output folder with an artifact and its database."""
    config = PipelineConfig(output=str(tmp_path / "output"), data={"root": str(tmp_path)})
    os.makedirs(os.path.join(config.pipeline_root, "Trainer"))
    ml_metadata.MetadataStore(metadata.sqlite_metadata_connection_config(config.metadata_path)).get_artifacts()
    return config


def damage(path: str, how: str) -> None:
    if how == "lost":
        os.remove(path)
    elif how == "other":
        pathlib.Path(path).write_text("no database at all\n" * 100)
    else:
        os.truncate(path, {"emptied": 0, "cut": os.path.getsize(path) // 2, "a few bytes": 50}[how])


DAMAGES = ["lost", "emptied", "cut", "a few bytes", "other"]


def test_a_whole_database_and_a_new_folder_are_accepted(config: PipelineConfig, tmp_path: pathlib.Path) -> None:
    metadata_file.check(config)
    metadata_file.check(config, rebuild=True)
    assert os.listdir(config.pipeline_root) == ["Trainer"]
    metadata_file.check(PipelineConfig(output=str(tmp_path / "new"), data={"root": str(tmp_path)}))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_lost_or_damaged_database_is_refused_with_a_way_on(config: PipelineConfig, how: str) -> None:
    damage(config.metadata_path, how)
    fault = "it is missing or empty" if how in ("lost", "emptied") else "it is damaged: "
    with pytest.raises(ValueError, match=f"expected in {config.metadata_path} the ML Metadata .*{fault}.*--rebuild"):
        metadata_file.check(config)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_rebuild_sets_aside_what_there_is(config: PipelineConfig, how: str) -> None:
    damage(config.metadata_path, how)
    metadata_file.check(config, rebuild=True)
    metadata_file.check(config)
    assert os.listdir(config.pipeline_root) == []
    assert not os.path.exists(config.metadata_path)
    (aside,) = pathlib.Path(config.output).glob("artifacts.set-aside-*")
    assert os.listdir(aside) == ["Trainer"]


@pytest.mark.parametrize("command", ["run", "tune"])
def test_commands_refuse_in_one_line(config: PipelineConfig, command: str, capfd) -> None:
    synthetic.write(pathlib.Path(config.data.root) / "ratings", rows=100, users=10, titles=20, seed=1)
    damage(config.metadata_path, "cut")
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--data", os.path.join(config.data.root, "ratings"), "--output", config.output])
    assert ended.value.code == ExitCode.BAD_INPUT
    assert "give --rebuild" in capfd.readouterr().err


def test_a_database_that_says_something_else_than_it_did_is_refused(config: PipelineConfig) -> None:
    """SQLite itself finds nothing odd about it."""
    metadata_seal.put(config.metadata_path)
    metadata_file.check(config)
    content = pathlib.Path(config.metadata_path).read_bytes()
    assert b"schema_version" in content
    pathlib.Path(config.metadata_path).write_bytes(content + bytes(4096))
    with pytest.raises(UserError, match=r"its bytes are not those that the last command left; .*--rebuild"):
        metadata_file.check(config)
    metadata_file.check(config, rebuild=True)
    metadata_file.check(config)


@pytest.mark.parametrize("has_artifacts", [False, True])
def test_a_database_that_was_not_finished_is_a_new_one(config: PipelineConfig, has_artifacts: bool) -> None:
    """As a run leaves that was killed while it made the database."""
    os.remove(config.metadata_path)
    if not has_artifacts:
        os.rmdir(os.path.join(config.pipeline_root, "Trainer"))
    being_made = f"{config.output}/being made"
    with contextlib.closing(sqlite3.connect(being_made, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute("CREATE TABLE Artifact (uri TEXT)")
        database.executemany("INSERT INTO Artifact VALUES (?)", [("x" * 4096,)] * 50)
        for ending in ("", "-journal"):
            shutil.copy(being_made + ending, config.metadata_path + ending)
    assert os.path.getsize(config.metadata_path)
    if has_artifacts:
        with pytest.raises(UserError, match="it is missing or empty"):
            metadata_file.check(config)
    else:
        metadata_file.check(config)
