"""Damage to files, at random."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
from collections.abc import Callable, Sequence

_MOST_FLIPPED = 16


def truncate(path: pathlib.Path, rng: random.Random) -> str:
    """Cuts a file to a random length, shorter than it is."""
    size = path.stat().st_size
    kept = rng.randrange(size)
    os.truncate(path, kept)
    return f"cut from {size} to {kept} bytes"


def empty(path: pathlib.Path, rng: random.Random) -> str:
    """Cuts a file to nothing."""
    os.truncate(path, 0)
    return "emptied"


def flip(path: pathlib.Path, rng: random.Random) -> str:
    """Changes some bytes of a file, each to another value."""
    content = bytearray(path.read_bytes())
    places = sorted(rng.sample(range(len(content)), min(rng.randint(1, _MOST_FLIPPED), len(content))))
    for place in places:
        content[place] ^= rng.randint(1, 255)
    path.write_bytes(content)
    return f"bytes {', '.join(map(str, places))} flipped"


def delete(path: pathlib.Path, rng: random.Random) -> str:
    """Deletes a file."""
    path.unlink()
    return "deleted"


OF_CONTENT: tuple[Callable[[pathlib.Path, random.Random], str], ...] = (truncate, empty, flip)


def damage_file(path: pathlib.Path, rng: random.Random) -> str:
    """Damages a file in one of all ways, and says what was done to it."""
    ways = (*OF_CONTENT, delete) if path.stat().st_size else (delete,)
    return f"{path} {rng.choice(ways)(path, rng)}"


def delete_folder(path: pathlib.Path) -> str:
    """Deletes a folder with all that is in it."""
    shutil.rmtree(path)
    return f"{path} deleted with all that was in it"


def damage_below(folders: Sequence[pathlib.Path], rng: random.Random) -> str:
    """Damages a file, or deletes a folder, at or below one of some paths.

    Args:
      folders: files and folders, each as likely as any other.
      rng: what is drawn with.

    Returns:
      What was done.
    """
    chosen = rng.choice(folders)
    if chosen.is_file():
        return damage_file(chosen, rng)
    below = sorted(path for path in chosen.rglob("*") if path.is_file() or path.is_dir())
    inner = [path for path in below if path.is_dir()]
    files = [path for path in below if path.is_file()]
    if not files or rng.random() < 0.2:
        return delete_folder(rng.choice([chosen, *inner]))
    return damage_file(rng.choice(files), rng)
