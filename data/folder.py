"""The data folder: files come into being in a hidden folder inside it, and move to their places when complete."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from data.errors import DataError
from data.processes import is_alive
from data.rejects import REJECTED_FILE
from data.sidecar import SIDECAR_FILE, Sidecar, table_files

_PREFIX = ".partial-"


@contextlib.contextmanager
def workspace(destination: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives an empty folder on the destination's file system, and removes it in the end.

    Folders that killed processes left behind are removed, too, and so is the destination where it is new and stays
    empty.
    """
    is_new = not destination.exists()
    destination.mkdir(parents=True, exist_ok=True)
    for left in destination.glob(f"{_PREFIX}*"):
        match = re.match(rf"{re.escape(_PREFIX)}([0-9]+)-", left.name)
        if match and not is_alive(int(match[1])):
            shutil.rmtree(left, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=destination) as folder:
            yield pathlib.Path(folder)
    except OSError as error:
        # What fails while it is written does not say where.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = str(destination)
        raise
    finally:
        if is_new and not any(destination.iterdir()):
            destination.rmdir()


def check_destination(
    folder: pathlib.Path, files: Sequence[str], sources: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Refuses to replace or remove the source, or to write beside tables of others, which would be read, too.

    Args:
      folder: the data folder.
      files: the tables that will be written, relative to it.
      sources: files that are read meanwhile.

    Raises:
      DataError: either would happen.
    """
    earlier = _recorded_files(folder)
    replaced = {(folder / name).resolve() for name in earlier.union(files)}
    if any(pathlib.Path(source).resolve() in replaced for source in sources):
        raise DataError(f"expected a destination other than the source; got {folder} for both; give another")
    others = table_files(folder).difference(files, earlier)
    if others:
        raise DataError(
            f"expected no tables in {folder} but those to be written, since all would be read; got "
            f"{folder / min(others)}; move it away or give another destination"
        )


def _recorded_files(folder: pathlib.Path) -> set[str]:
    """Tables that an earlier run wrote; none where its record cannot be read."""
    try:
        return table_files(folder).intersection(Sidecar.read(folder).checksums)
    except DataError:
        return set()


def publish(work: pathlib.Path, folder: pathlib.Path, sidecar: Sidecar) -> None:
    """Moves complete files from a workspace to their places, and removes what an earlier run left there.

    Meanwhile there is no record: a run that is killed leaves a folder that nobody takes for complete.
    """
    earlier = _recorded_files(folder)
    (folder / SIDECAR_FILE).unlink(missing_ok=True)
    for name in earlier.difference(sidecar.checksums):
        (folder / name).unlink()
        if (folder / name).parent != folder:
            with contextlib.suppress(OSError):  # not empty: others keep files there
                (folder / name).parent.rmdir()
    for name in sidecar.checksums:
        (folder / name).parent.mkdir(exist_ok=True)
        (work / name).replace(folder / name)
    if (work / REJECTED_FILE).exists():
        (folder / REJECTED_FILE).parent.mkdir(exist_ok=True)
        (work / REJECTED_FILE).replace(folder / REJECTED_FILE)
    else:
        (folder / REJECTED_FILE).unlink(missing_ok=True)
    sidecar.write(folder)
