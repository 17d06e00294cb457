"""Shows a run as it goes: live on a terminal, a line a component elsewhere."""

from __future__ import annotations

import os
import time

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

RUNNING, WAITING = "running", "waiting"
PROGRESS_INTERVAL_S = 5.0
STYLES = {"done": "green", "cached": "cyan", "skipped": "dim", "failed": "bold red", RUNNING: "yellow", WAITING: "dim"}


def terminal() -> Console:
    """A console on a copy of standard output, which stays the terminal while a component's output is captured."""
    return _Terminal(file=os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1))


class _Terminal(Console):
    """Goes on in silence once nobody reads any more, as behind `| head`: that ends no run."""

    def on_broken_pipe(self) -> None:
        """Stops showing, and drops what is still to be written."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


class Observer:
    """Watches a run and remembers how each component ended; the base of those that also show it.

    Attributes:
      ended: state and seconds of each component that ended.
    """

    def __init__(self) -> None:
        """Nothing has ended yet."""
        self.ended: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *details: object) -> None:
        """Stops showing."""

    def run_started(self, components: list[str]) -> None:
        """All components, in the order in which they will run."""

    def component_started(self, component: str) -> None:
        """A component begins."""

    def component_progress(self, component: str, text: str) -> None:
        """A component reports how far it is."""

    def component_ended(self, component: str, state: str, seconds: float) -> None:
        """A component is done, cached, skipped or failed."""
        self.ended[component] = (state, seconds)


class PlainObserver(Observer):
    """Prints a line when a component ends, and now and then one on how far a long one is."""

    def __init__(self, console: Console):
        """Prints to `console`."""
        super().__init__()
        self._console = console
        self._last_line_at = 0.0

    def component_started(self, component: str) -> None:
        """Starts the clock of the progress lines."""
        self._last_line_at = time.monotonic()

    def component_progress(self, component: str, text: str) -> None:
        """Prints a progress text, at most one in five seconds."""
        if time.monotonic() - self._last_line_at >= PROGRESS_INTERVAL_S:
            self._last_line_at = time.monotonic()
            self._console.print(Text(f"  {component}: {text}"))

    def component_ended(self, component: str, state: str, seconds: float) -> None:
        """Prints the component's line."""
        super().component_ended(component, state, seconds)
        self._console.print(f"{component:<20} {state:<8} {seconds:6.1f} s", highlight=False, style=STYLES[state])


class LiveObserver(Observer):
    """Keeps a table of all components up to date on the terminal."""

    def __init__(self, console: Console):
        """Draws on `console`."""
        super().__init__()
        self._rows: dict[str, tuple[str, float, str]] = {}
        self._began = 0.0
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, redirect_stdout=False)

    def __enter__(self) -> LiveObserver:
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.refresh()
        self._live.__exit__(*details)  # type: ignore[arg-type]

    def run_started(self, components: list[str]) -> None:
        """Lists the components as waiting."""
        self._rows = dict.fromkeys(components, (WAITING, 0.0, ""))

    def component_started(self, component: str) -> None:
        """Marks the component as running, and starts its clock."""
        self._began = time.perf_counter()
        self._rows[component] = (RUNNING, 0.0, "")

    def component_progress(self, component: str, text: str) -> None:
        """Shows the text beside the component."""
        self._rows[component] = (RUNNING, 0.0, text)

    def component_ended(self, component: str, state: str, seconds: float) -> None:
        """Marks how it ended."""
        super().component_ended(component, state, seconds)
        self._rows[component] = (state, seconds, "")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for component, (state, seconds, text) in list(self._rows.items()):
            shown = time.perf_counter() - self._began if state == RUNNING else seconds
            clock = "" if state in (WAITING, "skipped") else f"{shown:.1f} s"
            table.add_row(component, Text(state, style=STYLES[state]), clock, Text(text))
        return table
