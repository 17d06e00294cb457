"""What Pusher writes down of each push, so that others can tell, without ML Metadata, which files were judged.

A file `pushed_model.json` in the folder of the output artifact:
`{"pushed_destination": "output/serving_model/1700000000", "model_digest": "…"}`.
"""

from __future__ import annotations

import json
import os
import pathlib

import tensorflow as tf

from components import model_digest

DESTINATION_PROPERTY = "pushed_destination"
RECORD_FILE = "pushed_model.json"


def write(folder: str, version: str, digest: str) -> None:
    """Writes the record of a push.

    Args:
      folder: of Pusher's output, here or on `gs://`.
      version: path of the version.
      digest: of the model that was judged.
    """
    with tf.io.gfile.GFile(os.path.join(folder, RECORD_FILE), "w") as file:
        file.write(json.dumps({DESTINATION_PROPERTY: version, model_digest.PROPERTY: digest}))


def judged(output: str) -> dict[int, set[str]]:
    """The digests of what was judged and pushed as each version.

    The folder may have been moved since: versions count by their numbers. A record that is not complete yet is left
    out.

    Args:
      output: folder of the pipeline, on this machine.
    """
    found: dict[int, set[str]] = {}
    for path in pathlib.Path(output, "artifacts", "Pusher").glob(f"*/*/{RECORD_FILE}"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            number = int(os.path.basename(record[DESTINATION_PROPERTY]))
            digest = record[model_digest.PROPERTY]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        found.setdefault(number, set()).add(str(digest))
    return found
