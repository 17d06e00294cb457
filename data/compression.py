"""Files packed with gzip, bzip2, xz or zstd, told by their first bytes and read as a stream."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import pyarrow as pa

from data.errors import LayoutError

_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
_READ_BYTES = 1 << 18


class _Members:
    """What was packed in one go or in several, one behind the other; anything else behind the first is damage.

    The standard library's own files stop without a word where something else follows, such as a damaged second part.
    """

    def __init__(self, file: BinaryIO, unpacker: Callable[[], Any]) -> None:
        self._file, self._new = file, unpacker
        self._unpacker = unpacker()

    def read(self, size: int | None) -> bytes:
        """At most so many bytes, or all that are left; none at the end alone."""
        if size is None:
            return b"".join(iter(lambda: self.read(_READ_BYTES), b""))
        while True:
            packed = b""
            if self._unpacker.eof:
                packed = self._unpacker.unused_data.lstrip(b"\0")
                while not packed and (block := self._file.read(_READ_BYTES)):
                    packed = block.lstrip(b"\0")  # which may fill up a file
                if not packed:
                    return b""
                self._unpacker = self._new()
            elif self._unpacker.needs_input:
                packed = self._file.read(_READ_BYTES)
                if not packed:
                    raise EOFError("it breaks off")
            unpacked = self._unpacker.decompress(packed, size)
            if unpacked:
                return unpacked


# What a file begins with, and what opens it.
_FORMATS: dict[str, tuple[bytes, Callable[[BinaryIO], Any]]] = {
    "gzip": (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    "bzip2": (b"BZh", lambda file: _Members(file, bz2.BZ2Decompressor)),
    "xz": (b"\xfd7zXZ\0", lambda file: _Members(file, lzma.LZMADecompressor)),
    "zstd": (b"\x28\xb5\x2f\xfd", lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")),
}


class _Checked(io.BufferedIOBase):
    """A stream whose damage is an error about the data."""

    def __init__(self, stream: Any, file: BinaryIO, path: str) -> None:
        self._stream, self._file, self._path = stream, file, path

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return self._stream.read(None if size is None or size < 0 else size)
        except _DAMAGED as error:
            raise LayoutError(
                f"expected {self._path} to be packed whole; got: {error}; fetch it again, or unpack it by hand"
            ) from error

    def close(self) -> None:
        self._file.close()
        super().close()


def open_decompressed(path: str | os.PathLike[str]) -> tuple[str, BinaryIO]:
    """The name of what a file is packed with, empty where it is not, and its bytes, unpacked.

    Memory: a few MB. Reading raises LayoutError where the file is damaged, as far as its checksums tell (those of zstd
    are optional), or breaks off.
    """
    file = open(path, "rb")  # noqa: SIM115  # handed over
    start = file.peek()
    for name, (magic, unpack) in _FORMATS.items():
        if start.startswith(magic):
            return name, _Checked(unpack(file), file, str(path))  # type: ignore[return-value]
    return "", file
