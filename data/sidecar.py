"""`ratings.json`, the record of a data folder: what the ratings are, and the checksum of each table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping

from data import atomic
from data.errors import DataError
from data.splits import PARTS
from modules import features

RATINGS_FILE = features.RATINGS.file
# The ratings that a run reads, in the data folder or in each of its parts.
RATINGS_PATTERN = "ratings*.csv"
SIDECAR_FILE = "ratings.json"
_BLOCK = 1 << 20
# What is read as tables: ratings in the folder or in its parts, side tables above them.
_PATTERNS = (
    *(f"{part}{RATINGS_PATTERN}" for part in ("", *(f"{part}/" for part in PARTS))),
    *(table.file for table in features.SIDE_TABLES),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableFile:
    """One file of a table.

    Attributes:
      name: where it lies, relative to the data folder.
      rows: how many it has, the header not counted.
      columns: its header.
      sha256: hexadecimal digest of its bytes.
    """

    name: str
    rows: int
    columns: tuple[str, ...]
    sha256: str

    @classmethod
    def of(cls, folder: pathlib.Path, name: str) -> TableFile:
        """The record of a file in which each row is one line.

        Raises:
          FileNotFoundError: there is none.
        """
        checksum, lines = hashlib.sha256(), 0
        with (folder / name).open("rb") as file:
            header = file.readline()
            file.seek(0)
            while block := file.read(_BLOCK):
                checksum.update(block)
                lines += block.count(b"\n")
        columns = tuple(header.decode(errors="replace").rstrip("\n").split(","))
        return cls(name=name, rows=lines - 1, columns=columns, sha256=checksum.hexdigest())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Facts about the tables of a data folder; `rows_read == rejected + merged + rows`.

    Attributes:
      rating_scale: lowest and highest rating that are possible, stars.
      users: distinct user ids among the ratings.
      titles: distinct titles among the ratings.
      rows_read: ratings in the source, before bad ones were dropped and repeated ones merged.
      rejected: ratings dropped as bad.
      source: where they come from, for people.
      files: the tables: ratings, more than one where the source publishes a split, then side tables.
      shared_titles: the item ids of each title that several items of the source have.
      noise_floor: the lowest RMSE that any predictor can have on these ratings, where it is known.
    """

    rating_scale: tuple[float, float]
    users: int
    titles: int
    rows_read: int
    rejected: int
    source: str
    files: tuple[TableFile, ...]
    shared_titles: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    noise_floor: float | None = None

    @property
    def rows(self) -> int:
        """Ratings in the folder, those of all parts together."""
        return sum(file.rows for file in self.files if pathlib.PurePosixPath(file.name).name == RATINGS_FILE)

    @property
    def merged(self) -> int:
        """Ratings that went into one with another of the same user and title."""
        return self.rows_read - self.rejected - self.rows

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Names of the columns that describe titles and users, keys not among them."""
        tables = {table.file for table in features.SIDE_TABLES}
        return tuple(name for file in self.files if file.name in tables for name in file.columns[1:])

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file, hexadecimal, by its name."""
        return {file.name: file.sha256 for file in self.files}

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Sidecar:
        """Reads `ratings.json`.

        Raises:
          DataError: there is none, or it is not what `write` writes.
        """
        path = pathlib.Path(folder) / SIDECAR_FILE
        remedy = "make the folder with `movie-ranking data fetch`, `prepare` or `synthetic`"
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"expected {path}, which records what the ratings are; it is missing; {remedy}") from None
        except ValueError as error:
            raise DataError(f"expected {path} to be JSON; got: {error}; {remedy}") from error
        try:
            fields["rating_scale"] = tuple(fields["rating_scale"])
            fields["files"] = tuple(TableFile(**file | {"columns": tuple(file["columns"])}) for file in fields["files"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise DataError(f"expected {path} to hold the fields of a sidecar; got: {error}; {remedy}") from error

    @classmethod
    def of_complete(cls, folder: str | os.PathLike[str]) -> Sidecar | None:
        """The record of a folder that is whole and as it was written; None where there is no such folder."""
        try:
            sidecar = cls.read(folder)
        except DataError:
            return None
        return sidecar if sidecar.matches(folder) else None

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes `ratings.json` in one step: readers see the old one or the new one, never a part."""
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
        atomic.write_text(pathlib.Path(folder) / SIDECAR_FILE, text + "\n")

    def matches(self, folder: str | os.PathLike[str]) -> bool:
        """Whether the tables in the folder are the recorded ones, each to the byte, and no others."""
        folder = pathlib.Path(folder)
        return table_files(folder) == set(self.checksums) and all(
            TableFile.of(folder, file.name) == file for file in self.files
        )


def table_files(folder: pathlib.Path) -> set[str]:
    """The files of a folder that would be read as tables, relative to it."""
    return {path.relative_to(folder).as_posix() for pattern in _PATTERNS for path in folder.glob(pattern)}
