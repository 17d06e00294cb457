"""Shows a row of tasks as they go: a line for each that ends, and how far the one that runs is."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.status import Status
from rich.text import Text

from modules import progress
from pipeline.local.observers import PROGRESS_INTERVAL_S, Observer


class TaskDisplay(Observer):
    """Shows tasks, and the components of a pipeline that runs within one; used as a context manager.

    On a terminal the last line says how far the running task is; elsewhere a line does, now and then.
    """

    def __init__(self, console: Console, tasks: int):
        """Nothing is shown yet.

        Args:
          console: where to; it has to stay the terminal while the output of tasks is captured.
          tasks: how many there are.
        """
        super().__init__()
        self._console, self._tasks = console, tasks
        self._number, self._name, self._last_line_at = 0, "", 0.0
        self._pace: progress.Pace | None = None
        self._all = ""
        self._status: Status | None = console.status("") if console.is_terminal else None
        self._handler = _Forward(self)

    def __enter__(self) -> TaskDisplay:
        logging.getLogger(progress.LOGGER_NAME).addHandler(self._handler)
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._status:
            self._status.stop()
        logging.getLogger(progress.LOGGER_NAME).removeHandler(self._handler)

    def prepare(self, name: str) -> None:
        """Something begins that the tasks need and that is none of them."""
        self._name, self._last_line_at = name, time.monotonic()
        self.progress("")

    def skip(self, tasks: int) -> None:
        """So many tasks were done before."""
        self._number += tasks

    def start(self, name: str) -> None:
        """A task begins."""
        self._pace = self._pace or progress.Pace("tasks", done=self._number)
        self._number += 1
        self._name, self._last_line_at = name, time.monotonic()
        self.progress("")

    def end(self, text: str, *, taken: bool = False) -> None:
        """The task that runs is done.

        Args:
          text: what it came to.
          taken: it was done before, and says nothing of how long others take.
        """
        if self._pace and taken:
            self._pace.skip(1)
        elif self._pace:
            self._all = self._pace.after(self._number, self._tasks)
        self._console.print(Text(f"[{self._number}/{self._tasks}] {self._name}: {text}"), soft_wrap=True)

    def progress(self, text: str) -> None:
        """The task that runs reports how far it is."""
        line = f"[{self._number}/{self._tasks}] {self._name}" + (f": {text}" if text else "")
        line += f"; all tasks: {self._all}" if self._all else ""
        if self._status:
            self._status.update(Text(line))
        elif text and time.monotonic() - self._last_line_at >= PROGRESS_INTERVAL_S:
            self._last_line_at = time.monotonic()
            self._console.print(Text(line), soft_wrap=True)

    def component_started(self, component: str) -> None:
        """Shows which component of a pipeline runs."""
        self.progress(component)


class _Forward(logging.Handler):
    """Passes progress of models on to a display."""

    def __init__(self, display: TaskDisplay):
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.progress(record.getMessage())
