"""Zips of ratings: what they hold, and some of it unpacked."""

from __future__ import annotations

import contextlib
import errno
import lzma
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from data import unpacked_size
from data.errors import LayoutError
from data.sources import File

_BEGINNING = b"PK\x03\x04"
_COPIED_BYTES = 1 << 20
_REMEDY = "fetch it again"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
)


def is_zip(path: pathlib.Path) -> bool:
    """Whether a file is a zip.

    Raises:
      LayoutError: it begins as one, and lacks the end, which says what it holds.
    """
    if zipfile.is_zipfile(path):
        return True
    with path.open("rb") as file:
        if file.read(len(_BEGINNING)) != _BEGINNING:
            return False
    raise LayoutError(f"expected {path} to be a complete zip; got one that breaks off; {_REMEDY}")


def members(path: pathlib.Path) -> list[str]:
    """The files of a zip; not the shadows that macOS adds.

    Raises:
      LayoutError: it is damaged.
    """
    with _opened(path) as packed:
        names = [info.filename for info in packed.infolist() if not info.is_dir()]
    return [name for name in names if not name.startswith("__MACOSX/") and not bare(name).startswith(".")]


def unpack(path: pathlib.Path, names: Sequence[str], folder: pathlib.Path) -> dict[str, File]:
    """Unpacks some files of a zip, under their bare names: a path in an archive must not lead elsewhere.

    Raises:
      LayoutError: it is damaged or encrypted, or a file of it would unpack to more than is plausible or fits.
      OSError: the folder cannot be written, or is full.
    """
    files = {}
    with _opened(path) as packed:
        for name in names:
            info, shown = packed.getinfo(name), f"{path}/{name}"
            # What it says of itself holds: no more is read.
            unpacked_size.check(shown, packed=info.compress_size, unpacked=info.file_size)
            unpacked_size.check_room(shown, info.file_size, folder)
            with packed.open(name) as member, (folder / bare(name)).open("wb") as file:
                shutil.copyfileobj(member, file, _COPIED_BYTES)
            files[bare(name)] = File(folder / bare(name), shown)
    return files


def bare(name: str) -> str:
    """The name of a file in an archive without its folder."""
    return pathlib.PurePosixPath(name).name


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as packed:
            yield packed
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # Damage to what bzip2 packed is one without a number, and a place before the beginning an invalid one.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(path, error) from error


def _damaged(path: pathlib.Path, error: Exception) -> LayoutError:
    return LayoutError(f"expected {path} to be a complete, unencrypted zip; got: {error}; {_REMEDY}")
