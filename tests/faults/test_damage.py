"""Damage changes what it says, and is the same for the same seed."""

from __future__ import annotations

import pathlib
import random

import pytest

from tests.faults import damage

CONTENT = bytes(range(200))


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("way", damage.OF_CONTENT)
def test_content_is_changed_alike_by_the_same_seed(file: pathlib.Path, way, seed: int) -> None:
    said = way(file, random.Random(seed))
    changed = file.read_bytes()
    assert changed != CONTENT
    file.write_bytes(CONTENT)
    assert (way(file, random.Random(seed)), file.read_bytes()) == (said, changed)


def test_cuts_keep_the_beginning_and_flips_the_length(file: pathlib.Path) -> None:
    damage.flip(file, random.Random(0))
    assert 1 <= sum(old != new for old, new in zip(CONTENT, file.read_bytes(), strict=True)) <= 16
    file.write_bytes(CONTENT)
    assert damage.truncate(file, random.Random(0)) == f"cut from 200 to {file.stat().st_size} bytes"
    assert CONTENT.startswith(file.read_bytes())
    damage.empty(file, random.Random(0))
    assert file.read_bytes() == b""
    assert damage.damage_file(file, random.Random(0)) == f"{file} deleted"
    assert not file.exists()


def test_files_and_folders_below_are_all_met(file: pathlib.Path) -> None:
    said = set()
    for seed in range(100):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(CONTENT)
        said.add(damage.damage_below([file.parent], random.Random(seed)).split(" ")[0:2][1])
    assert said == {"cut", "emptied", "bytes", "deleted"}
