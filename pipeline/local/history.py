"""What ML Metadata knows of all runs in an output folder."""

from __future__ import annotations

import collections

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata

FINISHED = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


class History:
    """Runs, their executions, and what these took and put out.

    Attributes:
      store: the database.
      runs: the ids of each run's executions, those that were taken from the cache included; the oldest run first.
      components: the id of the component that each execution is of.
      executions: all there are, by id.
      artifacts: all there are, by id.
      makers: the execution that made each artifact, which is the first that put it out.
    """

    def __init__(self, metadata_path: str):
        """Reads the database."""
        self.store = ml_metadata.MetadataStore(metadata.sqlite_metadata_connection_config(metadata_path))
        self.artifacts = {artifact.id: artifact for artifact in self.store.get_artifacts()}
        self.executions = {execution.id: execution for execution in self.store.get_executions()}
        self.runs = [ids for _, ids in self._executions_by(constants.PIPELINE_RUN_CONTEXT_TYPE_NAME)]
        # The context of a node is named PIPELINE.COMPONENT; no name of a pipeline has a dot.
        self.components = {
            execution: name.partition(".")[2]
            for name, ids in self._executions_by(constants.NODE_CONTEXT_TYPE_NAME)
            for execution in ids
        }
        self.makers: dict[int, int] = {}
        self._artifacts_of: dict[int, set[int]] = collections.defaultdict(set)
        for event in self.store.get_events_by_execution_ids(list(self.executions)) if self.executions else ():
            self._artifacts_of[event.execution_id].add(event.artifact_id)
            if event.type == metadata_store_pb2.Event.OUTPUT:
                earliest = self.makers.get(event.artifact_id, event.execution_id)
                self.makers[event.artifact_id] = min(earliest, event.execution_id)

    def artifacts_of(self, execution: int) -> set[int]:
        """The ids of what an execution took and put out, whichever execution made it."""
        return self._artifacts_of[execution]

    def of_type(self, name: str) -> list[metadata_store_pb2.Artifact]:
        """Every artifact of a type, in the order in which they were made."""
        return [artifact for _, artifact in sorted(self.artifacts.items()) if artifact.type == name]

    def _executions_by(self, context_type: str) -> list[tuple[str, frozenset[int]]]:
        """The names of the contexts of a type, in the order in which they were made, and the executions in each."""
        contexts = sorted(self.store.get_contexts_by_type(context_type), key=lambda context: context.id)
        return [
            (each.name, frozenset(execution.id for execution in self.store.get_executions_by_context(each.id)))
            for each in contexts
        ]
