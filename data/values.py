"""What the cells of a column may hold: ratings and integers, read one by one, and timestamps, all at once, too."""

from __future__ import annotations

import bisect
import datetime
import decimal
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.rejects import BadFieldError, parse_text, shown, spelled, with_article
from modules.features import FLOAT32_MAX, RELEASE_YEAR, TIMESTAMP, USER_RATING, Column

_BLANKS = " \t"
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_INTEGERS_BELOW = 10**18

# A date, or a date and a time of day, and the zone; of dates that are none, 29 February alone is left to be refused.
_ISO_8601 = (
    r"(?P<local>[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9])|(?:0[13-9]|1[0-2])-30|(?:0[13578]|1[02])-31)"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?)?)"
    r"(?P<zone>Z| ?UTC|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
)
_MOMENT = re.compile(_ISO_8601)
_TO_SECONDS = len("1970-01-01 00:00:00")
_EPOCH = datetime.datetime(1970, 1, 1)

# A number from each of these on is in the next smaller unit: milli-, micro-, nanoseconds.
_UNITS_FROM = [10**11, 10**14, 10**17]
_PER_SECOND = [1, 10**3, 10**6, 10**9]
_NUMBERS_BELOW = 2**63
# What the first bound leaves for seconds: the years up to 5138. What is written must be read as seconds again.
_SECONDS_BELOW = _UNITS_FROM[0]
# Numbers without sign and exponent that are below the bound by their digits.
_PLAIN_NUMBER = r"(?P<whole>[1-8]?[0-9]{1,18})(?:\.[0-9]*)?"


def parse_rating(text: str, scale: tuple[float, float] | None, *, decimal_comma: bool = False) -> float:
    """A finite decimal number, on the scale where there is one.

    Args:
      text: the cell.
      scale: lowest and highest possible rating.
      decimal_comma: `3,5` is 3.5, too.

    Raises:
      BadFieldError: it is neither.
    """
    with_point = text.strip(_BLANKS).replace(",", ".")
    value = float(with_point) if _NUMBER.fullmatch(with_point) else math.nan
    if not abs(value) <= FLOAT32_MAX:  # NaN, too
        raise BadFieldError(shown(text), f"a {USER_RATING.name} that is a number")
    if "," in text and not decimal_comma:
        raise BadFieldError(
            shown(text),
            f"a {USER_RATING.name} with a decimal point",
            "write a point, or separate the fields by another character than the comma: then decimal commas are read",
        )
    if scale is not None and not scale[0] <= value <= scale[1]:
        raise BadFieldError(
            shown(text),
            f"a {USER_RATING.name} in [{scale[0]:g}, {scale[1]:g}]",
            "fix the row, or say which ratings are possible with --scale LOW HIGH",
        )
    return value


class RatingParser:
    """Makes ratings of the cells of one file, in which one decimal mark is used: that of the first that has one.

    Attributes:
      mark: that mark; empty so far.
    """

    def __init__(self, scale: tuple[float, float] | None, *, decimal_comma: bool) -> None:
        """Starts before the first row; see `parse_rating` for the arguments."""
        self._scale, self._decimal_comma, self.mark = scale, decimal_comma, ""

    def __call__(self, text: str) -> float:
        """See `parse_rating`; called in the order of rows."""
        value = parse_rating(text, self._scale, decimal_comma=self._decimal_comma)
        mark = "".join(character for character in text if character in ".,")
        if mark and self.mark and mark != self.mark:
            raise BadFieldError(
                shown(text), f"a {USER_RATING.name} with the decimal mark `{self.mark}` of the rows before"
            )
        self.mark = self.mark or mark
        return value


def parse_integer(text: str, column: Column) -> int | None:
    """A value of an integer column, below 10^18 and within its bounds; None where the field is empty.

    Any decimal number is read whose value is whole: `25`, `25.0`, `2.5e1`; as a year of release, an ISO 8601 date, too.

    Raises:
      BadFieldError: it is something else.
    """
    stripped = text.strip(_BLANKS)
    if not stripped:
        return None
    if column.name == RELEASE_YEAR.name and _MOMENT.fullmatch(stripped):
        stripped = stripped[:4]
    number = decimal.Decimal(stripped) if _NUMBER.fullmatch(stripped) else decimal.Decimal("NaN")
    if not number.is_finite() or abs(number) >= _INTEGERS_BELOW or number != number.to_integral_value():
        raise BadFieldError(shown(text), f"{with_article(column.name)} that is an integer")
    if not in_bounds(int(number), column):
        bounds = f"of at least {column.low}" if column.high is None else f"in [{column.low}, {column.high}]"
        raise BadFieldError(shown(text), f"{with_article(column.name)} {bounds}")
    return int(number)


