"""The files that a release consists of, opened as UTF-8 text whatever they were packed and encoded with."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from data import compression, encodings, kinds
from data.choices import Choices

# A file of rows and fields.
TEXT = "text"
# What a file is told by.
HEAD_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a release.

    Attributes:
      path: where the bytes are.
      shown: its name in messages.
    """

    path: pathlib.Path
    shown: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A file as text.

    Attributes:
      file: the file.
      compression: what it is packed with, such as "gzip"; empty where it is not.
      encoding: what its text is in, as Python spells it.
      size: bytes of the text, 0 where they were not counted.
    """

    file: File
    compression: str
    encoding: str
    size: int

    def open(self, path: pathlib.Path | None = None) -> BinaryIO:
        """Opens it for reading UTF-8."""
        unpacked = _unpacked(path or self.file.path)
        return encodings.as_utf_8(unpacked, self.encoding, self.file.shown)

    def head(self) -> bytes:
        """The UTF-8 that it starts with."""
        with self.open() as file:
            return file.read(HEAD_BYTES)


def _unpacked(path: pathlib.Path) -> BinaryIO:
    return compression.open_decompressed(path)[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadAs:
    """How a file was read, for its owner to check.

    Attributes:
      file: its name in messages.
      kind: "text", "Parquet" or "Netflix' blocks".
      compression: what it is packed with; empty where it is not.
      encoding: what its text is in; empty where it is no text.
      separator: what stands between its fields, in words; empty where nothing does.
      header: whether it names its columns.
      unused: columns that are none of ours, as it calls them.
    """

    file: str
    kind: str
    compression: str = ""
    encoding: str = ""
    separator: str = ""
    header: bool = True
    unused: tuple[str, ...] = ()

    @property
    def form(self) -> dict[str, str]:
        """What of it is not empty, for the record."""
        told = {"kind": self.kind, "compression": self.compression, "encoding": self.encoding}
        return {name: value for name, value in {**told, "separator": self.separator}.items() if value}


class Files(Mapping[str, File]):
    """The files of a release by their bare names.

    Attributes:
      choices: how to read them.
      read_as: how those were read that were opened so far, by the same names.
    """

    def __init__(self, files: Mapping[str, File], choices: Choices) -> None:
        """Opens none of them yet."""
        self._files, self.choices = files, choices
        self.read_as: dict[str, ReadAs] = {}
        self._opened: dict[str, Source] = {}

    def __getitem__(self, name: str) -> File:
        return self._files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def source(self, name: str) -> Source:
        """A file as text.

        Raises:
          LayoutError: it is no text, is damaged, or its encoding cannot be told.
        """
        if name not in self._opened:
            self._opened[name] = _opened(self[name], self.choices.encoding)
        return self._opened[name]

    def note(self, name: str, *, separator: str, header: bool, kind: str = TEXT, unused: tuple[str, ...] = ()) -> None:
        """Takes note of how a file of text was read."""
        source = self.source(name)
        self.read_as[name] = ReadAs(
            file=source.file.shown,
            kind=kind,
            compression=source.compression,
            encoding=source.encoding,
            separator=separator,
            header=header,
            unused=unused,
        )


def _opened(file: File, encoding: str | None) -> Source:
    packed_with, stream = compression.open_decompressed(file.path)
    with stream:
        head = stream.read(HEAD_BYTES)
    if encoding is None:
        kinds.refuse(head, file.shown)
    found = encodings.find(functools.partial(_unpacked, file.path), file.shown, encoding)
    return Source(file=file, compression=packed_with, encoding=found.name, size=found.size)
