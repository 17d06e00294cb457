"""The scale that ratings are on: known, or found in the ratings, where it must not rest on a handful of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError

# A handful is one row of a thousand, one at least and ten at most; of fewer rows than this, nothing is told.
_HANDFUL_OF = 1000
_HANDFUL_AT_MOST = 10
_ROWS_AT_LEAST = 20
_ROWS_SHOWN = 5
_VALUES_AT_MOST = 10_000
_CHUNK_ROWS = 1 << 18


@dataclasses.dataclass(frozen=True)
class Scale:
    """Lowest and highest rating that are possible.

    Attributes:
      low: the lowest.
      high: the highest.
      core: where the scale rests on a handful of rows, what it is without them; the rows are off it.
    """

    low: float
    high: float
    core: tuple[float, float] | None = None


def settle(parts: Sequence[np.ndarray], candidates: Sequence[tuple[float, float]] = ()) -> Scale:
    """Finds the scale of ratings: the first candidate that holds all of them, else from the lowest to the highest.

    A scale rests on a handful of rows if, without these rows at either end, a candidate holds the rest that did not
    hold all; or if, without candidates, their range is less than a third of the whole, as it is of 1 to 5 with a
    500 among them. The rule knows no unit. It is silent on fewer than 20 rows, and where the rest is all the same.
    A scale of which most of the range is common, such as whole or half stars, 0 to 10, 0 to 100, or any uniform
    numbers, does not lose two thirds of it with a thousandth of its rows.

    Args:
      parts: float32 arrays of all ratings.
      candidates: scales that these ratings may be on, the likeliest first.

    Raises:
      DataError: all ratings are the same, which gives no scale.
    """
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    core = _core(parts)
    for candidate in candidates:
        if candidate[0] <= low and high <= candidate[1]:
            return Scale(*candidate)
        if core is not None and candidate[0] <= core[0] and core[1] <= candidate[1]:
            return Scale(float(decimal(low)), float(decimal(high)), candidate)
    if low == high:
        raise DataError(
            f"expected ratings that differ; got {decimal(low)} alone, which leaves nothing to learn of how much was "
            "liked; give --implicit where each row says that something was bought, played or seen, or --scale LOW HIGH "
            "where these are ratings"
        )
    if core is not None and not core[1] - core[0] < (high - low) / 3:
        core = None
    return Scale(float(decimal(low)), float(decimal(high)), core)


def _core(parts: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """Lowest and highest rating without a handful at the end that reaches farther; None where that is all the same.

    The rows of a handful may be at one end or at both; the shorter of the ranges counts.
    """
    rows = sum(map(len, parts))
    handful = max(1, min(_HANDFUL_AT_MOST, rows // _HANDFUL_OF))
    if rows < _ROWS_AT_LEAST + handful:
        return None
    # As many as a handful and one more at either end tell where each core can begin and end.
    lowest = np.sort(np.concatenate([_smallest(part, handful + 1) for part in parts]))[: handful + 1]
    highest = -np.sort(np.concatenate([_smallest(-part, handful + 1) for part in parts]))[: handful + 1]
    cut = min(range(handful + 1), key=lambda below: highest[handful - below] - lowest[below])
    low, high = lowest[cut], highest[handful - cut]
    return _around(low, high) if low < high else None


def _around(low: float, high: float) -> tuple[float, float]:
    """Bounds for what was written, where these are the lowest and the highest of what float32 made of it."""
    return _bound(low, -np.inf), _bound(high, np.inf)


def _bound(end: float, outside: float) -> float:
    # More than six digits may have been rounded; then the next float32 outside holds what was written.
    rounded = np.float32(f"{end:.6g}") != np.float32(end)
    return float(decimal(np.nextafter(np.float32(end), np.float32(outside)) if rounded else end))


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    return values if len(values) <= count else np.partition(values, count - 1)[:count]


def tally(parts: Sequence[np.ndarray]) -> dict[float, int]:
    """How often each rating occurs, in ascending order; empty where there are more than 10,000 different ones.

    Args:
      parts: float32 arrays of all ratings.
    """
    times: dict[float, int] = {}
    for part in parts:
        for start in range(0, len(part), _CHUNK_ROWS):
            counted = pc.value_counts(pa.array(part[start : start + _CHUNK_ROWS]))
            for value, count in zip(*(field.to_numpy().tolist() for field in counted.flatten()), strict=True):
                times[value] = times.get(value, 0) + count
            if len(times) > _VALUES_AT_MOST:
                return {}
    return dict(sorted(times.items()))


def refusal(scale: Scale, rows: Sequence[str], counts: str | None) -> str:
    """The message that refuses a scale which rests on a handful of rows.

    Args:
      scale: one with a core.
      rows: the rows off the core, as file, line and text.
      counts: why the ratings look like counts, where they do.
    """
    if scale.core is None:
        raise ValueError("expected a scale that rests on a handful of rows; got one that does not")
    low, high = map(decimal, scale.core)
    lowest, highest = map(decimal, _around(scale.low, scale.high))
    more = f"; and {len(rows) - _ROWS_SHOWN} more" if len(rows) > _ROWS_SHOWN else ""
    implicit = f"; where these are counts ({counts}), give --implicit" if counts else ""
    return (
        f"expected a scale that most ratings show; got ratings from {low} to {high}, and {len(rows)} off it: "
        f"{'; '.join(rows[:_ROWS_SHOWN])}{more}; mend them, or drop them with --scale {low} {high} --max-rejected "
        f"{len(rows)}, or keep them with --scale {lowest} {highest}{implicit}"
    )


def decimal(value: float | np.floating) -> str:
    """The shortest decimal that reads back as the same float32, without exponent and without `.0`."""
    return np.format_float_positional(np.float32(value), unique=True, trim="-")
