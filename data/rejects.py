"""Bad rows: what is said of a field that does not hold what it must, and where rows and values go that are left out."""

from __future__ import annotations

import csv
import dataclasses
import pathlib

from data.errors import RowError
from modules.normalization import normalize

# In a folder of its own, where a `*.csv` pattern over the data folder does not take it for ratings.
REJECTED_FILE = pathlib.PurePosixPath("rejected/rejected.csv")
# What rows are counted by: those of a text by the line they start on, those of Parquet, which has no lines, one by one.
LINE = "line"
ROW = "row"

# In an id, a title or another text of one; what is longer has rows within it, or was written to do harm.
MOST_CHARACTERS = 4096
_SHOWN_CHARACTERS = 120
# A spreadsheet takes a cell that begins with one of these for a formula; behind an apostrophe for what it is.
_FORMULAS = tuple("=+-@\t\r\n")
_IS_TEXT = "'"


class BadFieldError(ValueError):
    """A field does not hold what it must; the reader adds file and line.

    Attributes:
      value: what was found, ready for a message.
      expected: what should have been there.
      remedy: what to do about it; empty where nothing but leaving it out helps.
    """

    def __init__(self, value: str, expected: str, remedy: str = "") -> None:
        super().__init__(f"expected {expected}; got {value}")
        self.value, self.expected, self.remedy = value, expected, remedy


def shown(text: str) -> str:
    """The text quoted for a message, and cut where it is long."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def as_text(cell: str) -> str:
    """A cell that a spreadsheet takes for text: behind an apostrophe where it could be a formula, or begins with one.

    One apostrophe at the beginning is thus never part of the cell, and is taken off again to read it.
    """
    return _IS_TEXT + cell if cell.startswith((*_FORMULAS, _IS_TEXT)) else cell


def with_article(what: str) -> str:
    """`a title`, `an item_id`."""
    return f"{'an' if what[0] in 'aeio' else 'a'} {what}"


def spelled(text: str, what: str) -> str:
    """A text in its one spelling; see `normalize`, which takes a second for a long one of combining characters.

    Raises:
      BadFieldError: it is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadFieldError(shown(text), f"{with_article(what)} of at most {MOST_CHARACTERS:,} characters")
    return normalize(text)


def parse_text(text: str, what: str) -> str:
    """An id or a title in its one spelling; see `normalize`.

    Raises:
      BadFieldError: nothing is left, or it is too long.
    """
    normalized = spelled(text, what)
    if not normalized:
        raise BadFieldError(shown(text), f"{with_article(what)} that is not empty")
    return normalized


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejected:
    r"""One row that was dropped.

    Attributes:
      file: the file as the user knows it.
      line: physical line the row starts on, the first being 1; of what has no lines, number of the row.
      reason: what was expected and what was there.
      raw: the row's text; NUL and undecodable bytes as `\xNN`.
      unit: what is so counted, LINE or ROW.
    """

    file: str
    line: int
    reason: str
    raw: str
    unit: str = LINE


@dataclasses.dataclass(kw_only=True)
class Unread:
    """Values of one column that could not be read, and count as empty.

    Attributes:
      file: the file with the first one, as the user knows it.
      line: physical line its row starts on, or number of the row, the first being 1.
      problem: what is wrong with it.
      rows: how many rows have one.
      unit: what is so counted, LINE or ROW.
    """

    file: str
    line: int
    problem: BadFieldError
    rows: int = 0
    unit: str = LINE

    def __str__(self) -> str:
        return f"{self.rows:,} rows, the first {self.file}, {self.unit} {self.line}: {self.problem}"


class Rejects:
    """Bad rows of all files of one run, up to a limit.

    Attributes:
      max_rejected: how many are put up with.
      rows: those found so far.
    """

    def __init__(self, max_rejected: int = 0, remedy: str = "") -> None:
        """Starts without any.

        Args:
          max_rejected: how many are put up with.
          remedy: what to do about one too many; by default what its problem says, or the flag that puts up with more.
        """
        if max_rejected < 0:
            raise ValueError(f"max_rejected must be 0 or more; got {max_rejected}")
        self.max_rejected = max_rejected
        self.rows: list[Rejected] = []
        self._remedy = remedy

    def add(self, *, file: str, line: int, problem: BadFieldError, raw: str, unit: str = LINE) -> None:
        """Takes note of a bad row.

        Raises:
          RowError: it is one more than allowed.
        """
        if len(self.rows) >= self.max_rejected:
            raise RowError(
                file=file,
                line=line,
                value=problem.value,
                expected=problem.expected,
                remedy=self._remedy
                or problem.remedy
                or f"fix the row or raise --max-rejected (now {self.max_rejected})",
                max_rejected=self.max_rejected,
                unit=unit,
            )
        self.rows.append(Rejected(file=file, line=line, reason=str(problem), raw=raw, unit=unit))

    def write(self, path: pathlib.Path) -> None:
        """Writes file, line, reason and raw text of every bad row as CSV; the header says what rows are counted by.

        No cell is a formula to a spreadsheet: see `as_text`.
        """
        counted_by = " or ".join(sorted({row.unit for row in self.rows})) or LINE
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("file", counted_by, "reason", "raw"))
            writer.writerows((as_text(row.file), row.line, row.reason, as_text(row.raw)) for row in self.rows)
