"""Releases on disk: small ones of our own, and the real one where it is at hand."""

from __future__ import annotations

import pathlib
import zipfile
from collections.abc import Callable

import pytest

from tests.data.small_releases import Files

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MOVIELENS_100K = ROOT.parent / "shared" / "data" / "ml-100k"


@pytest.fixture
def make_folder(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Writes files into a new folder and returns it."""

    def make(files: Files, name: str = "release") -> pathlib.Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return folder

    return make


@pytest.fixture
def make_zip(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Packs files into a new zip, inside a folder of the name given, and returns it."""

    def make(files: Files, name: str = "release", inside: str = "release/") -> pathlib.Path:
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for file, content in files.items():
                packed.writestr(inside + file, content)
        return path

    return make


@pytest.fixture
def movielens_100k() -> pathlib.Path:
    if not MOVIELENS_100K.is_dir():
        pytest.skip("MovieLens 100K is not beside the repository")
    return MOVIELENS_100K
