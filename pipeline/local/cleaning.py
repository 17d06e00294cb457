"""Removes results of runs that nothing needs any more.

ML Metadata is told first that they are gone, then they are removed: whenever that is interrupted, no run takes any of
them from the cache, and the next time what is left of them is removed, since nothing that stays lies there.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2

from components import pushed_versions
from modules import checkpoints, file_sums
from modules.errors import UserError
from pipeline.config import locations
from pipeline.config.locations import ARTIFACTS_FOLDER, METADATA_FILE, SERVING_FOLDER
from pipeline.local import metadata_file, needed
from pipeline.local.history import History
from pipeline.local.needed import LIVE

VERSIONS, LEFTOVERS = "pushed versions", "leftovers"
_LOGS = "logs"
# What TFX keeps of executions while they run, in a component's folder.
_SYSTEM = ".system"


class RemovalError(Exception):
    """Something cannot be removed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Some of what is to be removed.

    Attributes:
      what: the component that made it, or VERSIONS or LEFTOVERS.
      count: of how many runs of the component it is, or how many versions or leftovers there are.
      paths: of folders and files.
      size: bytes.
    """

    what: str
    count: int
    paths: tuple[str, ...]
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be removed from an output folder.

    Attributes:
      parts: what of each component, then versions and leftovers; none of them is empty.
      kept_size: of the artifacts, logs and pushed versions that stay, bytes.
      artifacts: ids of those that ML Metadata is to be told of.
      versions: numbers of pushed versions.
    """

    parts: tuple[Part, ...]
    kept_size: int
    artifacts: tuple[int, ...]
    versions: tuple[int, ...]

    @property
    def size(self) -> int:
        """Of all that is to be removed, bytes."""
        return sum(part.size for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON; sizes in bytes."""
        return {
            "remove": [dataclasses.asdict(part) for part in self.parts],
            "remove_size": self.size,
            "keep_size": self.kept_size,
        }


class Cleaning:
    """One clean-up of an output folder, which nobody else works on meanwhile."""

    def __init__(self, output: str, keep: int):
        """Reads what there is.

        Args:
          output: folder of the runs, on this machine.
          keep: how many of the newest runs and versions stay.

        Raises:
          UserError: the folder is a copy of that in which the runs were, or its database or a record is damaged.
        """
        record = needed.last_run(output)
        recorded = record.get("config", {})
        # Folders are compared by the names that runs gave them.
        self._output = recorded.get("output", output)
        if os.path.realpath(self._output) != os.path.realpath(output):
            raise UserError(
                f"expected the output folder in which its runs were; got {output}, whose last run was in "
                f"{self._output}; if it was moved, run in it first"
            )
        self._serving = os.path.join(self._output, SERVING_FOLDER)
        root, metadata_path = (os.path.join(self._output, name) for name in (ARTIFACTS_FOLDER, METADATA_FILE))
        self._roots = sorted({root, recorded.get("artifacts") or root})
        metadata_file.check_whole(metadata_path, root)
        self._history = History(metadata_path)
        self._needed = needed.find(self._history, record, self._serving, keep)

    def plan(self) -> Plan:
        """What is to be removed; nothing is, yet."""
        artifacts = self._history.artifacts
        staying = {artifacts[id_].uri for id_ in self._needed.artifacts}
        doomed = tuple(
            id_
            for id_, artifact in sorted(artifacts.items())
            if artifact.state == LIVE
            and artifact.uri not in staying
            and any(artifact.uri.startswith(f"{root}/") for root in self._roots)
        )
        versions = tuple(sorted(set(pushed_versions.versions(self._serving)) - self._needed.versions))
        by_component: dict[str, dict[int, list[str]]] = {}
        kept_before = (f"{self._output}/{METADATA_FILE}", *self._roots)
        set_aside = [each for path in kept_before for each in metadata_file.set_aside_before(path)]
        leftovers = [*pushed_versions.leftovers(self._serving), *self._logs(), *set_aside]
        for root in self._roots:
            for component in sorted(set(self._history.components.values())):
                folder = f"{root}/{component}"
                for execution, path in self._results(component, folder):
                    if path not in staying:
                        by_component.setdefault(component, {}).setdefault(execution, []).append(path)
                leftovers += self._leftovers(component, folder)
        parts = [
            _part(component, len(results), [path for paths in results.values() for path in paths])
            for component, results in by_component.items()
        ]
        there = pushed_versions.versions(self._serving)
        parts.append(_part(VERSIONS, len(versions), [there[number] for number in versions]))
        parts.append(_part(LEFTOVERS, len(leftovers), leftovers))
        parts = [part for part in parts if part.paths]
        everything = sum(_size(each) for each in (*self._roots, f"{self._output}/{_LOGS}", self._serving, *set_aside))
        kept = everything - sum(part.size for part in parts)
        return Plan(parts=tuple(parts), kept_size=kept, artifacts=doomed, versions=versions)

    def carry_out(self, plan: Plan) -> None:
        """Removes what was planned.

        Raises:
          RemovalError: something cannot be removed; what is left of it is taken by no run.
        """
        artifacts = [self._history.artifacts[id_] for id_ in plan.artifacts]
        for artifact in artifacts:
            artifact.state = metadata_store_pb2.Artifact.DELETED
        self._history.store.put_artifacts(artifacts)
        try:
            pushed_versions.remove(self._serving, plan.versions)
            for part in plan.parts:
                if part.what != VERSIONS:
                    for path in part.paths:
                        _remove(path)
        except (OSError, tf.errors.OpError) as error:
            raise RemovalError(f"expected to remove what no run needs; got: {error}; mend that, then repeat") from error

    def _results(self, component: str, folder: str) -> Iterator[tuple[int, str]]:
        """The folders of results of a component: KEY/EXECUTION, by execution."""
        for key in _names(folder):
            for name in _names(f"{folder}/{key}") if key != _SYSTEM else ():
                if name.isdigit() and self._history.components.get(int(name)) == component:
                    yield int(name), f"{folder}/{key}/{name}"

    def _leftovers(self, component: str, folder: str) -> Iterator[str]:
        """What executions have left in a component's folder beside their results."""
        # Of executions that were killed, too: none goes on from there.
        for kind in _names(f"{folder}/{_SYSTEM}"):
            yield from (f"{folder}/{_SYSTEM}/{kind}/{name}" for name in _names(f"{folder}/{_SYSTEM}/{kind}"))
        if component not in self._needed.unfinished:
            for key in _names(folder):
                if checkpoints.FOLDER in _names(f"{folder}/{key}"):
                    yield f"{folder}/{key}/{checkpoints.FOLDER}"

    def _logs(self) -> Iterator[str]:
        """Logs of components that no kept run has."""
        for component in sorted(set(self._history.components.values()) - self._needed.components):
            path = f"{self._output}/{_LOGS}/{component}.log"
            if os.path.exists(path):
                yield path


def check_is_output(folder: str) -> None:
    """Refuses a folder in which nothing has run.

    Raises:
      UserError: it has no ML Metadata, or is not on this machine.
    """
    if locations.is_remote(folder) or not os.path.isfile(os.path.join(folder, METADATA_FILE)):
        raise UserError(
            f"expected an output folder of `movie-ranking run` on this machine, with {METADATA_FILE}; got {folder}, "
            "which has none; give another --output"
        )


def _part(what: str, count: int, paths: Iterable[str]) -> Part:
    paths = tuple(sorted(paths))
    return Part(what=what, count=count, paths=paths, size=sum(map(_size, paths)))


def _names(folder: str) -> list[str]:
    """What lies in a folder, here or on `gs://`; nothing where there is none."""
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []


def _size(path: str) -> int:
    """Of a file, or of all files below a folder, bytes."""
    if not tf.io.gfile.isdir(path):
        return tf.io.gfile.stat(path).length if tf.io.gfile.exists(path) else 0
    return sum(tf.io.gfile.stat(f"{path}/{name}").length for name in file_sums.files_below(path))


def _remove(path: str) -> None:
    """Removes a file, or a folder with all that is below it; never what a link in it leads to."""
    if locations.is_remote(path):
        tf.io.gfile.rmtree(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.remove(path)
