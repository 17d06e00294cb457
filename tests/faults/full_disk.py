"""A file system that fills up: a small tmpfs, where this process may mount one."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

_ROOMY = 1 << 30
# Of 0 bytes it would have no bound.
_LEAST = 4096


class SmallDisk:
    """A file system of few bytes that is mounted at a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def resize(self, size: int) -> None:
        """Gives it another size, bytes; at least what it holds."""
        _mount("-o", f"remount,size={max(size, _LEAST)}", str(self.folder))

    def make_room(self) -> None:
        """Makes it large."""
        self.resize(_ROOMY)


@contextlib.contextmanager
def mounted(folder: pathlib.Path, size: int = _ROOMY) -> Iterator[SmallDisk]:
    """Mounts an empty file system at a folder, for the time of a `with` block.

    Args:
      folder: is made where there is none; what it holds is hidden meanwhile.
      size: of the file system, bytes; pages are counted.

    Raises:
      PermissionError: this process may not mount anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def may_mount() -> bool:
    """Whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(pathlib.Path(folder), 1 << 20):
                return True
        except (PermissionError, FileNotFoundError):
            return False


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())


def pages(folder: pathlib.Path, page: int = 4096) -> int:
    """The bytes that the files and folders below a folder take of a tmpfs, about."""
    return sum(-(-path.lstat().st_size // page) * page if path.is_file() else page for path in folder.rglob("*"))
