"""Artifacts whose files are no longer those that were recorded."""

from __future__ import annotations

import os
import pathlib
import shutil

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline.local.intact import Outputs
from pipeline.local.notes import Notes

MAKER = "Maker"
COMPLETE = metadata_store_pb2.Execution.COMPLETE
LIVE, DELETED = metadata_store_pb2.Artifact.LIVE, metadata_store_pb2.Artifact.DELETED


class Made:
    """What a component put out: an artifact of two files, an execution of its own for each."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        self._store = ml_metadata.MetadataStore(self._connection)
        self._types = (
            self._store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Thing")),
            self._store.put_execution_type(metadata_store_pb2.ExecutionType(name=MAKER)),
        )

    def add(self, name: str) -> tuple[pathlib.Path, int]:
        """One more artifact; its folder, and its execution, which is not recorded yet."""
        folder = self._folder / name
        (folder / "below").mkdir(parents=True)
        (folder / "file").write_bytes(b"a" * 1000)
        (folder / "below" / "other").write_bytes(b"b" * 10)
        artifact = metadata_store_pb2.Artifact(type_id=self._types[0], uri=str(folder), state=LIVE)
        execution = metadata_store_pb2.Execution(type_id=self._types[1], last_known_state=COMPLETE)
        event = metadata_store_pb2.Event(type=metadata_store_pb2.Event.OUTPUT)
        number, _, _ = self._store.put_execution(execution, [(artifact, event)], [])
        return folder, number

    def outputs(self) -> Outputs:
        return Outputs(self._connection, MAKER, MAKER)

    def notes(self) -> list[str]:
        """What a look at all of them has to tell."""
        with Notes() as notes:
            self.outputs().discard_damaged()
        return notes.lines

    def states(self) -> list[int]:
        return [artifact.state for artifact in self._store.get_artifacts()]


@pytest.fixture
def made(tmp_path: pathlib.Path) -> Made:
    return Made(tmp_path)


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_behind_the_clock(path: pathlib.Path) -> None:
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


DAMAGES = {
    "flipped": lambda folder: flip(folder / "file"),
    "flipped, with the time of before": lambda folder: flip_behind_the_clock(folder / "below" / "other"),
    "cut": lambda folder: os.truncate(folder / "file", 500),
    "emptied": lambda folder: os.truncate(folder / "below" / "other", 0),
    "a file less": lambda folder: (folder / "file").unlink(),
    "a file more": lambda folder: (folder / "more").write_bytes(b"c"),
    "no file": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_noted_once_and_ml_metadata_told(made: Made, damage: str) -> None:
    (folder, first), (_, second) = made.add("one"), made.add("two")
    made.outputs().record(first)
    made.outputs().record(second)
    assert made.notes() == []
    DAMAGES[damage](folder)
    assert made.notes() == [f"{folder}, which {MAKER} made, was damaged or changed; it is not used again"]
    assert made.states() == [DELETED, LIVE]
    assert made.notes() == []


def test_a_copy_of_the_same_files_is_whole(made: Made, tmp_path: pathlib.Path) -> None:
    folder, execution = made.add("one")
    made.outputs().record(execution)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    (tmp_path / "copy").rename(folder)
    assert made.notes() == []
    assert made.states() == [LIVE]


def test_only_the_last_result_is_missed(made: Made) -> None:
    for name in ("one", "two"):
        folder, execution = made.add(name)
        made.outputs().record(execution)
        (folder / "file").touch()
    shutil.rmtree(folder.with_name("one"))
    assert made.notes() == []
    shutil.rmtree(folder)
    assert made.notes() == [f"{folder}, which {MAKER} made, is gone"]


def test_what_was_never_recorded_is_taken_as_it_is(made: Made) -> None:
    folder, _ = made.add("one")
    flip(folder / "file")
    assert made.notes() == []
    assert made.states() == [LIVE]
