"""Zips that are damaged, break off, or would fill the disk."""

from __future__ import annotations

import pathlib
import random
import zipfile

import pytest

from data import archives, unpacked_size
from data.errors import LayoutError

LETTERS = random.Random(0)
RATINGS = "".join(
    f"u{LETTERS.randrange(900)},Film {LETTERS.randrange(900)},{LETTERS.randrange(6)}\n" for _ in range(999)
)


def zip_of(path: pathlib.Path, method: int, text: str = RATINGS) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("ratings.csv", text)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_told_whatever_it_is_packed_with(tmp_path: pathlib.Path, method: int) -> None:
    path = zip_of(tmp_path / "ratings.zip", method)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=r"expected .*/ratings\.zip to be a complete, unencrypted zip; got: "):
        archives.unpack(path, ["ratings.csv"], tmp_path)


def test_one_that_breaks_off_is_told_from_a_file_of_another_kind(tmp_path: pathlib.Path) -> None:
    path = zip_of(tmp_path / "ratings.zip", zipfile.ZIP_DEFLATED)
    assert archives.is_zip(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LayoutError, match="got one that breaks off; fetch it again"):
        archives.is_zip(path)
    path.write_text(RATINGS)
    assert not archives.is_zip(path)


def test_one_that_would_fill_the_disk_is_refused_before_it_is_unpacked(tmp_path: pathlib.Path, monkeypatch) -> None:
    path = zip_of(tmp_path / "ratings.zip", zipfile.ZIP_DEFLATED, "u1,Heat (1995),5\n" * 100_000)
    monkeypatch.setattr(unpacked_size, "ANY_BYTES", 1 << 20)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        LayoutError, match=r"/ratings\.csv, packed in .* at most 250 times as much; got 1,700,000 bytes"
    ):
        archives.unpack(path, ["ratings.csv"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_the_disk_has_no_room_for_is_refused(tmp_path: pathlib.Path, monkeypatch) -> None:
    path = zip_of(tmp_path / "ratings.zip", zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(unpacked_size.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 9}))
    with pytest.raises(LayoutError, match=rf"room for the {len(RATINGS):,} bytes that .*; got 9 in "):
        archives.unpack(path, ["ratings.csv"], tmp_path)


@pytest.mark.parametrize("damage", ["place", "name"])
def test_damage_that_zipfile_does_not_call_so(tmp_path: pathlib.Path, damage: str) -> None:
    """A list of contents that would begin before the file, and a name that is said to be UTF-8 and is not."""
    path = zip_of(tmp_path / "ratings.zip", zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    if damage == "place":
        content[-6] = 0x7F
    else:
        content = content.replace(b"ratings.csv", b"\xff\xfftings.csv")
        # Of the list's entry: the bit that says that names are UTF-8.
        content[content.index(b"PK\x01\x02") + 9] |= 0x08
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=r"to be a complete, unencrypted zip; got: .*; fetch it again"):
        archives.unpack(path, archives.members(path), tmp_path)


def test_a_disk_that_cannot_be_written_is_no_damage(tmp_path: pathlib.Path) -> None:
    path = zip_of(tmp_path / "ratings.zip", zipfile.ZIP_DEFLATED)
    (tmp_path / "out" / "ratings.csv").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        archives.unpack(path, ["ratings.csv"], tmp_path / "out")
