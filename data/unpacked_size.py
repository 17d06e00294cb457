"""How much a packed file may unpack to: a few MB can hold what fills a disk."""

from __future__ import annotations

import pathlib
import shutil
from typing import BinaryIO

from data.errors import LayoutError

# So much may be unpacked of any file, and of a larger one so many times its size: ratings pack to a fifth, and where
# all are the same, perhaps to a hundredth.
ANY_BYTES = 1 << 30
TIMES = 250
_COPIED_BYTES = 1 << 20


def check(shown: str, *, packed: int, unpacked: int) -> None:
    """Refuses what is out of all proportion to its packed size.

    Args:
      shown: the file's name in messages.
      packed: its bytes.
      unpacked: what it unpacks to, as far as is known.

    Raises:
      LayoutError: it is.
    """
    if unpacked > max(ANY_BYTES, TIMES * packed):
        raise LayoutError(
            f"expected {shown}, packed in {packed:,} bytes, to unpack to at most {TIMES} times as much; got "
            f"{unpacked:,} bytes or more; see what it is, and where it can be trusted, unpack it by hand"
        )


def check_room(shown: str, unpacked: int, folder: pathlib.Path) -> None:
    """Refuses what a disk has no room for.

    Args:
      shown: the file's name in messages.
      unpacked: what it unpacks to, bytes.
      folder: where to.

    Raises:
      LayoutError: it is.
    """
    free = shutil.disk_usage(folder).free
    if unpacked > free:
        raise LayoutError(
            f"expected room for the {unpacked:,} bytes that {shown} unpacks to; got {free:,} in {folder}; make room, "
            "or give another --destination"
        )


def copy(stream: BinaryIO, target: BinaryIO, shown: str, *, packed: int) -> None:
    """Copies what is being unpacked, of which nobody says beforehand how much it will be.

    Raises:
      LayoutError: it is more than `check` allows.
    """
    unpacked = 0
    while block := stream.read(_COPIED_BYTES):
        unpacked += len(block)
        check(shown, packed=packed, unpacked=unpacked)
        target.write(block)
