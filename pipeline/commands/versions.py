"""`movie-ranking versions`: the pushed versions, and which of them servers give to whom."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from modules.errors import UserError
from pipeline.commands import asked
from pipeline.commands.errors import check_address_space, usage_errors
from pipeline.commands.options import Path
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from pipeline.local.versions import Version
    from pipeline.serving.labels import Labels

VERSION = click.IntRange(min=0, max=2**63 - 1)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@asked.OUTPUT_OPTION
@click.pass_context
def versions(ctx: click.Context, as_json: bool, output: str) -> None:
    """List the pushed versions, the newest first, or label them.

    Servers give the version with the label stable to whoever names none, and the one with the label canary to a share
    of the users instead, always the same ones; without labels everybody gets the newest. A running server takes a
    change over by itself.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("expected --json for the list of versions; got it with a change; leave it out")
        return
    with usage_errors(OSError):
        check_address_space()
        # TFMA reads its files in a way that TensorFlow warns of.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        from pipeline.local import versions as pushed
        from pipeline.serving.labels import Labels

        listed = pushed.of_output(output, with_metrics=True)
        labels = Labels.read(pushed.folder_of(output))
    gone = {name: version for name, version in labels.labels.items() if not any(version == v.number for v in listed)}
    for name, version in gone.items():
        click.echo(f"note: label {name} is of version {version}, which is no longer there", err=True)
    if as_json:
        record = {
            "labels": dict(labels.labels),
            "canary_share": labels.canary_share,
            "history": list(labels.history),
            "versions": [version.as_record() for version in listed],
        }
        click.echo(json.dumps(record, indent=2))
    else:
        _show(listed)


def _change(output: str, changed: Callable[[Labels, list[int]], Labels]) -> None:
    """Changes the labels, and says what they are now."""
    with usage_errors(OSError):
        check_address_space()
        from pipeline.local import versions as pushed

        before, after = pushed.change(output, changed)
    for name in sorted(before.labels.keys() | after.labels.keys()):
        was, now = (labels.labels.get(name, "none") for labels in (before, after))
        share = f", for {after.canary_share:.4g} of the users" if name == "canary" and now != "none" else ""
        click.echo(f"{name}: {now}{share}" + (f" (before: {was})" if was != now else ""))


def _output_of_group() -> str:
    parent = click.get_current_context().parent
    return parent.params["output"] if parent else ""


# Before the name of the change or behind it.
_OUTPUT = click.option(
    "--output", type=Path(), default=_output_of_group, metavar="FOLDER", help="Output folder of the run that pushed."
)


@versions.command()
@click.argument("version", metavar="VERSION|LABEL")
@_OUTPUT
def promote(version: str, output: str) -> None:
    """Make a version the stable one, such as `canary`; nothing is canary any more."""

    def changed(labels: Labels, known: list[int]) -> Labels:
        if version.isascii() and version.isdigit():
            return labels.promoted(int(version), known)
        if version not in labels.labels:
            given = ", ".join(labels.labels) or "none"
            raise UserError(f"expected a version, or a label that one has: {given}; got {version!r}")
        return labels.promoted(labels.labels[version], known)

    _change(output, changed)


@versions.command()
@_OUTPUT
def rollback(output: str) -> None:
    """Make the version stable again that was it before; once more, the one before that."""
    _change(output, lambda labels, known: labels.rolled_back(known))


@versions.command()
@click.argument("name", metavar="NAME")
@click.argument("version", type=VERSION)
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Of canary: the share of the users who get it, 0 to 1.  [default: as before; 0.05 at first]",
)
@_OUTPUT
def label(name: str, version: int, share: float | None, output: str) -> None:
    """Give VERSION the label NAME, such as `canary`, by which requests may ask for it."""
    _change(output, lambda labels, known: labels.labelled(name, version, known, share))


@versions.command()
@click.argument("name", metavar="NAME")
@_OUTPUT
def unlabel(name: str, output: str) -> None:
    """Take the label NAME away; without a stable version, everybody gets the newest."""
    _change(output, lambda labels, known: labels.unlabelled(name))


def _show(listed: list[Version]) -> None:
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    from pipeline.local.observers import terminal

    headings = ("pushed\n(UTC)", "RMSE", "NDCG@10", "of\nlists", "files", "gets", "labels")
    table = Table(Column("version", no_wrap=True), *headings, box=box.SIMPLE_HEAD, pad_edge=False)
    for version in listed:
        cells: list[Any] = [
            str(version.number),
            (version.pushed_at or "").replace("T", "\n").rstrip("Z"),
            *("" if each is None else f"{each:.4f}" for each in (version.rmse, version.ndcg, version.list_ndcg)),
            {True: "good", False: "damaged", None: "unknown"}[version.intact],
            f"{100 * version.share:.4g} %" if version.share else "",
            printable(", ".join(version.labels)),
        ]
        table.add_row(*map(Text, cells))
    terminal().print(table)
