"""How long work tells how far it is, without knowing who is watching."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called with what is being done, how much of it is done, how much there is, and the unit of both, such as "rows".
Progress: TypeAlias = Callable[[str, int, int, str], None]


def silent(what: str, done: int, total: int, unit: str) -> None:
    """Tells nobody."""
