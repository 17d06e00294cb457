"""Numbers as reports write them."""

from __future__ import annotations

import math

# Where there is no number.
NONE = "–"


def decimal(value: float | None, decimals: int = 4) -> str:
    """A number with its thousands separated; a dash where there is none."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def count(value: float | None) -> str:
    """A whole number with its thousands separated."""
    return decimal(value, 0)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share, 0 to 1, in percent."""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.{decimals}f} %"
