"""The runs of an output folder, from ML Metadata."""

from __future__ import annotations

import dataclasses
import datetime
import os
from typing import Any

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from modules.errors import UserError
from pipeline.config.component_order import position
from pipeline.local import run_records
from pipeline.local.pushed import Pushed

_NODE_TYPE = "node"
_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "done",
    metadata_store_pb2.Execution.CACHED: "cached",
    metadata_store_pb2.Execution.FAILED: "failed",
    metadata_store_pb2.Execution.RUNNING: "running",
}
_FINISHED = ("done", "cached")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Executed:
    """A component in a run.

    Attributes:
      execution: of ML Metadata.
      state: done, cached, failed, running, or canceled.
      seconds: from the start of its driver to its end.
      properties: what it was given, by name, as text or numbers.
    """

    execution: int
    state: str
    seconds: float
    properties: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run.

    Attributes:
      run_id: of ML Metadata.
      began: UTC.
      components: in the order in which they run; skipped ones are left out.
      record: what `run_records` keeps; empty where the run did not come to its end.
    """

    run_id: str
    began: datetime.datetime
    components: dict[str, Executed]
    record: dict[str, Any]

    @property
    def executions(self) -> dict[str, int]:
        """The execution of each component that came to its end."""
        return {name: each.execution for name, each in self.components.items() if each.state in _FINISHED}

    @property
    def shown_began(self) -> str:
        """When it began, for people."""
        return self.began.strftime("%Y-%m-%d %H:%M:%S UTC")


class PastRuns:
    """The runs of one ML Metadata database."""

    def __init__(self, metadata_path: str) -> None:
        """Opens the database.

        Raises:
          UserError: there is none.
        """
        if not os.path.exists(metadata_path):
            raise UserError(
                f"expected the ML Metadata of a run in {metadata_path}; there is none; run `movie-ranking run` first, "
                "or give its --output"
            )
        self.metadata_path = metadata_path
        self._store = ml_metadata.MetadataStore(metadata.sqlite_metadata_connection_config(metadata_path))

    def all(self) -> list[PastRun]:
        """Every run, the newest first."""
        contexts = self._store.get_contexts_by_type(run_records.RUN_TYPE)
        return [self._run(each) for each in sorted(contexts, key=_age, reverse=True)]

    def get(self, run_id: str | None) -> PastRun:
        """A run.

        Args:
          run_id: all of it, or a beginning that no other run has; None for the newest.

        Raises:
          UserError: there is none, or there are several.
        """
        contexts = sorted(self._store.get_contexts_by_type(run_records.RUN_TYPE), key=_age)
        if not contexts:
            raise UserError(f"expected a run in {self.metadata_path}; there is none; run `movie-ranking run` first")
        if run_id is None:
            return self._run(contexts[-1])
        exact = [each for each in contexts if each.name == run_id]
        found = exact or [each for each in contexts if each.name.startswith(run_id)]
        if len(found) != 1:
            fault = f"{len(found)} runs begin so" if found else "no run begins so"
            raise UserError(f"expected a run, such as {contexts[-1].name}; got {run_id!r}; {fault}; see `runs`")
        return self._run(found[0])

    def that_pushed(self, version: str | None) -> tuple[PastRun, Pushed]:
        """The run that pushed a version, and what is recorded of it.

        Args:
          version: its number; None for the newest.

        Raises:
          UserError: no run here did.
        """
        pushed = {
            os.path.basename(each.version): (artifact.id, each)
            for artifact in self._store.get_artifacts_by_type(standard_artifacts.PushedModel.TYPE_NAME)
            if (each := Pushed.of(artifact)) is not None
        }
        known = sorted(pushed, key=lambda name: (len(name), name))
        if version is None and known:
            version = known[-1]
        if version not in pushed:
            there = f"one of {', '.join(known[-5:])}" if known else "of a run that pushed one"
            raise UserError(f"expected a version, {there}; got {version or 'none'}; see `movie-ranking runs`")
        artifact_id, record = pushed[version]
        events = self._store.get_events_by_artifact_ids([artifact_id])
        executions = sorted(each.execution_id for each in events if each.type == metadata_store_pb2.Event.OUTPUT)
        contexts = self._store.get_contexts_by_execution(executions[0])
        return self._run(next(each for each in contexts if self._type(each) == run_records.RUN_TYPE)), record

    def _run(self, context: metadata_store_pb2.Context) -> PastRun:
        components = {}
        for execution in self._store.get_executions_by_context(context.id):
            nodes = [each for each in self._store.get_contexts_by_execution(execution.id) if self._is_node(each)]
            if not nodes:
                continue
            # "<pipeline>.<component>"; a pipeline may have dots in its name, a component has none.
            components[nodes[0].name.rpartition(".")[2]] = Executed(
                execution=execution.id,
                state=_STATES.get(execution.last_known_state, "canceled"),
                seconds=(execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000.0,
                properties={
                    name: getattr(value, kind)
                    for name, value in sorted((*execution.properties.items(), *execution.custom_properties.items()))
                    if (kind := value.WhichOneof("value")) and not name.startswith("__")
                },
            )
        return PastRun(
            run_id=context.name,
            began=datetime.datetime.fromtimestamp(_age(context) / 1000.0, datetime.timezone.utc),
            components=dict(sorted(components.items(), key=lambda item: position(item[0]))),
            record=run_records.of_context(context.custom_properties),
        )

    def _is_node(self, context: metadata_store_pb2.Context) -> bool:
        return self._type(context) == _NODE_TYPE

    def _type(self, context: metadata_store_pb2.Context) -> str:
        return context.type or self._store.get_context_types_by_id([context.type_id])[0].name


def _age(context: metadata_store_pb2.Context) -> int:
    return context.create_time_since_epoch
