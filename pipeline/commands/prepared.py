"""What came of preparing data, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from data.sidecar import Sidecar
    from data.sources import ReadAs
    from data.summary import Summary

# Of titles that several items share, and of reasons for rejection.
_TITLES_SHOWN = 20
_REASONS_SHOWN = 5
_BAR = 40


def show(summary: Summary, *, keep_items_apart: bool = False) -> None:
    """Prints a summary: what was read, how, and what is odd about it."""
    sidecar = summary.sidecar
    state = " (already there)" if summary.reused else "" if summary.written else " (dry run: nothing is written)"
    show_tables(sidecar, str(summary.folder), state, rows=summary.rows or sidecar.rows)
    dropped = f" + {sidecar.dropped:,} dropped" if sidecar.dropped else ""
    merged = sidecar.rows_read - sidecar.rejected - sidecar.dropped - (summary.rows or sidecar.rows)
    click.echo(
        f"{sidecar.rows_read:,} rows read = {summary.rows or sidecar.rows:,} kept + {merged:,} merged + "
        f"{sidecar.rejected:,} rejected{dropped}"
    )
    for expected, reason in list(summary.reasons.items())[:_REASONS_SHOWN]:
        click.echo(f"  rejected: {reason.rows:,} x {expected}, the first {reason.file}, line {reason.line}")
    if summary.rejected_elsewhere:
        click.echo(f"{summary.rejected_elsewhere:,} rows of the item and user files rejected, too")
    for each in summary.read_as:
        click.echo(f"{each.file}: {_how(each)}")
    for column, what in summary.unread.items():
        click.echo(f"{column}: left out of {what}")
    if summary.histogram:
        click.echo(f"{summary.density:.2%} of all pairs are rated; the scale is {summary.scale_is}; ratings:")
        _show_histogram(summary.histogram)
    if summary.counts:
        click.echo(f"these look like counts, not ratings: {summary.counts}; --implicit takes them for what they are")
    if summary.users_in_test_alone or summary.titles_in_test_alone:
        users, titles = summary.users_in_test_alone, summary.titles_in_test_alone
        click.echo(f"{users:,} users and {titles:,} titles are in the test part alone")
    if summary.pairs_in_both:
        what = "dropped from training" if sidecar.dropped else "kept, as published"
        click.echo(f"{summary.pairs_in_both:,} pairs of user and title are in both parts, {what}")
    for column, count in summary.contradictions.items():
        owners = "users" if column.startswith("user_") else "titles"
        click.echo(f"{column}: {count:,} {owners} say more than one thing; the first counts")
    for oddity in summary.oddities:
        click.echo(f"odd: {oddity.what}")
    _show_shared_titles(sidecar, keep_items_apart=keep_items_apart)


def show_tables(sidecar: Sidecar, folder: str, remark: str = "", *, rows: int | None = None) -> None:
    """Prints what a data folder holds."""
    low, high = sidecar.rating_scale
    rows = sidecar.rows if rows is None else rows
    click.echo(
        f"{rows:,} ratings from {low:g} to {high:g} by {sidecar.users:,} users of {sidecar.titles:,} titles "
        f"in {folder}{remark}"
    )
    if sidecar.files:
        click.echo(", ".join(f"{file.name}: {file.rows:,} rows" for file in sidecar.files))


def _how(read_as: ReadAs) -> str:
    """How a file was read, in words."""
    if read_as.kind != "text":
        told = f"read as {read_as.kind}"
    else:
        header = "" if read_as.header else ", without a header"
        told = f"read as {read_as.separator}-separated {read_as.encoding}{header}"
    packed = f", unpacked from {read_as.compression}" if read_as.compression else ""
    unused = f"; left out: {', '.join(read_as.unused)}" if read_as.unused else ""
    return told + packed + unused


def _show_histogram(counts: Mapping[str, int]) -> None:
    width = max(map(len, counts))
    for value, count in counts.items():
        share = count / sum(counts.values())
        bar = "█" * round(_BAR * count / max(counts.values()))
        click.echo(f"  {value:>{width}}  {share:>6.1%}  {bar}")


def _show_shared_titles(sidecar: Sidecar, *, keep_items_apart: bool) -> None:
    shared = sidecar.shared_titles
    if not shared:
        return
    what = "kept apart" if keep_items_apart else "taken for one film; data prepare --keep-items-apart parts them"
    click.echo(f"{len(shared):,} titles have several item ids, {what}:")
    for title, ids in list(shared.items())[:_TITLES_SHOWN]:
        click.echo(f"  {title}: {', '.join(ids)}")
    if len(shared) > _TITLES_SHOWN:
        click.echo(f"  and {len(shared) - _TITLES_SHOWN:,} more, all in ratings.json")
