"""The folder of pushed models, one folder a version: a version appears whole, or not at all.

Servers take the version of the highest number. TensorFlow Serving looks at nothing but the names in the folder, and
takes every one that is a number; a version that is not complete must therefore have another kind of name. Here it is
copied under a name that begins with a dot, flushed to the disk, compared with what was judged, and renamed. What was
judged is recorded before that, beside the folder (`push_records`).

A store of objects, such as `gs://`, can rename objects, but no folder. There a version is uploaded under such a name
and compared, and then its objects are renamed one by one, `saved_model.pb` last: a server that looks in that short time
finds a version that it cannot load yet, and tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator

import tensorflow as tf

from components import model_digest, push_records
from components.errors import IntegrityError
from data import atomic
from modules import file_sums
from modules.errors import UserError
from modules.notes import note

_PARTIAL_PREFIX = ".pushing-"
_REMOVED_PREFIX = ".removing-"
# The file by which TensorFlow knows that a folder holds a model.
_MODEL_FILE = "saved_model.pb"
# TensorFlow Serving reads versions as int64.
_MOST = 2**63 - 1
# Pushes to a store of objects cannot lock one another out; what is younger than this may still be under way.
_ABANDONED_S = 3600.0


def versions(base: str) -> dict[int, str]:
    """The versions that servers see in a folder, here or on `gs://`: path by number; none if there is no folder."""
    return {int(name): os.path.join(base, name) for name in _names(base) if _is_number(name)}


def newest(base: str) -> str | None:
    """The version that servers take: the path of the one with the highest number."""
    found = versions(base)
    return found[max(found)] if found else None


def fault(version: str, expected: str) -> str | None:
    """In which way a version is not the judged model that servers take, in words; None if it is.

    Args:
      version: path of a version's folder.
      expected: digest of the model that was judged.
    """
    if not tf.io.gfile.isdir(version):
        return f"{version} is no longer there"
    base, number = os.path.split(version)
    taken = newest(base)
    if taken != version:
        return f"{version} is no longer the newest version; servers take {taken}"
    if not _is_judged(version, expected):
        return f"{version} was damaged or changed: its files are not those that were judged"
    if push_records.judged(base, int(number)) != expected:
        return f"the record of {version}, {push_records.path_of(base, int(number))}, is missing or damaged"
    return None


def push(source: str, base: str, expected: str) -> str:
    """Makes a model the newest version, unless it is that already.

    Versions are seconds since 1970, or one more than the highest number there is, if that is more: they are unique and
    rise, also when the clock was set back or two pushes come within a second.

    Args:
      source: folder of the model.
      base: folder of the versions.
      expected: digest of the model that was judged.

    Returns:
      path of the version.

    Raises:
      IntegrityError: the files of the model, or those that were copied, are not those that were judged.
      OSError: the folder cannot be written to, or is full. Nothing is left there.
    """
    tf.io.gfile.makedirs(base)
    with alone(base):
        _remove_leftovers(base)
        taken = newest(base)
        if taken is not None and _is_judged(taken, expected):
            push_records.write(base, int(os.path.basename(taken)), expected)
            return taken
        model_digest.check(source, expected)
        number = _next_version(base)
        partial, version = (os.path.join(base, f"{prefix}{number}") for prefix in (_PARTIAL_PREFIX, ""))
        try:
            _copy(source, partial)
            model_digest.check(partial, expected)
            push_records.write(base, number, expected)
            _publish(partial, version)
        finally:
            _remove(partial)
        if not _is_local(version):
            _check_published(version, expected)
        return version


@contextlib.contextmanager
def alone(base: str) -> Iterator[None]:
    """Waits until nobody else changes the versions of a folder on this machine, or their labels.

    Who is killed holds nothing any more. A folder on `gs://` cannot be locked.
    """
    if not _is_local(base):
        yield
        return
    # Beside the folder, in which there is nothing but versions.
    parent, name = os.path.split(os.path.abspath(base))
    with open(os.path.join(parent, f".{name}.lock"), "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_whole(version: str) -> bool:
    """Whether the files of a version are those that were exported; without a list of them, whether it has a model."""
    return tf.io.gfile.exists(os.path.join(version, _MODEL_FILE)) and file_sums.fault(version) is None


def leftovers(base: str) -> list[str]:
    """What pushes to a folder on this machine, and removals there, have left that were killed: paths of folders."""
    return [os.path.join(base, name) for name in _names(base) if name.startswith((_PARTIAL_PREFIX, _REMOVED_PREFIX))]


def remove(base: str, numbers: Iterable[int]) -> None:
    """Removes versions from a folder on this machine, and leftovers; servers see each version whole or not at all.

    Args:
      base: folder of the versions.
      numbers: of versions that are there.

    Raises:
      OSError: one cannot be removed.
    """
    with alone(base):
        for leftover in leftovers(base):
            _remove(leftover)
        there = versions(base)
        for number in numbers:
            removed = os.path.join(base, f"{_REMOVED_PREFIX}{number}")
            os.rename(there[number], removed)
            _remove(removed)
            push_records.remove(base, number)


def _names(base: str) -> list[str]:
    # On `gs://` names of folders end in a slash.
    return [name.rstrip("/") for name in tf.io.gfile.listdir(base)] if tf.io.gfile.isdir(base) else []


def _is_judged(version: str, expected: str) -> bool:
    """Whether the files of a version are those that were judged."""
    try:
        model_digest.check(version, expected)
    except IntegrityError:
        return False
    return True


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) <= _MOST


def _is_local(folder: str) -> bool:
    return "://" not in folder


def _next_version(base: str) -> int:
    taken = [int(name) for name in (each.removeprefix(_PARTIAL_PREFIX) for each in _names(base)) if _is_number(name)]
    highest = max(taken, default=0)
    if highest == _MOST:
        raise UserError(
            f"expected versions in {base} that a higher one can follow; got {highest}, the highest that TensorFlow "
            "Serving reads; rename it"
        )
    return max(int(time.time()), highest + 1)


def _remove_leftovers(base: str) -> None:
    """Removes what pushes have left that were killed."""
    for name in _names(base):
        partial, version = os.path.join(base, name), os.path.join(base, name.removeprefix(_PARTIAL_PREFIX))
        if not name.startswith(_PARTIAL_PREFIX) or not _is_abandoned(partial):
            continue
        _remove(partial)
        # On `gs://` the first objects may have got their final names.
        if not _is_local(base) and not tf.io.gfile.exists(os.path.join(version, _MODEL_FILE)):
            _remove(version)
        number = os.path.basename(version)
        if _is_number(number) and not tf.io.gfile.exists(version):
            push_records.remove(base, int(number))
        note(f"removed {partial}, which a push had left that was interrupted")


def _is_abandoned(partial: str) -> bool:
    """Whether nobody works on it any more; here it is known from the lock."""
    if _is_local(partial):
        return True
    times = [tf.io.gfile.stat(os.path.join(partial, name)).mtime_nsec for name in file_sums.files_below(partial)]
    return time.time() - max(times, default=0) / 1e9 > _ABANDONED_S


def _remove(folder: str) -> None:
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)


def _copy(source: str, target: str) -> None:
    """Copies all files below a folder; on this machine, all of it is on the disk afterwards."""
    for name in file_sums.files_below(source):
        path = os.path.join(target, name)
        tf.io.gfile.makedirs(os.path.dirname(path))
        if _is_local(target):
            with tf.io.gfile.GFile(os.path.join(source, name), "rb") as original, open(path, "wb") as copy:
                shutil.copyfileobj(original, copy)
                copy.flush()
                os.fsync(copy.fileno())
        else:
            # Objects are durable once they are closed.
            tf.io.gfile.copy(os.path.join(source, name), path)
    if _is_local(target):
        for folder, _, _ in os.walk(target):
            atomic.flush(folder)


def _check_published(version: str, expected: str) -> None:
    """Takes back what a store of objects does not hold as it was uploaded, such as two pushes mixed into one version.

    Raises:
      IntegrityError: the files are not those that were judged; the version is removed.
    """
    try:
        model_digest.check(version, expected)
    except IntegrityError:
        _remove(version)
        raise


def _publish(partial: str, version: str) -> None:
    """Gives a complete copy the name by which servers know it."""
    if _is_local(version):
        # Fails if that name was given in the meantime.
        os.rename(partial, version)
        atomic.flush(os.path.dirname(version))
        return
    for name in sorted(file_sums.files_below(partial), key=lambda each: each == _MODEL_FILE):
        path = os.path.join(version, name)
        tf.io.gfile.makedirs(os.path.dirname(path))
        tf.io.gfile.rename(os.path.join(partial, name), path)
