"""Collects what components have to tell beside their verdicts."""

from __future__ import annotations

import logging

from modules import notes


class Notes(logging.Handler):
    """Keeps the notes that are taken while a `with` block runs.

    Attributes:
      lines: each once, in the order in which they were taken.
    """

    def __init__(self) -> None:
        """Nothing was told yet."""
        super().__init__()
        self.lines: list[str] = []
        self._logger = logging.getLogger(notes.LOGGER_NAME)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a note."""
        if record.getMessage() not in self.lines:
            self.lines.append(record.getMessage())

    def __enter__(self) -> Notes:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
