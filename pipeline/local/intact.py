"""Whether what components put out is still what they wrote.

ML Metadata keeps two things of each artifact: a digest of its files, and their stamps, which are sizes and times. Files
with the stamps of before are taken for the files of before, as Git does it, so that an unchanged run reads none of
them; where a stamp has changed, the digest decides. What a disk changes by itself is therefore not seen here. What lies
on another machine is left out.
"""

from __future__ import annotations

import hashlib
import os

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from components import model_digest
from modules import file_sums
from modules.notes import note
from pipeline.config import locations
from pipeline.local.history import FINISHED

DIGEST_PROPERTY, STAMPS_PROPERTY = "files_digest", "files_stamps"


class Outputs:
    """All that a component has put out, in this run and before."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig, component: str, execution_type: str):
        """Opens the database.

        Args:
          connection: to ML Metadata.
          component: its id.
          execution_type: name of the type of its executions.
        """
        self._store = ml_metadata.MetadataStore(connection)
        self._component, self._execution_type = component, execution_type

    def record(self, execution_id: int) -> None:
        """Records the files of what an execution has just put out."""
        artifacts = [each for each in self._of([execution_id]) if not locations.is_remote(each.uri)]
        for artifact in artifacts:
            artifact.custom_properties[STAMPS_PROPERTY].string_value = _stamps(artifact.uri)
            artifact.custom_properties[DIGEST_PROPERTY].string_value = _digest(artifact.uri)
        self._store.put_artifacts(artifacts)

    def discard_damaged(self) -> None:
        """Keeps the cache from what is no longer as it was recorded, and notes it.

        ML Metadata is told of each artifact whose files have changed, so that no component takes it. What was put out
        before anything was recorded is taken as it is.
        """
        executions = self._store.get_executions_by_type(self._execution_type)
        finished = sorted(each.id for each in executions if each.last_known_state in FINISHED)
        latest = {artifact.id for artifact in self._of(finished[-1:])}
        damaged = []
        for artifact in self._of(finished):
            if artifact.state != metadata_store_pb2.Artifact.LIVE or DIGEST_PROPERTY not in artifact.custom_properties:
                continue
            if not os.path.isdir(artifact.uri):
                # TFX looks for the folder itself. An old one may have been removed on purpose.
                if artifact.id in latest:
                    note(f"{artifact.uri}, which {self._component} made, is gone")
            elif _has_changed(artifact):
                note(f"{artifact.uri}, which {self._component} made, was damaged or changed; it is not used again")
                artifact.state = metadata_store_pb2.Artifact.DELETED
                damaged.append(artifact)
        self._store.put_artifacts(damaged)

    def _of(self, execution_ids: list[int]) -> list[metadata_store_pb2.Artifact]:
        """What executions put out, each artifact once."""
        events = self._store.get_events_by_execution_ids(execution_ids) if execution_ids else []
        output = {event.artifact_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT}
        return list(self._store.get_artifacts_by_id(sorted(output)))


def _has_changed(artifact: metadata_store_pb2.Artifact) -> bool:
    recorded = {key: artifact.custom_properties[key].string_value for key in (STAMPS_PROPERTY, DIGEST_PROPERTY)}
    return _stamps(artifact.uri) != recorded[STAMPS_PROPERTY] and _digest(artifact.uri) != recorded[DIGEST_PROPERTY]


def _digest(folder: str) -> str:
    """Of the files below a folder; "" if there is none."""
    return model_digest.of_folder(folder) if file_sums.files_below(folder) else ""


def _stamps(folder: str) -> str:
    """What of the files below a folder differs once one of them was written to, without reading any."""
    stamps = hashlib.sha256()
    for name in file_sums.files_below(folder):
        status = os.stat(os.path.join(folder, name))
        stamps.update(f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}  {name}\n".encode())
    return stamps.hexdigest()
