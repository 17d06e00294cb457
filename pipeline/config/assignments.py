"""Texts such as `trainer.seed=7`, as options take them."""

from __future__ import annotations

from collections.abc import Iterable

from modules.errors import UserError


def split(assignments: Iterable[str], *, example: str) -> dict[str, str]:
    """What stands right of the first `=` of each text, by what stands left of it; the last one of a key holds.

    Args:
      assignments: the texts.
      example: of one, for the message.

    Raises:
      UserError: a text has no `=`, or nothing before it.
    """
    values = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise UserError(f"expected KEY=VALUE, such as {example}; got {assignment!r}")
        values[key] = value
    return values
