"""Files that are there whole or not at all: the one way in which this project replaces a file."""

from __future__ import annotations

import glob
import os
import pathlib

from data.processes import is_alive


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 text file in one step, and its folder where there is none.

    Readers see the old file or the new one, never a part; a failure leaves the old one and nothing beside it. The file
    is on the disk afterwards: also a machine that loses its power has one of the two. What a killed process left beside
    it is removed by the next one that writes it.

    Raises:
      OSError: the folder cannot be written to, or is full.
    """
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not is_alive(int(process)):
            left.unlink(missing_ok=True)
    try:
        partial.write_text(text, encoding="utf-8")
        flush(partial)
        partial.replace(target)
        flush(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def flush(path: str | os.PathLike[str]) -> None:
    """Has the content of a file, or the names in a folder, on the disk.

    Raises:
      OSError: it is not there, or the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
