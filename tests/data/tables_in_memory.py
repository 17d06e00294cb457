"""Tables whose bytes are in memory."""

from __future__ import annotations

import csv
import io
from typing import Any

from data.tables import Table


def table_of(content: bytes, width: int, *used: int, **options: Any) -> Table:
    """A table in memory whose fields are named by their positions."""
    return Table(
        path="a.csv",
        shown="a.csv",
        width=width,
        fields={str(position): position for position in used},
        open_file=lambda path: io.BytesIO(content),
        **{"separator": ",", "quoted": True, **options},
    )


def read_blocks(table: Table) -> tuple[list[tuple[str, ...]], list[int]]:
    """The fields in use of the rows of good form, and the lines of the others."""
    rows: list[tuple[str, ...]] = []
    bad = []
    for block in table.blocks():
        cells = list(zip(*(block.cells[name].to_pylist() for name in table.fields), strict=True))
        again = [record.fields for record in block.records()]
        assert cells == [tuple(each[at] for at in table.fields.values()) for each in again if isinstance(each, list)]
        rows += cells
        bad += [record.line for record in block.bad]
    return rows, bad


def strictly(
    text: str, width: int, escape: str | None = None, separator: str = ","
) -> tuple[list[tuple[str, ...]], list[int]]:
    """What `csv` in strict mode makes of a text: rows, and lines of those that it or the width refuses."""
    lines = io.StringIO(text, newline="\n").readlines()
    rows, bad, at = [], [], 0
    while at < len(lines):
        left = csv.reader(lines[at:], strict=True, escapechar=escape, delimiter=separator)
        try:
            fields = next(left)
        except csv.Error:
            fields = ["refused"] * (width + 1)
        if len(fields) == width:
            rows.append(tuple(fields))
            at += left.line_num
        else:
            bad += [at + 1] if fields else []
            at += 1
    return rows, bad
