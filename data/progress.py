"""How long work tells how far it is, without knowing who is watching."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called with what is being done, how much of it is done, and how much there is; the unit is the caller's own.
Progress: TypeAlias = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""
