from __future__ import annotations

import bz2
import functools
import gzip
import lzma
from typing import Any, BinaryIO

import pyarrow as pa
import pytest

from data import compression
from data.errors import LayoutError


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": functools.partial(lzma.compress, preset=0),
    "zstd": zstandard,
}
CONTENT = b"".join(b"%d,%d\n" % (number, number * 7919) for number in range(200_000))


def read(path) -> tuple[str, bytes]:
    name, file = compression.open_decompressed(path)
    with file:
        return name, b"".join(iter(lambda: file.read(100_000), b""))


@pytest.mark.parametrize("name", PACKERS)
def test_packed_files_read_as_what_went_in(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PACKERS[name](CONTENT))
    assert read(path) == (name, CONTENT)
    # One file after the other is one file.
    path.write_bytes(PACKERS[name](CONTENT[:1000]) + PACKERS[name](CONTENT[1000:]))
    assert read(path) == (name, CONTENT)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_zeros_may_fill_up_a_file(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PACKERS[name](CONTENT) + bytes(300_000) + PACKERS[name](b"a") + bytes(512))
    assert read(path) == (name, CONTENT + b"a")
    with compression.open_decompressed(path)[1] as file:
        assert file.read() == CONTENT + b"a"


@pytest.mark.parametrize("name", PACKERS)
def test_a_second_part_that_is_damaged_is_not_left_out(name, tmp_path):
    second = bytearray(PACKERS[name](CONTENT))
    second[0] ^= 1
    (tmp_path / "file").write_bytes(PACKERS[name](b"a,b\n") + second)
    with pytest.raises(LayoutError, match="packed whole"):
        read(tmp_path / "file")


@pytest.mark.parametrize("name", PACKERS)
def test_a_packed_file_is_read_as_any_and_closed_in_the_end(name, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(PACKERS[name](CONTENT))
    opened: list[BinaryIO] = []

    def noted(*given: Any) -> BinaryIO:
        opened.append(open(*given))  # noqa: SIM115  # closed by what is tested
        return opened[-1]

    monkeypatch.setattr(compression, "open", noted, raising=False)
    with compression.open_decompressed(tmp_path / "file")[1] as file:
        assert file.readable()
        start = file.read(10)
        assert 0 < len(start) <= 10
        assert start + file.read(None) == CONTENT
        assert not file.read(10)
    assert file.closed
    assert [each.closed for each in opened] == [True]


@pytest.mark.parametrize("content", [b"", b"a", CONTENT])
def test_other_files_read_as_they_are(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert read(tmp_path / "file") == ("", content)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("cut", [0.3, 0.7, 0.999])
def test_what_breaks_off_is_refused(name, cut, tmp_path):
    packed = PACKERS[name](CONTENT)
    (tmp_path / "file").write_bytes(packed[: int(len(packed) * cut)])
    with pytest.raises(LayoutError, match=r"file to be packed whole.*fetch it again"):
        read(tmp_path / "file")


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_what_is_damaged_is_refused(name, tmp_path):
    packed = bytearray(PACKERS[name](CONTENT))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    (tmp_path / "file").write_bytes(packed)
    with pytest.raises(LayoutError, match="packed whole"):
        read(tmp_path / "file")
