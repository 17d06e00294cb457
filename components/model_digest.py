r"""The digest by which a verdict names the model that was judged, and by which Pusher knows it again.

It is the SHA-256 (FIPS 180-4) of what `sha256sum` writes of the files of a model, so that it can be made by hand:

```
cd FOLDER && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum
```
"""

from __future__ import annotations

import hashlib

from components.errors import IntegrityError
from modules import file_sums

# Of a blessing: the digest of the model that was judged. Of a pushed model: that of the model that was pushed.
PROPERTY = "model_digest"
REMEDY = "run with --from Trainer --no-cache, which trains the model anew and judges it"


def of_folder(folder: str) -> str:
    """The digest of the files below a folder, here or on `gs://`: 64 hexadecimal digits.

    Raises:
      IntegrityError: there is no file.
    """
    names = file_sums.files_below(folder)
    if not names:
        raise IntegrityError(f"expected the files of a model in {folder}; got none; {REMEDY}")
    return hashlib.sha256(file_sums.listing(folder, names).encode()).hexdigest()


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
