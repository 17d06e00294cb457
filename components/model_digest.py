r"""The digest by which a verdict names the model that was judged, and by which Pusher knows it again.

It is the SHA-256 (FIPS 180-4) of what `sha256sum` writes of the files of a model, so that it can be made by hand:

```
cd FOLDER && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum
```
"""

from __future__ import annotations

import hashlib
import posixpath

import tensorflow as tf

from components.errors import IntegrityError

# Of a blessing: the digest of the model that was judged. Of a pushed model: that of the model that was pushed.
PROPERTY = "model_digest"
_BLOCK_BYTES = 1 << 20
REMEDY = "run with --from Trainer --no-cache, which trains the model anew and judges it"


def files_below(folder: str) -> list[str]:
    """The paths of all files below a folder, here or on `gs://`, relative to it, in the order of their UTF-8 bytes."""
    root = folder.rstrip("/")
    found = [
        posixpath.join(place, name).removeprefix(root).lstrip("/")
        for place, _, names in tf.io.gfile.walk(root)
        for name in names
    ]
    return sorted(found, key=str.encode)


def of_folder(folder: str) -> str:
    """The digest of the files below a folder, here or on `gs://`: 64 hexadecimal digits.

    Raises:
      IntegrityError: there is no file.
    """
    names = files_below(folder)
    if not names:
        raise IntegrityError(f"expected the files of a model in {folder}; got none; {REMEDY}")
    listing = hashlib.sha256()
    for name in names:
        listing.update(f"{_of_file(posixpath.join(folder, name))}  {name}\n".encode())
    return listing.hexdigest()


def _of_file(path: str) -> str:
    content = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()


def check(folder: str, expected: str) -> None:
    """Accepts a folder whose files are those that were judged.

    Raises:
      IntegrityError: they are not.
    """
    found = of_folder(folder)
    if found != expected:
        raise IntegrityError(
            f"expected in {folder} the files that were judged, SHA-256 {expected}; got SHA-256 {found}: they were "
            f"damaged or changed since; {REMEDY}"
        )
