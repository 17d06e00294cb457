"""The files that a release consists of, opened as UTF-8 text whatever they were packed and encoded with.

A text is read twice, once to find its encoding; what is packed is unpacked once, to disk.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from data import compression, encodings, kinds, unpacked_size
from data.choices import Choices
from data.tables import open_local

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
      file: the file, unpacked.
      compression: what it was packed with, such as "gzip"; empty where it was not.
      encoding: what its text is in, as Python spells it.
      size: bytes of the text, 0 where they were not counted.
    """

    file: File
    compression: str
    encoding: str
    size: int

    def open(self, path: pathlib.Path | None = None) -> BinaryIO:
        """Opens it for reading UTF-8."""
        return encodings.as_utf_8(open_local(path or self.file.path), self.encoding, self.file.shown)

    def head(self) -> bytes:
        """The UTF-8 that it starts with."""
        with self.open() as file:
            return file.read(HEAD_BYTES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadAs:
    """How a file was read, for its owner to check.

    Attributes:
      file: its name in messages.
      kind: "text", "Parquet" or "Netflix' blocks".
      compression: what it is packed with; empty where it is not.
      encoding: what its text is in; empty where it is no text.
      separator: what stands between its fields, in words; empty where nothing does.
      decimal_mark: what stands for a decimal point in its ratings, in words; empty where it is a point.
      header: whether it names its columns.
      unused: columns that are none of ours, as it calls them.
    """

    file: str
    kind: str
    compression: str = ""
    encoding: str = ""
    separator: str = ""
    decimal_mark: str = ""
    header: bool = True
    unused: tuple[str, ...] = ()

    @property
    def form(self) -> dict[str, str]:
        """What of it is not empty, for the record."""
        told = {
            "kind": self.kind,
            "compression": self.compression,
            "encoding": self.encoding,
            "separator": self.separator,
            "decimal_mark": self.decimal_mark,
        }
        return {name: value for name, value in told.items() if value}


class Files(Mapping[str, File]):
    """The files of a release by their bare names.

    Attributes:
      choices: how to read them.
      read_as: how those were read that were opened so far, by the same names.
    """

    def __init__(self, files: Mapping[str, File], choices: Choices, work: pathlib.Path) -> None:
        """Opens none of them yet.

        Args:
          files: where they are.
          choices: how to read them.
          work: folder to unpack them in.
        """
        self._files, self.choices, self._work = files, choices, work
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
            self._opened[name] = _opened(self[name], self.choices.encoding, self._work)
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


def _opened(file: File, encoding: str | None, work: pathlib.Path) -> Source:
    packed_with, stream = compression.open_decompressed(file.path)
    with stream:
        if packed_with:
            # Under its own name, which progress shows.
            path = pathlib.Path(tempfile.mkdtemp(dir=work)) / file.path.name
            with path.open("wb") as unpacked:
                unpacked_size.copy(stream, unpacked, file.shown, packed=file.path.stat().st_size)
            file = File(path, file.shown)
    if encoding is None:
        with open_local(file.path) as text:
            kinds.refuse(text.read(HEAD_BYTES), file.shown)
    found = encodings.find(functools.partial(open_local, file.path), file.shown, encoding)
    return Source(file=file, compression=packed_with, encoding=found.name, size=found.size)
