"""Progress of data commands on the terminal, and their errors as messages."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from modules.progress import Pace
from pipeline.commands.errors import usage_errors
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from data.progress import Progress

_SECONDS_BETWEEN_LINES = 5.0


@contextlib.contextmanager
def reported() -> Iterator[Progress]:
    """Shows progress on standard error, and turns what the user can mend into a message with exit code 2."""
    with usage_errors(OSError), _bar() if sys.stderr.isatty() else _lines() as progress:
        yield progress


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    fields = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    with Bars(*fields, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, tuple[TaskID, Pace]] = {}

        def show(what: str, done: int, total: int, unit: str) -> None:
            what = printable(what)
            if what not in tasks:
                tasks[what] = bars.add_task(what, pace=""), Pace(unit, done=done)
            task, pace = tasks[what]
            bars.update(task, completed=done, total=total, pace=pace.after(done, total))

        yield show


@contextlib.contextmanager
def _lines() -> Iterator[Progress]:
    """A line now and then, for logs: none where work is short."""
    last = time.monotonic()
    paces: dict[str, Pace] = {}

    def show(what: str, done: int, total: int, unit: str) -> None:
        nonlocal last
        pace = paces.setdefault(what, Pace(unit, done=done))
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            said = (f"{100 * done / max(total, 1):.0f} %", pace.after(done, total))
            click.echo(f"{printable(what)}: {', '.join(filter(None, said))}", err=True)

    yield show
