"""How much one request, and all of them together, may take."""

from __future__ import annotations

import dataclasses
import re

from pipeline.serving.errors import invalid

# Strings, whose brackets do not count, and brackets. The end of the text ends a string, too, so that none is searched
# for its end more than once.
_BRACKETS = re.compile(rb'"(?:[^"\\]+|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the server.

    Attributes:
      body_bytes: of the body of a request.
      depth: of nested lists and objects in JSON.
      values: how many values a request holds, such as titles, all inputs together.
      under_way: requests that are being answered, or wait for it.
      seconds: until a request has to be answered.
      head_seconds: until a request has arrived, once it has begun; and a new connection has sent something.
      idle_seconds: until a connection is closed on which nothing is asked any more.
      drain_seconds: for what is under way when the server is told to stop.
    """

    body_bytes: int = 4 << 20
    depth: int = 16
    values: int = 20_000
    under_way: int = 128
    seconds: float = 10.0
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    drain_seconds: float = 30.0


def check_depth(text: bytes, most: int) -> None:
    """Refuses JSON that is nested too deeply, before anything parses it.

    Args:
      text: any bytes.
      most: how deep lists and objects may be nested.

    Raises:
      RequestError: they are nested deeper.
    """
    if text.count(b"[") + text.count(b"{") <= most:
        return
    depth = 0
    for found in _BRACKETS.finditer(text):
        match = found.group()
        if match in (b"[", b"{"):
            depth += 1
            if depth > most:
                raise invalid(f"JSON Parse error: expected lists and objects nested up to {most} deep; got more")
        elif match in (b"]", b"}"):
            depth -= 1
