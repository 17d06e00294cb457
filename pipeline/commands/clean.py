"""`movie-ranking clean`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from pipeline.commands.errors import alone_in, check_address_space, usage_errors
from pipeline.exit_codes import CLEAN_MEANINGS, ExitCode
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.local.cleaning import Plan

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in CLEAN_MEANINGS.items())


@click.command(epilog=EPILOG)
@click.option(
    "--keep", type=click.IntRange(min=1), required=True, metavar="N", help="Keep the newest N runs and versions."
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what is removed as JSON, sizes in bytes.")
@options.WAIT
@click.option(
    "--output",
    type=options.Path(),
    default="output",
    show_default=True,
    metavar="FOLDER",
    help="Output folder of the runs.",
)
def clean(keep: int, dry_run: bool, as_json: bool, wait: bool, output: str) -> ExitCode | None:
    """Remove results of old runs, and pushed versions, that nothing needs any more.

    What stays: all that the newest N runs made or took from the cache; the newest N pushed versions, and the newest
    that is whole; versions with a label; the newest blessed model, which the next one is compared with; and what
    last_run.json names. What a removed run made is made again where a later run needs it.
    """
    from rich.text import Text

    from pipeline.config import locations

    with usage_errors():
        check_address_space()
        folder = locations.absolute(output)
        from pipeline.local import cleaning
        from pipeline.local.observers import terminal

        cleaning.check_is_output(folder)
        with alone_in(folder, "clean", wait=wait):
            task = cleaning.Cleaning(folder, keep)
            plan = task.plan()
            if as_json:
                click.echo(json.dumps({"dry_run": dry_run} | plan.as_json(), indent=2))
            else:
                console = terminal()
                if plan.parts:
                    console.print(_table(plan))
                console.print(Text(_summary(plan, dry_run=dry_run)), soft_wrap=True)
            if dry_run:
                return None
            try:
                task.carry_out(plan)
            except cleaning.RemovalError as error:
                click.echo(printable(f"Error: {error}"), err=True)
                return ExitCode.FAILED
    return None


def _table(plan: Plan) -> Table:
    from rich.table import Table

    table = Table("to be removed", "runs, versions\nor leftovers", "MB", show_footer=True)
    table.columns[0].footer, table.columns[2].footer = "total", _megabytes(plan.size)
    for column in table.columns[1:]:
        column.justify = "right"
    for part in plan.parts:
        table.add_row(part.what, f"{part.count:,}", _megabytes(part.size))
    return table


def _summary(plan: Plan, *, dry_run: bool) -> str:
    stays = f"{_megabytes(plan.kept_size)} MB stay"
    if not plan.parts:
        return f"nothing is to be removed; {stays}"
    return f"{stays}; nothing is removed by --dry-run" if dry_run else f"{stays}; removing the rest"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
