from __future__ import annotations

import bz2
import gzip
import pathlib

import pytest

from data import compression, sources
from data.choices import Choices
from data.errors import LayoutError
from data.prepare import prepare
from data.sources import File, Files

TEXT = "user_id,movie_title,user_rating\n1,Café,3\n2,B,4\n"


@pytest.fixture
def files(tmp_path):
    """Files of one packed text."""

    def make(content: bytes, name: str = "own.csv.gz", **chosen: object) -> Files:
        (tmp_path / "in").mkdir()
        (tmp_path / "work").mkdir()
        (tmp_path / "in" / name).write_bytes(content)
        return Files({"own": File(tmp_path / "in" / name, "shown.gz")}, Choices(**chosen), tmp_path / "work")

    return make


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_what_is_packed_is_unpacked_once_and_read_from_there(encoding, files, tmp_path, monkeypatch):
    opened: list[pathlib.Path] = []
    unpack = compression.open_decompressed

    def counted(path):
        opened.append(path)
        return unpack(path)

    monkeypatch.setattr(compression, "open_decompressed", counted)
    packed = files(gzip.compress(TEXT.encode(encoding)))
    source = packed.source("own")
    assert (source.compression, source.encoding, source.file.shown) == ("gzip", encoding, "shown.gz")
    assert source.file.path.name == "own.csv.gz"
    assert source.file.path.is_relative_to(tmp_path / "work")
    assert source.file.path.read_bytes() == TEXT.encode(encoding)
    for _ in range(2):
        with packed.source("own").open() as file:
            assert b"".join(iter(lambda: file.read(7), b"")) == TEXT.encode()
    assert source.head() == TEXT.encode()
    assert opened == [tmp_path / "in/own.csv.gz"]


def test_what_is_not_packed_is_read_where_it_lies(files, tmp_path):
    source = files(TEXT.encode()).source("own")
    assert (source.compression, source.file.path, source.size) == ("", tmp_path / "in/own.csv.gz", len(TEXT.encode()))
    assert not list((tmp_path / "work").iterdir())


def test_files_larger_than_what_they_are_told_by_are_unpacked_whole(files):
    content = b"".join(b"%d,%d\n" % (number, number) for number in range(50_000))
    assert len(content) > 2 * sources.HEAD_BYTES
    source = files(bz2.compress(content)).source("own")
    assert source.file.path.read_bytes() == content
    assert source.head() == content[: sources.HEAD_BYTES]


@pytest.mark.parametrize("first", [1, 5, 100])
def test_what_is_no_text_is_refused_whatever_parts_it_is_packed_in(first, files):
    content = b'[{"user_id": 1}]'
    with pytest.raises(LayoutError, match=r"shown\.gz.*JSON"):
        files(gzip.compress(content[:first]) + gzip.compress(content[first:])).source("own")


def test_what_is_no_text_is_read_in_an_encoding_that_is_asked_for(files):
    assert files(b'[{"user_id": 1}]', encoding="latin1").source("own").encoding == "latin-1"


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_that_was_unpacked_is_left(dry_run, tmp_path):
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    summary = prepare(tmp_path / "own.csv.gz", tmp_path / "out", dry_run=dry_run)
    assert summary.rows == 2
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"own.csv.gz", *(() if dry_run else ("out", "out/ratings.csv", "out/ratings.json"))}
