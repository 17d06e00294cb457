"""`ratings.json`, the record beside `ratings.csv`: what the ratings are, and the checksum of the complete file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib

from data.errors import DataError

RATINGS_FILE = "ratings.csv"
SIDECAR_FILE = "ratings.json"
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Facts about the ratings of a data folder.

    Attributes:
      rating_scale: lowest and highest rating that are possible, stars.
      rows: ratings in the folder, all `files` together.
      users: distinct user ids among them.
      titles: distinct titles among them.
      columns: the header of `ratings.csv`.
      rows_read: ratings in the source, before bad ones were dropped and repeated ones merged.
      rejected: ratings dropped as bad.
      source: where they come from, for people.
      sha256: hexadecimal digest of the bytes of all `files`, one after the other.
      files: the ratings files, relative to the folder; more than one where the source publishes a split.
      noise_floor: the lowest RMSE that any predictor can have on these ratings, where it is known.
    """

    rating_scale: tuple[float, float]
    rows: int
    users: int
    titles: int
    columns: tuple[str, ...]
    rows_read: int
    rejected: int
    source: str
    sha256: str
    files: tuple[str, ...] = (RATINGS_FILE,)
    noise_floor: float | None = None

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
            for name in ("rating_scale", "columns", "files"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise DataError(f"expected {path} to hold the fields of a sidecar; got: {error}; {remedy}") from error

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes `ratings.json` in one step: readers see the old one or the new one, never a part."""
        path = pathlib.Path(folder) / SIDECAR_FILE
        partial = path.with_name(f".{SIDECAR_FILE}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def matches(self, folder: str | os.PathLike[str]) -> bool:
        """Whether the ratings files in the folder are complete: their bytes have the recorded checksum."""
        try:
            return digest(folder, self.files) == self.sha256
        except FileNotFoundError:
            return False


def digest(folder: str | os.PathLike[str], files: tuple[str, ...]) -> str:
    """Hexadecimal SHA-256 of the bytes of the files, one after the other."""
    checksum = hashlib.sha256()
    for name in files:
        with (pathlib.Path(folder) / name).open("rb") as file:
            while block := file.read(_BLOCK):
                checksum.update(block)
    return checksum.hexdigest()
