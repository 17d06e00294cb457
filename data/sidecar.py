"""`ratings.json`, the record of a data folder: what the ratings are, and the checksum of each table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from data import atomic
from data.errors import DataError
from data.splits import PARTS
from modules import features

RATINGS_FILE = features.RATINGS.file
RATINGS_PATTERN = "ratings*.csv"
SIDECAR_FILE = "ratings.json"
# Ratings as people gave them, rather than what was made of counts.
EXPLICIT = "explicit"
# What is made of counts where each pair with one is a preference, as strong as any.
BINARY = "binary"
_BLOCK = 1 << 20
_SIDE_FILES = tuple(table.file for table in features.SIDE_TABLES)
_REMEDY = (
    "make the folder with `movie-ranking data fetch`, `prepare` or `synthetic`, or write there the lowest and highest "
    'possible rating, such as {"rating_scale": [1, 5]}'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableFile:
    """One file of a table.

    Attributes:
      name: where it lies, relative to the data folder.
      rows: how many it has, the header not counted.
      columns: its header.
      sha256: hexadecimal digest of its bytes.
      rows_are_lines: whether each row is known to be one line, so that reading can begin at any; no mark of the file.
    """

    name: str
    rows: int
    columns: tuple[str, ...]
    sha256: str
    rows_are_lines: bool = dataclasses.field(default=False, compare=False)

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
    """Facts about the tables of a data folder; `rows_read == rejected + merged + dropped + rows`.

    The record of a folder that was made by hand needs no more than the scale; then no file is recorded, and numbers
    are 0.

    Attributes:
      rating_scale: lowest and highest rating that are possible, stars.
      users: distinct user ids among the ratings.
      titles: distinct titles among the ratings.
      rows_read: ratings in the source, before bad ones were dropped and repeated ones merged.
      rejected: ratings dropped as bad.
      source: where they come from, for people.
      files: the tables: ratings, more than one where the source publishes a split, then side tables.
      shared_titles: the item ids of each title that several items of the source have.
      dropped: ratings that were good and left out as asked for, such as pairs of training that the test part has, too.
      feedback: "explicit" ratings, or what was made of "implicit" feedback: "binary", "log" or "rank".
      read_as: by file of the source, how it was read: compression, encoding, separator, decimal mark.
      noise_floor: the lowest RMSE that any predictor can have on these ratings, where it is known.
    """

    rating_scale: tuple[float, float]
    users: int = 0
    titles: int = 0
    rows_read: int = 0
    rejected: int = 0
    source: str = ""
    files: tuple[TableFile, ...] = ()
    shared_titles: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    dropped: int = 0
    feedback: str = EXPLICIT
    read_as: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    noise_floor: float | None = None

    @property
    def rows(self) -> int:
        """Ratings in the folder, those of all parts together."""
        return sum(file.rows for file in self.files if pathlib.PurePosixPath(file.name).name == RATINGS_FILE)

    @property
    def merged(self) -> int:
        """Ratings that went into one with another of the same user and title."""
        return self.rows_read - self.rejected - self.dropped - self.rows

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Names of the columns that describe titles and users, keys not among them."""
        return tuple(name for file in self.files if file.name in _SIDE_FILES for name in file.columns[1:])

    @property
    def line_checksums(self) -> dict[str, str]:
        """SHA-256 of each file of ratings whose rows are known to be lines, hexadecimal, by its name."""
        return {file.name: file.sha256 for file in self.files if file.rows_are_lines and file.name not in _SIDE_FILES}

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
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"expected {path}, which records what the ratings are; it is missing; {_REMEDY}") from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: bytes, path: str | os.PathLike[str]) -> Sidecar:
        """The record that the bytes of a `ratings.json` are; the path is for messages.

        Raises:
          DataError: they are not what `write` writes.
        """
        try:
            fields = json.loads(text.decode())
        except ValueError as error:
            raise DataError(f"expected {path} to be JSON; got: {error}; {_REMEDY}") from error
        try:
            fields["rating_scale"] = _scale(fields["rating_scale"], path)
            files = fields.get("files", ())
            fields["files"] = tuple(TableFile(**file | {"columns": tuple(file["columns"])}) for file in files)
            return cls(**fields)
        except DataError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"expected {path} to hold the fields of a sidecar; got: {error}; {_REMEDY}") from error

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

    def check_ratings(self, folder: str | os.PathLike[str]) -> None:
        """Refuses a folder whose files of ratings are not the recorded ones; where none is recorded, any will do.

        Each file is read whole, as an edit need not change its size: about a second a GB.

        Raises:
          DataError: there is one more, one less, or one with other bytes.
        """
        folder = pathlib.Path(folder)
        recorded = {name: sha256 for name, sha256 in self.checksums.items() if name not in _SIDE_FILES}
        found = {name for part in ("", *PARTS) for name in ratings_files(folder, part)}
        for name in sorted(found.union(recorded)) if self.files else ():
            if name not in recorded:
                fault = "is not among them; remove it"
            elif name not in found:
                fault = "is missing; put it back"
            elif (sha256 := TableFile.of(folder, name).sha256) != recorded[name]:
                fault = f"has changed since, from SHA-256 {recorded[name]} to {sha256}; put the old one back"
            else:
                continue
            raise DataError(
                f"expected the ratings that {folder / SIDECAR_FILE} records; {folder / name} {fault}, or make the "
                f"folder anew with `movie-ranking data prepare`; without `files` in {SIDECAR_FILE} it is taken as it is"
            )

    def changes_of_side_tables(self, folder: str | os.PathLike[str]) -> list[str]:
        """Which side tables are not those that were recorded, in words; none where no file is recorded.

        They may be edited, unlike ratings, and are taken as they are: what is told is for whoever did not edit them.
        """
        folder = pathlib.Path(folder)
        recorded = self.checksums
        changes = []
        for name in _SIDE_FILES if self.files else ():
            path, before = folder / name, recorded.get(name)
            after = TableFile.of(folder, name).sha256 if path.is_file() else None
            if before == after:
                continue
            if after is None:
                fault = f"is gone since {folder / SIDECAR_FILE} recorded it; the run goes on without"
            elif before is None:
                fault = f"is not among the files that {folder / SIDECAR_FILE} records; it is taken as it is"
            else:
                fault = (
                    f"has changed since {folder / SIDECAR_FILE} recorded it, from SHA-256 {before} to {after}; it is "
                    "taken as it is"
                )
            changes.append(f"{path} {fault}")
        return changes


