"""Folders on this machine and elsewhere."""

from __future__ import annotations

import os

from modules.errors import UserError

# Below an output folder: what components make, the ML Metadata of local runs, and the pushed models by version.
ARTIFACTS_FOLDER, METADATA_FILE, SERVING_FOLDER = "artifacts", "metadata.sqlite", "serving_model"

# What TFX's file systems are registered for.
REMOTE_SCHEMES = ("gs://", "s3://", "hdfs://")


def is_remote(folder: str) -> bool:
    """Whether a folder is on another machine.

    Raises:
      UserError: it is in a place that TFX knows no file system for.
    """
    if folder.startswith(REMOTE_SCHEMES):
        return True
    if "://" in folder:
        raise UserError(f"expected a folder on this machine, or in {', '.join(REMOTE_SCHEMES)}; got {folder}")
    return False


def absolute(folder: str) -> str:
    """The absolute path of a folder on this machine; a remote one as it is, but for slashes at its end.

    Raises:
      UserError: see `is_remote`; or a remote path is a pattern.
    """
    if not is_remote(folder):
        return os.path.abspath(os.path.expanduser(folder))
    check_no_pattern(folder)
    return folder.rstrip("/")


def check_no_pattern(folder: str) -> None:
    """Refuses a folder in whose place a cluster, or TFX on a remote file system, would read others that match it.

    Raises:
      UserError: the path holds a character of patterns.
    """
    if set(folder) & set("*?["):
        raise UserError(
            "expected a folder whose path has none of the characters * ? [, which TFX takes for a pattern; "
            f"got {folder}; rename it, or give a link to it"
        )


def check_readable(folder: str) -> None:
    """Refuses a remote folder that TensorFlow cannot read here; contacts nothing.

    Raises:
      UserError: this installation has no file system for it.
    """
    if not is_remote(folder):
        return
    import tensorflow as tf

    scheme = folder.partition("://")[0]
    readable = [name for name in tf.io.gfile.get_registered_schemes() if name in ("gs", "s3", "hdfs")]
    if scheme not in readable:
        raise UserError(
            f"expected a folder on this machine, or in {', '.join(f'{name}://' for name in readable)}, which "
            f"TensorFlow {tf.__version__} reads as it is installed here; got {folder}; {scheme}:// needs a plug-in, as "
            "tensorflow-io has it for some versions, loaded in every process; copy the folder, or mount it"
        )