def in_bounds(value: int, column: Column) -> bool:
    """Whether the column may hold the value."""
    return (column.low is None or column.low <= value) and (column.high is None or value <= column.high)


def parse_cell(text: str, column: Column) -> str | int | None:
    """A value of a column that describes a user or a title; None where the field is empty.

    Raises:
      BadFieldError: it is none of the column's, or too long, or a required one is empty.
    """
    if column.dtype == "int":
        return parse_integer(text, column)
    return parse_text(text, column.name) if column.required else spelled(text, column.name) or None


def parse_timestamp(text: str) -> int | None:
    """Seconds since 1970-01-01 UTC, rounded down, 0 or more and below 10^11; None where the field is empty.

    Read are decimal numbers, by their size as seconds or, from 10^11, 10^14 and 10^17 on, as milli-, micro- and
    nanoseconds; and ISO 8601 dates, with or without a time of day and a zone, in UTC where none is named:
    `2005-09-06`, `2005-09-06T12:00:00Z`, `2005-09-06 12:00:00.5+02:00`.

    Raises:
      BadFieldError: it is something else.
    """
    stripped = text.strip(_BLANKS)
    if not stripped:
        return None
    if _NUMBER.fullmatch(stripped):
        seconds = _seconds_of_number(decimal.Decimal(stripped))
    else:
        seconds = _seconds_of_moment(stripped)
    if seconds is None:
        raise BadFieldError(shown(text), f"a {TIMESTAMP.name} in seconds since 1970, or a date as in ISO 8601")
    if not 0 <= seconds < _SECONDS_BELOW:
        raise BadFieldError(shown(text), f"a {TIMESTAMP.name} from 1970 on and before 5138")
    return seconds


def _seconds_of_number(number: decimal.Decimal) -> int | None:
    if abs(number) >= _NUMBERS_BELOW:
        return None
    whole = math.floor(number)
    return whole // _PER_SECOND[bisect.bisect(_UNITS_FROM, whole)]


def _seconds_of_moment(text: str) -> int | None:
    match = _MOMENT.fullmatch(text)
    try:
        local = datetime.datetime.fromisoformat(match["local"][:_TO_SECONDS]) if match else None
    except ValueError:  # a leap day of another year
        return None
    if match is None or local is None:
        return None
    return (local - _EPOCH) // datetime.timedelta(seconds=1) - _offset(match["zone"])


def _offset(zone: str | None) -> int:
    """Seconds by which the time of a zone is ahead of UTC."""
    if not zone or zone[0] not in "+-":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[3:].lstrip(":") or 0) * 60
    return -seconds if zone[0] == "-" else seconds


def parse_timestamps(cells: pa.StringArray, missing: int) -> pa.Int64Array:
    """What `parse_timestamp` makes of many cells, `missing` of empty ones; null where only that can judge.

    What is left to it are what cannot be read, and what nearly no file has: exponents and signs.
    """
    trimmed = pc.utf8_trim(cells, characters=_BLANKS)
    seconds = _seconds_of_plain_numbers(trimmed)
    if seconds.null_count:
        seconds = pc.if_else(pc.equal(trimmed, ""), missing, seconds)
    if seconds.null_count:
        seconds = pc.coalesce(seconds, _seconds_of_moments(trimmed))
    return seconds


def _seconds_of_plain_numbers(cells: pa.StringArray) -> pa.Int64Array:
    """Null for other cells."""
    (whole,) = pc.extract_regex(cells, f"^{_PLAIN_NUMBER}$").flatten()
    numbers = whole.cast(pa.int64())
    values = numbers.fill_null(0).to_numpy()
    per_second = np.array(_PER_SECOND)[np.searchsorted(_UNITS_FROM, values, side="right")]
    return pa.array(values // per_second, mask=numbers.is_null().to_numpy(zero_copy_only=False))


def _seconds_of_moments(cells: pa.StringArray) -> pa.Int64Array:
    """Null for other cells, and for all where one names a leap day of another year."""
    local, zone = pc.extract_regex(cells, f"^{_ISO_8601}$").flatten()
    try:
        seconds = pc.utf8_slice_codeunits(local, 0, _TO_SECONDS).cast(pa.timestamp("s")).cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.nulls(len(cells), pa.int64())
    zones = zone.dictionary_encode()
    offsets = pa.array([_offset(each) for each in zones.dictionary.to_pylist()], pa.int64())
    seconds = pc.subtract(seconds, offsets.take(zones.indices))
    good = pc.and_(pc.greater_equal(seconds, 0), pc.less(seconds, _SECONDS_BELOW))
    return pc.if_else(good, seconds, None)