def _scale(given: Any, path: str | os.PathLike[str]) -> tuple[float, float]:
    """The scale that a record names.

    Raises:
      DataError: it is none.
    """
    # What `float` reads beside them, such as "5" and true, is no number.
    is_pair = isinstance(given, list) and len(given) == 2 and all(type(each) in (int, float) for each in given)
    if not is_pair or not -features.FLOAT32_MAX <= given[0] < given[1] <= features.FLOAT32_MAX:
        raise DataError(
            f"expected in rating_scale of {path} two numbers, the lowest and the highest possible rating, such as "
            f"[1, 5]; got {json.dumps(given):.200}; correct it"
        )
    return float(given[0]), float(given[1])


def ratings_pattern(part: str = "") -> str:
    """What a file with ratings is, by its path below the data folder: the one rule for all that read such a folder.

    Args:
      part: one of `data.splits.PARTS` where the ratings come divided.
    """
    return f"{part}/{RATINGS_PATTERN}" if part else RATINGS_PATTERN


def ratings_files(folder: pathlib.Path, part: str = "") -> list[str]:
    """The files with ratings, of a part or undivided, relative to the data folder, in the order of their names."""
    found = (path for path in folder.glob(ratings_pattern(part)) if path.is_file())  # a pipe would be waited for
    return sorted(path.relative_to(folder).as_posix() for path in found)


def table_files(folder: pathlib.Path) -> set[str]:
    """The files of a folder that would be read as tables, relative to it: ratings, and side tables above them."""
    ratings = {name for part in ("", *PARTS) for name in ratings_files(folder, part)}
    return ratings.union(name for name in _SIDE_FILES if (folder / name).exists())
