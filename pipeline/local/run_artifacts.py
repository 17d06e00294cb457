"""What a local run put out, by component, from ML Metadata."""

from __future__ import annotations

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata


class RunArtifacts:
    """The output artifacts of a run's executions."""

    def __init__(self, metadata_path: str, executions: dict[str, int]):
        """Opens the database.

        Args:
          metadata_path: the ML Metadata database.
          executions: the run's execution by component, done and cached ones alike.
        """
        self._store = ml_metadata.MetadataStore(metadata.sqlite_metadata_connection_config(metadata_path))
        self._executions = executions

    def get(self, component: str, key: str) -> metadata_store_pb2.Artifact | None:
        """The component's output of that key, or None if it has none."""
        return self._first(component, key, metadata_store_pb2.Event.OUTPUT)

    def given(self, component: str, key: str) -> metadata_store_pb2.Artifact | None:
        """The component's input of that key, of whichever run, or None if it has none."""
        return self._first(component, key, metadata_store_pb2.Event.INPUT)

    def _first(self, component: str, key: str, direction: int) -> metadata_store_pb2.Artifact | None:
        return (
            self._of_execution(self._executions[component], key, direction) if component in self._executions else None
        )

    def given_for(self, artifact: metadata_store_pb2.Artifact, key: str) -> metadata_store_pb2.Artifact | None:
        """The input of that key of the execution that made an artifact, of whichever run, or None if it has none."""
        return self._of_execution(self._maker(artifact), key, metadata_store_pb2.Event.INPUT)

    def made_with(self, artifact: metadata_store_pb2.Artifact, key: str) -> metadata_store_pb2.Artifact | None:
        """The output of that key of the execution that made an artifact, of whichever run, or None if it has none."""
        return self._of_execution(self._maker(artifact), key, metadata_store_pb2.Event.OUTPUT)

    def _maker(self, artifact: metadata_store_pb2.Artifact) -> int:
        """The execution that made an artifact; later ones took it from the cache."""
        events = self._store.get_events_by_artifact_ids([artifact.id])
        return min(event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT)

    def _of_execution(self, execution: int, key: str, direction: int) -> metadata_store_pb2.Artifact | None:
        for event in self._store.get_events_by_execution_ids([execution]):
            if event.type == direction and any(step.key == key for step in event.path.steps):
                return self._store.get_artifacts_by_id([event.artifact_id])[0]
        return None

    def all_of_type(self, name: str) -> list[metadata_store_pb2.Artifact]:
        """Every artifact of a type, of this run and all before it, in the order in which they were made."""
        return sorted(self._store.get_artifacts_by_type(name), key=lambda artifact: artifact.id)

    def require(self, component: str, key: str) -> metadata_store_pb2.Artifact:
        """The component's output of that key.

        Raises:
          LookupError: it has none.
        """
        artifact = self.get(component, key)
        if artifact is None:
            raise LookupError(f"expected {component} to have put out {key!r} in this run; it has not; run it again")
        return artifact
