"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from data import atomic


def test_a_file_and_its_folder_are_made_and_replaced(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "new" / "file.json"
    atomic.write_text(file, "old")
    atomic.write_text(str(file), "neu: ä\n")
    assert file.read_bytes() == "neu: ä\n".encode()
    assert os.listdir(file.parent) == ["file.json"]


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, step: str) -> None:
    file = tmp_path / "file.json"
    file.write_text("old")
    write = pathlib.Path.write_text

    def full(self: pathlib.Path, *given: object, **more: object) -> None:
        if step == "write_text":
            write(self, "a par")
        raise OSError("no space left")

    monkeypatch.setattr(pathlib.Path, step, full)
    with pytest.raises(OSError, match="no space left"):
        atomic.write_text(file, "new")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_what_killed_processes_left_is_removed_and_that_of_others_is_not(tmp_path: pathlib.Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    file = tmp_path / "file[1].json"
    others = [f".file[1].json.{os.getppid()}.partial", ".file1.json.1.partial", ".file[1].json.mine.partial"]
    for name in (*others, f".file[1].json.{dead.pid}.partial"):
        (tmp_path / name).write_text("a par")
    atomic.write_text(file, "new")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, file.name])
