"""`movie-ranking runs`, `report` and `lineage`: what past runs were, in ML Metadata and the artifacts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import asked
from pipeline.commands.errors import check_address_space, usage_errors
from pipeline.commands.options import Path, mlflow_option
from pipeline.exit_codes import ExitCode
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.local.past_runs import PastRun, PastRuns

_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
# What of a metric's change is shown.
_DECIMALS = 4


@contextlib.contextmanager
def _opened(output: str) -> Iterator[PastRuns]:
    """The runs of an output folder."""
    with usage_errors(OSError):
        check_address_space()
        # TFMA reads its files in a way that TensorFlow warns of.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        from pipeline.config import locations
        from pipeline.local.past_runs import PastRuns

        yield PastRuns(os.path.join(output, locations.METADATA_FILE))


def _output_of_group() -> str:
    parent = click.get_current_context().parent
    return parent.params["output"] if parent else ""


_OUTPUT = click.option(
    "--output", type=Path(), default=_output_of_group, metavar="FOLDER", help="Output folder of the runs."
)


@click.group(invoke_without_command=True)
@_JSON
@asked.OUTPUT_OPTION
@click.pass_context
def runs(ctx: click.Context, as_json: bool, output: str) -> None:
    """List the runs of an output folder, the newest first; show or compare some.

    A run is named by its ID, or by a beginning of it that no other run has.
    """
    if ctx.invoked_subcommand is not None:
        return
    with _opened(output) as past:
        listed = [_summary(past.metadata_path, each) for each in past.all()]
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    headings = ("run", "data", "preset", "RMSE", "NDCG@10", "verdict", "version")
    _print(
        headings,
        [
            (
                each["run_id"][:19],
                each["data"],
                each["preset"],
                _decimal(each["rmse"]),
                _decimal(each["list_ndcg"]),
                each["verdict"],
                each["version"] or "",
            )
            for each in listed
        ],
    )


@runs.command()
@click.argument("run_id", metavar="ID")
@_JSON
@_OUTPUT
def show(run_id: str, as_json: bool, output: str) -> None:
    """Show what a run was given, and what it came to."""
    with _opened(output) as past:
        from components import report_facts
        from pipeline.local import run_facts, run_report

        run = past.get(run_id)
        outcome = run_report.outcome_of(past.metadata_path, run)
        lineage = run_facts.lineage_of(past.metadata_path, run)
    steps = {name: {"state": each.state, "seconds": each.seconds} for name, each in run.components.items()}
    if as_json:
        record = {"run_id": run.run_id, "began": run.began.isoformat(), **outcome.as_record()}
        click.echo(json.dumps(record | {"components": steps, "lineage": lineage}, indent=2))
        return
    _say(report_facts.verdict(outcome), *outcome.reasons)
    _print(
        ("component", "state", "seconds"),
        [(name, each["state"], f"{each['seconds']:.1f}") for name, each in steps.items()],
    )
    _show_lineage(lineage)


@runs.command()
@click.argument("first", metavar="ID")
@click.argument("second", metavar="ID")
@_JSON
@_OUTPUT
def compare(first: str, second: str, as_json: bool, output: str) -> None:
    """Say what differs between two runs in data, code and configuration, and what it changed in metrics and slices."""
    with _opened(output) as past:
        from pipeline.local import comparison

        found = comparison.compare(past.metadata_path, past.get(first), past.get(second))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    if not found.differs:
        _say("data, code, configuration and versions are the same")
    for group, names in found.differs.items():
        _print(
            (group.lower(), "first", "second"), [(name, *(each or "" for each in both)) for name, both in names.items()]
        )
    rows = [(name, *_changed(both)) for name, both in found.metrics.items()]
    if rows:
        _print(("on all test ratings", "first", "second", "change"), rows)
    by_slice = [
        (slice_name, name, *_changed(both))
        for slice_name, metrics in found.slices.items()
        for name, both in metrics.items()
        if both[0] != both[1]
    ]
    if by_slice:
        _print(("slice", "metric", "first", "second", "change"), by_slice)


@runs.command()
@click.argument("run_id", metavar="[ID]", required=False)
@mlflow_option(required=True, help_text="Tracking server, or database, such as sqlite:///mlflow.db.")
@_OUTPUT
def track(run_id: str | None, tracking_uri: str, output: str) -> None:
    """Record a run in MLflow: parameters, metrics, report and model; without ID, the newest.

    A run that is recorded there already is brought up to date.
    """
    with _opened(output) as past:
        from pipeline.local import tracking
        from pipeline.local.capture import captured
        from pipeline.local.observers import terminal

        console, run = terminal(), past.get(run_id)
        waiting = (
            console.status(f"recording the run in {tracking_uri}") if console.is_terminal else contextlib.nullcontext()
        )
        try:
            with waiting, captured(os.path.join(output, "logs", "mlflow.log"), also_on_terminal=False):
                recorded = tracking.record(past.metadata_path, run, tracking_uri)
        except tracking.TrackingError as error:
            click.echo(printable(f"Error: not recorded in MLflow: {error}"), err=True)
            raise click.exceptions.Exit(ExitCode.FAILED) from error
    _say(f"recorded in MLflow: {recorded}")


@click.command()
@click.option("--run", "run_id", metavar="ID", help="The run, or a beginning of its ID.  [default: the newest]")
@click.option("--to", type=Path(), metavar="FILE", help="Where to write it.  [default: report.html in the output]")
@asked.OUTPUT_OPTION
def report(run_id: str | None, to: str | None, output: str) -> None:
    """Make the report of a run again, from ML Metadata and the artifacts alone."""
    with _opened(output) as past:
        from data import atomic
        from pipeline.local import run_report

        page = run_report.page_of(past.metadata_path, past.get(run_id))
        path = to or os.path.join(output, run_report.REPORT_FILE)
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        atomic.write_text(path, page)
    _say(path)


@click.command()
@click.argument("version", required=False, metavar="[VERSION]")
@_JSON
@asked.OUTPUT_OPTION
def lineage(version: str | None, as_json: bool, output: str) -> None:
    """Say which ratings, code, configuration and seed made a pushed version; without VERSION, the newest."""
    with _opened(output) as past:
        from pipeline.local import run_facts

        run, pushed = past.that_pushed(version)
        found = {
            "Version": {"folder": pushed.version, "digest": pushed.digest},
            **run_facts.lineage_of(past.metadata_path, run),
        }
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show_lineage(found)


def _summary(metadata_path: str, run: PastRun) -> dict[str, Any]:
    """A run in a line."""
    from modules.list_metrics import LIST_NDCG
    from modules.sliced_metrics import RMSE
    from pipeline.local import run_facts, run_report

    outcome = run_report.outcome_of(metadata_path, run)
    data = run_facts.settings(run, "RatingsExampleGen").get("input_base", "")
    plain = outcome.as_record()["metrics"]
    return {
        "run_id": run.run_id,
        "began": run.began.isoformat(),
        "data": data,
        "preset": run_facts.settings(run, "Trainer").get("preset"),
        "rmse": plain.get(RMSE),
        "list_ndcg": plain.get(LIST_NDCG),
        "exit_code": int(outcome.exit_code),
        "verdict": outcome.exit_code.name.lower().replace("_", " "),
        "version": os.path.basename(outcome.pushed_path) if outcome.pushed_path else None,
    }


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.{_DECIMALS}f}"


def _changed(both: tuple[float | None, float | None]) -> tuple[str, str, str]:
    """Both numbers, and by how much the second is larger."""
    change = "" if None in both else f"{both[1] - both[0]:+.{_DECIMALS}f}"  # type: ignore[operator]
    return _decimal(both[0]), _decimal(both[1]), change


def _show_lineage(groups: dict[str, dict[str, str]]) -> None:
    for group, values in groups.items():
        _print((group.lower(), ""), list(values.items()))


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(printable(line))


def _print(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from pipeline.local.observers import terminal

    terminal().print(_table(headings, rows))


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    first, *others = headings
    columns = (Column(first, no_wrap=True), *(Column(each, overflow="fold") for each in others))
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(str(each))) for each in row))
    return table
