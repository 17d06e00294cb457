"""A process and all that it has started, directly or not, as Linux tells of them."""

from __future__ import annotations

import collections
import contextlib
import pathlib

_PROC = pathlib.Path("/proc")


def pids(root: int) -> list[int]:
    """The process itself, and all below it."""
    children = collections.defaultdict(list)
    for path in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may have any characters.
            parent = path.read_text("utf-8", errors="replace").rpartition(")")[2].split()[1]
            children[int(parent)].append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def resident_bytes(root: int) -> int:
    """Memory of all of them: of pages that several processes share, each has its part (PSS)."""
    return sum(_proportional_bytes(pid) for pid in pids(root))


def _proportional_bytes(pid: int) -> int:
    """Of one process; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines():
            name, value, *_ = line.split()
            if name == "Pss:":
                return 1024 * int(value)
    return 0
