"""The seal of a database, against edits that SQLite makes and those that it does not."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3

import pytest

from pipeline.local import metadata_seal


@pytest.fixture
def database(tmp_path: pathlib.Path) -> str:
    path = str(tmp_path / "metadata.sqlite")
    execute(path, "CREATE TABLE Artifact (uri TEXT)")
    execute(path, "INSERT INTO Artifact VALUES ('/output/artifacts/1')")
    return path


def execute(path: str, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def flip_text(path: str) -> None:
    content = pathlib.Path(path).read_bytes()
    assert b"artifacts/1" in content
    pathlib.Path(path).write_bytes(content.replace(b"artifacts/1", b"artifacts/7"))


def test_bytes_that_changed_by_themselves_break_it(database: str) -> None:
    assert not metadata_seal.is_broken(database)
    metadata_seal.put(database)
    assert not metadata_seal.is_broken(database)
    flip_text(database)
    assert metadata_seal.is_broken(database)
    metadata_seal.put(database)
    assert not metadata_seal.is_broken(database)


def test_what_sqlite_wrote_since_does_not(database: str) -> None:
    metadata_seal.put(database)
    execute(database, "UPDATE Artifact SET uri = '/output/artifacts/2'")
    assert not metadata_seal.is_broken(database)
    execute(database, "VACUUM")
    assert not metadata_seal.is_broken(database)


@pytest.mark.parametrize("place", range(0, 130, 7))
def test_a_seal_that_is_damaged_itself_says_nothing(database: str, place: int) -> None:
    metadata_seal.put(database)
    seal = pathlib.Path(f"{database}.seal")
    content = bytearray(seal.read_bytes())
    content[place] ^= 2
    seal.write_bytes(content)
    assert not metadata_seal.is_broken(database)
    seal.write_bytes(content[:place])
    assert not metadata_seal.is_broken(database)


def test_what_cannot_be_sealed_has_no_seal(database: str, tmp_path: pathlib.Path, monkeypatch) -> None:
    metadata_seal.put(str(tmp_path / "none.sqlite"))
    pathlib.Path(f"{database}-journal").touch()
    metadata_seal.put(database)
    os.remove(f"{database}-journal")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(metadata_seal.atomic, "write_text", full)
        metadata_seal.put(database)
    assert os.listdir(tmp_path) == ["metadata.sqlite"]


def test_it_is_put_however_a_command_ends(database: str) -> None:
    with pytest.raises(KeyboardInterrupt), metadata_seal.put_in_the_end(database):
        raise KeyboardInterrupt
    flip_text(database)
    assert metadata_seal.is_broken(database)
