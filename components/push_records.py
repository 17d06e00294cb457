"""What is written down of each push, so that others can tell, without ML Metadata, which files were judged.

Beside the folder of the versions, in which servers look, there is a folder with a file a version, such as
`output/.serving_model.judged/1700000000.json` for `output/serving_model/1700000000`: `{"model_digest": "…"}`. It is
written before the version appears, and goes with the rest where the output folder is moved to.
"""

from __future__ import annotations

import json
import os

import tensorflow as tf

from components import model_digest
from data import atomic


def path_of(base: str, number: int) -> str:
    """Where the record of a version lies.

    Args:
      base: folder of the versions, here or on `gs://`.
      number: of the version.
    """
    return os.path.join(_folder(base), f"{number}.json")


def write(base: str, number: int, digest: str) -> None:
    """Writes the record of a push, in one step.

    Args:
      base: folder of the versions, here or on `gs://`.
      number: of the version.
      digest: of the model that was judged.

    Raises:
      OSError: the folder cannot be written to, or is full.
    """
    path, text = path_of(base, number), json.dumps({model_digest.PROPERTY: digest}) + "\n"
    if "://" not in base:
        atomic.write_text(path, text)
        return
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


def judged(base: str, number: int) -> str | None:
    """The digest of what was judged and pushed as a version; None where no whole record says so.

    Args:
      base: folder of the versions, here or on `gs://`.
      number: of the version.
    """
    try:
        with tf.io.gfile.GFile(path_of(base, number)) as file:
            return str(json.loads(file.read())[model_digest.PROPERTY])
    except (OSError, tf.errors.OpError, ValueError, LookupError, TypeError):
        return None


def remove(base: str, number: int) -> None:
    """Removes the record of a version that is no more.

    Raises:
      OSError: it cannot be removed.
    """
    if tf.io.gfile.exists(path := path_of(base, number)):
        tf.io.gfile.remove(path)


def _folder(base: str) -> str:
    parent, name = os.path.split(os.path.abspath(base) if "://" not in base else base.rstrip("/"))
    return os.path.join(parent, f".{name}.judged")
