r"""The list of a model's files and of their SHA-256, by which a copy of the model is known to be whole.

It lies beside the exported model, in the format of `sha256sum` (FIPS 180-4), so that it can be checked by hand:

```
cd FOLDER && sha256sum --check --quiet assets.extra/SHA256SUMS
```
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable

import tensorflow as tf

FILE = "assets.extra/SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_BLOCK_BYTES = 1 << 20


def files_below(folder: str) -> list[str]:
    """The paths of all files below a folder, here or on `gs://`, relative to it, in the order of their UTF-8 bytes."""
    root = folder.rstrip("/")
    found = [
        posixpath.join(place, name).removeprefix(root).lstrip("/")
        for place, _, names in tf.io.gfile.walk(root)
        for name in names
    ]
    return sorted(found, key=str.encode)


def listing(folder: str, names: Iterable[str]) -> str:
    """What `sha256sum` writes of files below a folder, here or on `gs://`: a line each."""
    return "".join(f"{_of_file(posixpath.join(folder, name))}  {name}\n" for name in names)


def write(model: str) -> None:
    """Writes the list of all files that a model has by now to its folder."""
    path = posixpath.join(model, FILE)
    text = listing(model, (name for name in files_below(model) if name != FILE))
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


def fault(model: str) -> str | None:
    """In which way the files of a model are not those of its list, in words; None if they are, or it has no list."""
    found = files_below(model)
    if FILE not in found:
        return None
    with tf.io.gfile.GFile(posixpath.join(model, FILE), "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    listed = {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line))}
    if len(listed) < len(lines):
        return f"{FILE} is damaged"
    for name in sorted(listed.keys() | set(found) - {FILE}):
        if name not in listed:
            return f"{name} is not among the files of {FILE}"
        if name not in found:
            return f"{name} is gone"
        if _of_file(posixpath.join(model, name)) != listed[name]:
            return f"{name} was damaged or changed"
    return None


def _of_file(path: str) -> str:
    content = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()
