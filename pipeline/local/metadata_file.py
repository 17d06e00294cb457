"""The database of ML Metadata in an output folder, without which nobody knows what lies in the artifacts' folder."""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import time

from modules.errors import UserError
from pipeline.config import locations
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.local import metadata_seal

_SET_ASIDE = ".set-aside-"


def check(config: PipelineConfig, *, rebuild: bool = False) -> None:
    """Refuses an output folder whose artifacts have lost their database, or sets both aside.

    Args:
      config: of the pipeline; its output is on this machine.
      rebuild: rename what there is, so that the run starts anew.

    Raises:
      UserError: the database is missing or damaged, and nobody asked to rebuild.
    """
    if not rebuild:
        check_whole(config.metadata_path, config.pipeline_root)
    elif _fault(config.metadata_path, config.pipeline_root) is not None:
        _set_aside(config)


def check_whole(path: str, root: str) -> None:
    """Refuses a database that is missing where there are artifacts, or is damaged.

    Args:
      path: of the database.
      root: folder of the artifacts.

    Raises:
      UserError: it is.
    """
    fault = _fault(path, root)
    if fault is not None:
        raise UserError(
            f"expected in {path} the ML Metadata of the artifacts in {root}; {fault}; put it back, or give --rebuild "
            "to `run` or `tune`, which sets both aside and runs every component anew; pushed models stay"
        )


def set_aside_before(path: str) -> list[str]:
    """What `--rebuild` has set aside of a file or folder on this machine, the oldest first."""
    return sorted(glob.glob(f"{glob.escape(path)}{_SET_ASIDE}*"))


def _set_aside(config: PipelineConfig) -> None:
    suffix = _SET_ASIDE + time.strftime("%Y%m%d-%H%M%S")
    for path in (config.metadata_path, config.pipeline_root):
        if os.path.exists(path):
            os.rename(path, path + suffix)
    os.makedirs(config.pipeline_root)


def _fault(path: str, root: str) -> str | None:
    # An empty file is what a new database begins with.
    if _is_new(path):
        # On a store of objects, folders of several outputs may lie together.
        has_artifacts = not locations.is_remote(root) and os.path.isdir(root) and bool(os.listdir(root))
        return "it is missing or empty" if has_artifacts else None
    return damage(path)


def damage(path: str) -> str | None:
    """What is wrong with a database of ML Metadata, in words; None if nothing is.

    Args:
      path: of its file, which is there.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            # With its indices: what lies in one alone is not found again.
            (answer,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if answer == "ok":
                database.execute("SELECT schema_version FROM MLMDEnv").fetchone()
                if not metadata_seal.is_broken(path):
                    return None
                answer = "its bytes are not those that the last command left"
    except sqlite3.DatabaseError as error:
        answer = str(error)
    return f"it is damaged: {answer.splitlines()[-1]}"


def _is_new(path: str) -> bool:
    """Whether there is no database, or one that nothing is in, as a command leaves that was killed while it made one.

    What that one had not finished SQLite takes back when the file is opened; its size says nothing before.
    """
    if os.path.exists(f"{path}-journal"):
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("SELECT name FROM sqlite_master").fetchone()
    return not os.path.exists(path) or not os.path.getsize(path)
