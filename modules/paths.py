"""Files in folders whose names people give, where `*`, `?`, `[` and a backslash are characters like any other."""

from __future__ import annotations

import atexit
import functools
import glob
import os
import shutil
import tempfile

import tensorflow as tf

from modules import example_shards
from modules.errors import UserError


def escape(path: str) -> str:
    r"""The pattern that matches this path alone, for TensorFlow, Beam and Python's `glob` alike.

    To TensorFlow a backslash in a pattern escapes what follows, to the others it is a backslash; in `[\\]` it is one to
    all of them.
    """
    return glob.escape(path).replace("\\", "[\\\\]")


@functools.cache
def plain(folder: str) -> str:
    """A path of the folder for those that take a path for a pattern or part of a URL.

    TensorFlow is one of them, where it restores variables. The path is the folder's own where it has no character of
    patterns, and on `gs://`; else that of a symbolic link, which lasts as long as the process.
    """
    if escape(folder) == folder or "://" in folder:
        return folder
    place = tempfile.mkdtemp(prefix="movie-ranking-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = os.path.join(place, "link")
    os.symlink(os.path.abspath(folder), link)
    return link


def files_of(folder: str) -> list[str]:
    """The files of examples in a split's folder, here or on `gs://`, in the order of their names.

    Raises:
      UserError: there is none, or no such folder, or their names say that some are missing.
    """
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    if not names:
        raise UserError(
            f"expected example files in {folder}; got none; run the pipeline again from the component that writes them"
        )
    files = [f"{folder}/{name}" for name in sorted(names)]
    example_shards.check_files(files)
    return files
