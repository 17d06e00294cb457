"""Row checks: what a field must hold, and where the rows go that hold something else."""

from __future__ import annotations

import csv
import dataclasses
import math
import pathlib
import re

from data.errors import RowError
from modules.features import Column

# In a folder of its own, where a `*.csv` pattern over the data folder does not take it for ratings.
REJECTED_FILE = pathlib.PurePosixPath("rejected/rejected.csv")
REJECTED_HEADER = ("file", "line", "reason", "raw")

# What an integer looks like once `BLANKS` are trimmed; the vectorised check uses the same expression.
INTEGER_PATTERN = "-?[0-9]{1,18}"
BLANKS = " \t"
_INTEGER = re.compile(INTEGER_PATTERN)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")
_SHOWN_CHARACTERS = 120
_FLOAT32_MAX = 3.4e38  # ratings are kept as float32; false for NaN, too


class BadFieldError(ValueError):
    """A field does not hold what it must; the reader adds file and line.

    Attributes:
      value: what was found, ready for a message.
      expected: what should have been there.
    """

    def __init__(self, value: str, expected: str) -> None:
        super().__init__(f"expected {expected}; got {value}")
        self.value, self.expected = value, expected


def shown(text: str) -> str:
    """The text quoted for a message, and cut where it is long."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def _with_article(what: str) -> str:
    return f"{'an' if what[0] in 'aeio' else 'a'} {what}"


def parse_text(text: str, what: str) -> str:
    """An id or a title: stripped, with line breaks inside turned into one blank, since a row must stay one line.

    Raises:
      BadFieldError: nothing is left.
    """
    stripped = tidy(text)
    if not stripped:
        raise BadFieldError(shown(text), f"{_with_article(what)} that is not empty")
    return stripped


def tidy(text: str) -> str:
    """Stripped, with every line break turned into one blank."""
    return _LINE_BREAKS.sub(" ", text.strip())


def parse_rating(text: str, scale: tuple[float, float] | None) -> float:
    """A finite decimal number, on the scale where there is one.

    Raises:
      BadFieldError: it is neither.
    """
    stripped = text.strip(BLANKS)
    value = float(stripped) if _NUMBER.fullmatch(stripped) else math.nan
    if not abs(value) <= _FLOAT32_MAX:
        raise BadFieldError(shown(text), "a rating that is a number")
    if scale is not None and not scale[0] <= value <= scale[1]:
        raise BadFieldError(shown(text), f"a rating in [{scale[0]:g}, {scale[1]:g}]")
    return value


def parse_integer(text: str, column: Column) -> int | None:
    """A value of an integer column, of at most 18 digits and within its bounds; None where the field is empty.

    Raises:
      BadFieldError: it is something else.
    """
    stripped = text.strip(BLANKS)
    if not stripped:
        return None
    if not _INTEGER.fullmatch(stripped):
        raise BadFieldError(shown(text), f"{_with_article(column.name)} that is an integer")
    value = int(stripped)
    if not in_bounds(value, column):
        bounds = f"of at least {column.low}" if column.high is None else f"in [{column.low}, {column.high}]"
        raise BadFieldError(shown(text), f"{_with_article(column.name)} {bounds}")
    return value


def in_bounds(value: int, column: Column) -> bool:
    """Whether the column may hold the value."""
    return (column.low is None or column.low <= value) and (column.high is None or value <= column.high)


def parse_cell(text: str, column: Column) -> str | int | None:
    """A value of a column that describes a user or a title; None where the field is empty.

    Raises:
      BadFieldError: it is none of the column's, or a required one is empty.
    """
    if column.dtype == "int":
        return parse_integer(text, column)
    return parse_text(text, column.name) if column.required else tidy(text) or None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejected:
    r"""One row that was dropped.

    Attributes:
      file: the file as the user knows it.
      line: physical line the row starts on, the first being 1.
      reason: what was expected and what was there.
      raw: the row's text; NUL and undecodable bytes as `\xNN`.
    """

    file: str
    line: int
    reason: str
    raw: str


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
          remedy: what to do about one too many; by default the flag that puts up with more.
        """
        if max_rejected < 0:
            raise ValueError(f"max_rejected must be 0 or more; got {max_rejected}")
        self.max_rejected = max_rejected
        self.rows: list[Rejected] = []
        self._remedy = remedy or f"fix the row or raise --max-rejected (now {max_rejected})"

    def add(self, *, file: str, line: int, problem: BadFieldError, raw: str) -> None:
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
                remedy=self._remedy,
                max_rejected=self.max_rejected,
            )
        self.rows.append(Rejected(file=file, line=line, reason=str(problem), raw=raw))

    def write(self, path: pathlib.Path) -> None:
        """Writes file, line, reason and raw text of every bad row as CSV."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(REJECTED_HEADER)
            writer.writerows((row.file, row.line, row.reason, row.raw) for row in self.rows)
