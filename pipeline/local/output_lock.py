"""One command at a time on one output folder."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Callable, Iterator

LOCK_FILE = ".lock"


class BusyError(Exception):
    """Another command works on the folder."""


@contextlib.contextmanager
def held(folder: str, command: str, *, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds an output folder for the time of a `with` block.

    The lock is the kernel's: it ends with the process that holds it, however that ends. Processes that it forks do not
    hold it. Within one process it keeps nobody out.

    Args:
      folder: on this machine; it exists.
      command: who holds it, for others.
      wait: told who holds the folder, before its end is waited for; None to be refused.

    Raises:
      BusyError: another process holds the folder, and nobody asked to wait.
    """
    with open(os.path.join(folder, LOCK_FILE), "a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = f"{folder} is in use by {file.read().strip() or 'another command'}"
            if wait is None:
                raise BusyError(f"{holder}; wait for its end, or give --wait or another --output") from None
            wait(holder)
            fcntl.lockf(file, fcntl.LOCK_EX)
        file.truncate(0)
        since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        file.write(f"`movie-ranking {command}`, process {os.getpid()}, since {since}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
