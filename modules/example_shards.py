"""Names of example files that say how many files a split has, and how many rows each of them.

A gzipped TFRecord file that was cut where a record ends reads as a complete one, and so does a folder that lacks a
file. Readers compare what they find with the names, which ExampleGen gives. Files of others, whose names say less, are
taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from modules.errors import UserError

# What TFX calls the files of a split.
_PREFIX = "data_tfrecord"
_NAME = re.compile(r"-[0-9]{5,}-of-(?P<files>[0-9]{5,})(?:\.(?P<rows>[0-9]+)-rows)?\.gz$")


def name_of(index: int, files: int, rows: int) -> str:
    """The name of one of a split's gzipped files: its number from 0 on, how many there are, and the rows in it."""
    return f"{_PREFIX}-{index:05d}-of-{files:05d}.{rows}-rows.gz"


def check_files(paths: Sequence[str]) -> None:
    """Compares the number of a split's files with what their names say.

    Raises:
      UserError: some are missing.
    """
    named = {int(match["files"]) for match in map(_NAME.search, paths) if match}
    if named and named != {len(paths)}:
        raise UserError(
            f"expected {' or '.join(map(str, sorted(named)))} example files, as the name of {paths[0]} says; got "
            f"{len(paths)}; run again, which makes anew what is damaged"
        )


def check_rows(paths: Sequence[str], rows: int) -> None:
    """Compares the rows that were read of files with what the names of all of them say, if all do.

    Raises:
      UserError: there are others.
    """
    named = [match["rows"] for match in map(_NAME.search, paths) if match and match["rows"]]
    if len(named) == len(paths) and (expected := sum(map(int, named))) != rows:
        raise UserError(
            f"expected {expected:,} examples in {', '.join(paths)}, as the names say; got {rows:,}; the files were cut "
            "or changed: run again, which makes anew what is damaged"
        )
