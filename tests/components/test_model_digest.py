"""The digest of a model against the tools that people have."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
import tensorflow as tf

from components import model_digest
from components.errors import IntegrityError
from modules import file_sums


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    files = {"saved_model.pb": b"graph", "variables/variables.index": b"", "assets/Élan": b"1\n", "assets/b": b"2"}
    for name, content in files.items():
        path = tmp_path / "model [1]*" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "model [1]*"


def test_it_is_what_sha256sum_says(model: pathlib.Path) -> None:
    (command,) = (line for line in model_digest.__doc__.splitlines() if line.startswith("cd FOLDER && "))
    done = subprocess.run(
        ["bash", "-c", command.removeprefix("cd FOLDER && ")], cwd=model, capture_output=True, text=True, check=True
    )
    assert model_digest.of_folder(str(model)) == done.stdout.split()[0]
    assert model_digest.of_folder(f"{model}/") == done.stdout.split()[0]


def test_every_change_shows(model: pathlib.Path) -> None:
    before = model_digest.of_folder(str(model))
    graph = model / "saved_model.pb"
    changes = {
        "a flipped bit": lambda: graph.write_bytes(b"grapi"),
        "a cut file": lambda: graph.write_bytes(b"gra"),
        "an empty file": lambda: graph.write_bytes(b""),
        "a file of another name": lambda: graph.rename(model / "saved_model.pbtxt"),
        "a file more": lambda: (model / "assets" / "c").write_bytes(b""),
        "a file less": lambda: (model / "assets" / "b").unlink(),
        "content that moved on to the next file": lambda: (
            (model / "assets" / "Élan").write_bytes(b""),
            (model / "assets" / "b").write_bytes(b"1\n2"),
        ),
    }
    seen = {before}
    for what, change in changes.items():
        change()
        found = model_digest.of_folder(str(model))
        assert found not in seen, what
        seen.add(found)
    with pytest.raises(IntegrityError, match=rf"expected in .*SHA-256 {before}; got SHA-256 {found}: .*; run with --"):
        model_digest.check(str(model), before)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_no_files_have_no_digest(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError, match=f"expected the files of a model in .*{name}; got none"):
        model_digest.of_folder(str(tmp_path / name))


def test_it_is_the_same_elsewhere(model: pathlib.Path) -> None:
    remote = "ram://digest/model"
    for name in file_sums.files_below(str(model)):
        tf.io.gfile.makedirs(f"{remote}/{name}".rpartition("/")[0])
        tf.io.gfile.copy(str(model / name), f"{remote}/{name}")
    assert model_digest.of_folder(remote) == model_digest.of_folder(str(model))
