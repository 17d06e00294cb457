"""What may come of a case."""

from __future__ import annotations

import dataclasses
import enum


class Failure(Exception):
    """The product did what it must not; the message says what."""


class Verdict(enum.Enum):
    """What came of a case."""

    WHOLE = "ended whole"
    REFUSED = "refused in words"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a case, and in words, what was done and what happened."""

    verdict: Verdict
    words: str
