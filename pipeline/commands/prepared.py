"""What came of preparing data, on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from pipeline.local.printable import printable

if TYPE_CHECKING:
    from data.sidecar import Sidecar
    from data.sources import ReadAs
    from data.summary import Summary

# Of titles that several items share, and of reasons for rejection.
_TITLES_SHOWN = 20
_REASONS_SHOWN = 5
_BAR = 40
_SMALLEST_SHARE = 0.0005


def show(summary: Summary, *, keep_items_apart: bool = False) -> None:
    """Prints a summary: what was read, how, and what is odd about it."""
    sidecar = summary.sidecar
    state = " (already there)" if summary.reused else "" if summary.written else " (dry run: nothing is written)"
    show_tables(sidecar, str(summary.folder), state, rows=summary.rows or sidecar.rows)
    dropped = f" + {sidecar.dropped:,} dropped" if sidecar.dropped else ""
    merged = sidecar.rows_read - sidecar.rejected - sidecar.dropped - (summary.rows or sidecar.rows)
    _say(
        f"{sidecar.rows_read:,} rows read = {summary.rows or sidecar.rows:,} kept + {merged:,} merged + "
        f"{sidecar.rejected:,} rejected{dropped}"
    )
    for expected, reason in list(summary.reasons.items())[:_REASONS_SHOWN]:
        _say(f"  rejected: {reason.rows:,} x {expected}, the first {reason.file}, {reason.unit} {reason.line}")
    if summary.rejected_elsewhere:
        _say(f"{summary.rejected_elsewhere:,} rows of the item and user files rejected, too")
    for each in summary.read_as:
        _say(f"{each.file}: {_how(each)}")
    for column, what in summary.unread.items():
        _say(f"{column}: left out of {what}")
    if summary.histogram:
        _say(f"{summary.density:.2%} of all pairs are rated; the scale is {summary.scale_is}; ratings:")
        _show_histogram(summary.histogram)
    if summary.counts:
        _say(f"these look like counts, not ratings: {summary.counts}; --implicit takes them for what they are")
    if summary.users_in_test_alone or summary.titles_in_test_alone:
        users, titles = summary.users_in_test_alone, summary.titles_in_test_alone
        _say(f"{users:,} users and {titles:,} titles are in the test part alone")
    if summary.pairs_in_both:
        what = "dropped from training" if sidecar.dropped else "kept, as published"
        _say(f"{summary.pairs_in_both:,} pairs of user and title are in both parts, {what}")
    for column, count in summary.contradictions.items():
        owners = "users" if column.startswith("user_") else "titles"
        _say(f"{column}: {count:,} {owners} say more than one thing; the first counts")
    for oddity in summary.oddities:
        _say(f"odd: {oddity.what}")
    _show_shared_titles(sidecar, keep_items_apart=keep_items_apart)


def show_tables(sidecar: Sidecar, folder: str, remark: str = "", *, rows: int | None = None) -> None:
    """Prints what a data folder holds."""
    low, high = sidecar.rating_scale
    rows = sidecar.rows if rows is None else rows
    _say(
        f"{rows:,} ratings from {low:g} to {high:g} by {sidecar.users:,} users of {sidecar.titles:,} titles "
        f"in {folder}{remark}"
    )
    if sidecar.files:
        _say(", ".join(f"{file.name}: {file.rows:,} rows" for file in sidecar.files))


def _how(read_as: ReadAs) -> str:
    """How a file was read, in words."""
    if read_as.kind != "text":
        told = f"read as {read_as.kind}"
    else:
        header = "" if read_as.header else ", without a header"
        decimals = f", with decimal {read_as.decimal_mark}s" if read_as.decimal_mark else ""
        told = f"read as {read_as.separator}-separated {read_as.encoding}{header}{decimals}"
    packed = f", unpacked from {read_as.compression}" if read_as.compression else ""
    unused = f"; left out: {', '.join(read_as.unused)}" if read_as.unused else ""
    return told + packed + unused


def _show_histogram(counts: Mapping[str, int]) -> None:
    width = max(map(len, counts))
    block = "█" if _can_show("█") else "#"
    for value, count in counts.items():
        share = count / sum(counts.values())
        percent = "<0.1%" if 0 < share < _SMALLEST_SHARE else f"{share:.1%}"
        _say(f"  {value:>{width}}  {percent:>6}  {block * round(_BAR * count / max(counts.values()))}")


def _show_shared_titles(sidecar: Sidecar, *, keep_items_apart: bool) -> None:
    shared = sidecar.shared_titles
    if not shared:
        return
    what = "kept apart" if keep_items_apart else "taken for one film; data prepare --keep-items-apart parts them"
    _say(f"{len(shared):,} titles have several item ids, {what}:")
    for title, ids in list(shared.items())[:_TITLES_SHOWN]:
        _say(f"  {title}: {', '.join(ids)}")
    if len(shared) > _TITLES_SHOWN:
        _say(f"  and {len(shared) - _TITLES_SHOWN:,} more, all in ratings.json")


def _say(line: str) -> None:
    """Prints a line; what a terminal would obey is escaped."""
    # Without a file, click would write UTF-8 to a terminal of ASCII.
    click.echo(printable(line), file=sys.stdout)


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
