"""What goes wrong with data: every error here is about the input, and says what to do about it."""

from __future__ import annotations

from modules.errors import UserError


class DataError(UserError):
    """The data cannot be used as they are."""


class LayoutError(DataError):
    """A folder, an archive or a header is none of the accepted layouts."""


class ChecksumError(DataError):
    """Bytes are not the ones they should be."""


class FetchError(DataError):
    """No source delivered the data."""


class RowError(DataError):
    """A row is bad, and no more bad rows are allowed.

    Attributes:
      file: the file as the user knows it.
      line: physical line the row starts on, the first being 1; of what has no lines, number of the row.
      unit: what is so counted, "line" or "row".
      value: what the field holds.
      expected: what it should hold.
      remedy: what to do about it.
      max_rejected: bad rows that were put up with before this one.
    """

    def __init__(
        self,
        *,
        file: str,
        line: int,
        value: str,
        expected: str,
        remedy: str,
        max_rejected: int = 0,
        unit: str = "line",
    ) -> None:
        many = f"more than {max_rejected} bad rows; the next: " if max_rejected else ""
        super().__init__(f"{many}{file}, {unit} {line}: expected {expected}; got {value}; {remedy}")
        self.file, self.line, self.value, self.expected = file, line, value, expected
        self.remedy, self.max_rejected, self.unit = remedy, max_rejected, unit
