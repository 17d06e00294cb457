"""What the server writes: one JSON object a line."""

from __future__ import annotations

import datetime
import json
import threading
from typing import Any, TextIO


class Journal:
    """A file of JSON lines that several threads write to.

    What cannot be written, such as to a full disk, is left out and counted; the server answers on.

    Attributes:
      lost: lines that could not be written.
    """

    def __init__(self, file: TextIO) -> None:
        """Takes an open file, which stays open."""
        self._file = file
        self._lock = threading.Lock()
        self.lost = 0

    def write(self, event: str, **fields: Any) -> None:
        """Writes a line.

        Args:
          event: what happened, such as "request".
          fields: more to say; None is left out.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        given = {name: value for name, value in fields.items() if value is not None}
        line = json.dumps({"time": now, "event": event, **given})
        with self._lock:
            try:
                self._file.write(line + "\n")
                self._file.flush()
            except (OSError, ValueError):
                # ValueError: the file was closed, as standard error is at exit.
                self.lost += 1
