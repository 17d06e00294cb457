"""The seal of a database: what it held when the last command ended, by which bytes that changed since are known.

SQLite checks the form of a database, not what it says. It counts in the header of the file how often the file was
written to (https://www.sqlite.org/fileformat2.html, "File change counter"). The seal holds that count and the digest of
the file: with the same count, the bytes must be the same. A count that has gone on says that somebody, such as a run
that was killed, has written to it by SQLite; then the seal says nothing. So nobody has to break it before writing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator

from data import atomic

_SUFFIX = ".seal"
# Where the count is in the header, bytes.
_COUNT = slice(24, 28)
# A transaction that nobody has ended yet.
_JOURNAL_SUFFIX = "-journal"


def put(path: str) -> None:
    """Seals a database, unless there is none, or its disk takes no seal: then there is none."""
    if not os.path.exists(path) or os.path.exists(path + _JOURNAL_SUFFIX):
        return
    with contextlib.suppress(OSError):
        count, digest = _state(path)
        atomic.write_text(path + _SUFFIX, f"{count} {digest} {_check(count, digest)}\n")


@contextlib.contextmanager
def put_in_the_end(path: str) -> Iterator[None]:
    """Seals a database, however a `with` block ends; see `put`."""
    try:
        yield
    finally:
        put(path)


def is_broken(path: str) -> bool:
    """Whether a database has other bytes than when it was sealed, though SQLite has not written to it since.

    A seal that is missing, or damaged itself, says nothing.
    """
    try:
        count, digest, check = pathlib.Path(path + _SUFFIX).read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return False
    now = _state(path)
    return check == _check(count, digest) and now[0] == count and now[1] != digest


def _state(path: str) -> tuple[str, str]:
    """How often a database was written to, and the digest of its bytes, hexadecimal."""
    content = pathlib.Path(path).read_bytes()
    return content[_COUNT].hex(), hashlib.sha256(content).hexdigest()


def _check(count: str, digest: str) -> str:
    """Of a seal, which may be damaged, too."""
    return hashlib.sha256(f"{count} {digest}".encode()).hexdigest()
