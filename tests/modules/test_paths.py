"""Folders whose names are patterns to others, each beside a decoy that the name matches."""

from __future__ import annotations

import glob
import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf
from apache_beam.io import filesystems

from modules import example_shards, paths
from tests.conftest import ROOT

# Names, and what they match as patterns.
NAMES = {"run[12]": "run1", "run [v2]*": "run v*", "a*b?": "axxbc", "[[]": "[", "[!a]": "b", "a\\b": "ab", "plain": "p"}


@pytest.fixture(params=NAMES.items(), ids=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of such a name with two files, beside its decoy with a third."""
    name, decoy = request.param
    for place, files in ((name, ("b.gz", "a.gz")), (decoy, ("c.gz",))):
        (tmp_path / place).mkdir()
        for file in files:
            (tmp_path / place / file).touch()
    return tmp_path / name


def _by_beam(pattern: str) -> list[str]:
    (result,) = filesystems.FileSystems.match([pattern])
    return [file.path for file in result.metadata_list]


@pytest.mark.parametrize("find", [glob.glob, tf.io.gfile.glob, _by_beam], ids=["Python", "TensorFlow", "Beam"])
def test_an_escaped_folder_matches_itself_alone(find, folder: pathlib.Path) -> None:
    found = find(os.path.join(paths.escape(str(folder)), "*.gz"))
    assert sorted(found) == [str(folder / name) for name in ("a.gz", "b.gz")]


def test_files_come_in_the_order_of_their_names(folder: pathlib.Path) -> None:
    assert paths.files_of(str(folder)) == [str(folder / name) for name in ("a.gz", "b.gz")]


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_files_is_refused(tmp_path: pathlib.Path, made: bool) -> None:
    folder = tmp_path / "x"
    if made:
        folder.mkdir()
    with pytest.raises(ValueError, match=r"expected example files in .*/x; got none; run the pipeline again"):
        paths.files_of(str(folder))


def test_a_folder_that_lacks_a_file_is_refused(tmp_path: pathlib.Path) -> None:
    names = [example_shards.name_of(index, 2, 7) for index in range(2)]
    for name in names:
        (tmp_path / name).touch()
    assert paths.files_of(str(tmp_path)) == [str(tmp_path / name) for name in names]
    (tmp_path / names[0]).unlink()
    with pytest.raises(ValueError, match=r"expected 2 example files, as the name of .* says; got 1"):
        paths.files_of(str(tmp_path))


def test_a_plain_path_names_the_same_folder(folder: pathlib.Path) -> None:
    plain = paths.plain(str(folder))
    assert os.path.samefile(plain, folder)
    assert paths.escape(plain) == plain
    assert (plain == str(folder)) == (folder.name == "plain")
    assert paths.plain(str(folder)) == plain


def test_remote_folders_stay_what_they_are() -> None:
    assert paths.plain("gs://bucket/a*") == "gs://bucket/a*"


def test_a_model_in_any_folder_loads(tmp_path: pathlib.Path) -> None:
    """TensorFlow looks for the file of the variables by their path as a pattern."""
    model = tf.Module()
    model.weight = tf.Variable(2.5)
    folder = str(tmp_path / "run[1]")
    tf.saved_model.save(model, folder)
    with pytest.raises((OSError, tf.errors.OpError)):
        tf.saved_model.load(folder)
    assert tf.saved_model.load(paths.plain(folder)).weight.numpy() == 2.5


def test_a_process_leaves_no_link_behind(tmp_path: pathlib.Path) -> None:
    folder, temporary = tmp_path / "run[1]", tmp_path / "temporary"
    folder.mkdir()
    (folder / "kept").touch()
    temporary.mkdir()
    code = "import os, sys; from modules import paths; print(os.listdir(paths.plain(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert done.stdout == "['kept']\n"
    assert not list(temporary.iterdir())
    assert (folder / "kept").exists()
