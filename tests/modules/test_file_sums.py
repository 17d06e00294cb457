"""The list of a model's files against the tool that people have."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from modules import file_sums


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    files = {"saved_model.pb": b"graph", "variables/variables.index": b"", "assets/Élan": b"1\n", "assets/b": b"2"}
    for name, content in files.items():
        path = tmp_path / "model [1]*" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    file_sums.write(str(tmp_path / "model [1]*"))
    return tmp_path / "model [1]*"


def test_it_can_be_checked_by_hand(model: pathlib.Path) -> None:
    (command,) = (line for line in file_sums.__doc__.splitlines() if line.startswith("cd FOLDER && "))
    check = ["bash", "-c", command.removeprefix("cd FOLDER && ")]
    assert subprocess.run(check, cwd=model, check=True, capture_output=True).stdout == b""
    assert len((model / file_sums.FILE).read_text().splitlines()) == 4
    (model / "assets" / "b").write_bytes(b"3")
    assert subprocess.run(check, cwd=model, check=False, capture_output=True).stdout == b"assets/b: FAILED\n"


def test_a_list_that_is_written_again_is_the_same(model: pathlib.Path) -> None:
    before = (model / file_sums.FILE).read_bytes()
    file_sums.write(str(model))
    assert (model / file_sums.FILE).read_bytes() == before


def test_each_fault_is_named(model: pathlib.Path) -> None:
    assert file_sums.fault(str(model)) is None
    assert file_sums.fault(f"{model}/") is None
    asset = model / "assets" / "Élan"
    asset.write_bytes(b"1")
    assert file_sums.fault(str(model)) == "assets/Élan was damaged or changed"
    asset.unlink()
    assert file_sums.fault(str(model)) == "assets/Élan is gone"
    asset.write_bytes(b"1\n")
    (model / "assets" / "c").write_bytes(b"")
    assert file_sums.fault(str(model)) == f"assets/c is not among the files of {file_sums.FILE}"
    (model / "assets" / "c").unlink()
    (model / file_sums.FILE).write_text("no list")
    assert file_sums.fault(str(model)) == f"{file_sums.FILE} is damaged"
    (model / file_sums.FILE).unlink()
    assert file_sums.fault(str(model)) is None
