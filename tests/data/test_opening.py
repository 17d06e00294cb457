"""Paths that hold no ratings, however they look."""

from __future__ import annotations

import os
import pathlib

import pytest

from data.errors import LayoutError
from data.prepare import prepare
from data.sidecar import ratings_files


@pytest.fixture
def pipe(tmp_path: pathlib.Path) -> pathlib.Path:
    os.mkfifo(tmp_path / "ratings.csv")
    return tmp_path / "ratings.csv"


def test_a_pipe_is_refused_and_not_waited_for(pipe: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(LayoutError, match="got a pipe or a device, which can be read once at most; write it to a file"):
        prepare(pipe, tmp_path / "out")


def test_so_is_one_with_a_part_of_a_split(pipe: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(LayoutError, match=r"ratings\.csv to be a file of ratings; got a pipe"):
        prepare({"train": pipe, "test": pipe}, tmp_path / "out")


def test_a_data_folder_with_a_pipe_has_no_ratings(pipe: pathlib.Path) -> None:
    assert ratings_files(pipe.parent) == []
