"""Runs a compiled pipeline on this machine, component by component, under an observer's eyes."""

from __future__ import annotations

import datetime
import logging
import os
import time

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, partial_run_utils, runtime_parameter_utils
from tfx.proto.orchestration import local_deployment_config_pb2, pipeline_pb2

from components import probe_process
from modules import progress
from pipeline.config.component_order import position
from pipeline.local.capture import captured
from pipeline.local.intact import Outputs
from pipeline.local.interrupts import kept
from pipeline.local.notes import Notes
from pipeline.local.observers import Observer
from pipeline.local.pushed import is_outdated
from pipeline.local.run_artifacts import RunArtifacts

State = metadata_store_pb2.Execution
# The component whose process can be started ahead.
PROBING = "ServableValidator"
# The component whose result is of use only while it lies where servers take it from.
PUSHING = "Pusher"
DONE, CACHED, SKIPPED, FAILED = "done", "cached", "skipped", "failed"


class ComponentError(Exception):
    """A component failed; the cause is chained.

    Attributes:
      component: its id.
      log_path: what it wrote.
    """

    def __init__(self, component: str, log_path: str, reason: str):
        super().__init__(f"{component} failed: {reason}\nIts log: {log_path}")
        self.component, self.log_path = component, log_path


class LocalRunner(local_dag_runner.LocalDagRunner):
    """TFX's local runner, with a log file for each component and an observer.

    Attributes:
      started: whether anything was run; TFX's command line replaces `run` where it only registers a pipeline.
      run_id: of the run in ML Metadata; "" until it is started.
      executions: each component that ran or was cached, to its execution in ML Metadata.
      notes: what components had to tell beside their verdicts.
    """

    def __init__(self, log_dir: str, observer: Observer, *, verbose: bool = False):
        """Prepares a run.

        Args:
          log_dir: where the log files go, one a component.
          observer: told of each component.
          verbose: leave what components write on the terminal as well.
        """
        super().__init__()
        self._log_dir, self._observer, self._verbose = log_dir, observer, verbose
        self.started = False
        self.run_id = ""
        self.executions: dict[str, int] = {}
        self.notes: list[str] = []
        self._before_probe: set[str] = set()

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None) -> None:
        """Runs a compiled pipeline; see the base class.

        Raises:
          ComponentError: a component failed; those before it are cached for the next run.
        """
        self.started = True
        self.run_id = datetime.datetime.now().isoformat()
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self.run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        kind = deployment.metadata_connection_config.WhichOneof("connection_config")
        connection = getattr(deployment.metadata_connection_config, kind)
        if run_options:
            partial = run_options.partial_run
            partial_run_utils.mark_pipeline(
                pipeline,
                from_nodes=partial.from_nodes or None,
                to_nodes=partial.to_nodes or None,
                snapshot_settings=partial.snapshot_settings,
            )
        nodes = sorted((node.pipeline_node for node in pipeline.nodes), key=lambda node: position(node.node_info.id))
        self._observer.run_started([node.node_info.id for node in nodes])
        to_run = [node.node_info.id for node in nodes if not node.execution_options.HasField("skip")]
        self._before_probe = set(to_run[: to_run.index(PROBING)]) if PROBING in to_run else set()
        told = Notes()
        self.notes = told.lines
        try:
            with told:
                for node in nodes:
                    self._run_node(node, pipeline, deployment, connection)
        finally:
            probe_process.stop_ahead()

    def _run_node(
        self,
        node: pipeline_pb2.PipelineNode,
        pipeline: pipeline_pb2.Pipeline,
        deployment: local_deployment_config_pb2.LocalDeploymentConfig,
        connection: metadata_store_pb2.ConnectionConfig,
    ) -> None:
        name = node.node_info.id
        if node.execution_options.HasField("skip"):
            self._observer.component_ended(name, SKIPPED, 0.0)
            return
        began = time.perf_counter()
        executor_spec = runner_utils.extract_executor_spec(deployment, name)
        self._observer.component_started(name)
        log_path = os.path.join(self._log_dir, f"{name}.log")
        try:
            with captured(log_path, also_on_terminal=self._verbose), _Progress(self._observer, name), kept():
                if node.execution_options.run.perform_snapshot:
                    with metadata.Metadata(connection) as handle:
                        partial_run_utils.snapshot(handle, pipeline)
                if name == PUSHING and is_outdated(RunArtifacts(connection.sqlite.filename_uri, self.executions)):
                    node.execution_options.caching_options.enable_cache = False
                # A resolver, which has no executor, puts out what others made.
                outputs = Outputs(connection, name, node.node_info.type.name) if executor_spec is not None else None
                if outputs is not None:
                    outputs.discard_damaged()
                execution_id, state = _launch(node, pipeline, deployment, connection)
                if outputs is not None and execution_id is not None and state == State.COMPLETE:
                    outputs.record(execution_id)
        except Exception as error:
            self._observer.component_ended(name, FAILED, time.perf_counter() - began)
            raise ComponentError(name, log_path, f"{type(error).__name__}: {error}") from error
        # TFX reports inputs that it cannot resolve by the state alone, without an exception.
        if execution_id is None or state not in (State.COMPLETE, State.CACHED):
            self._observer.component_ended(name, FAILED, time.perf_counter() - began)
            raise ComponentError(name, log_path, "TFX could not resolve its inputs")
        self.executions[name] = execution_id
        done = CACHED if state == State.CACHED else DONE
        # What comes behind a component that ran will run too; a resolver, which has no executor, says nothing of it.
        if done == DONE and executor_spec is not None and name in self._before_probe:
            probe_process.start_ahead()
        self._observer.component_ended(name, done, time.perf_counter() - began)


def _launch(
    node: pipeline_pb2.PipelineNode,
    pipeline: pipeline_pb2.Pipeline,
    deployment: local_deployment_config_pb2.LocalDeploymentConfig,
    connection: metadata_store_pb2.ConnectionConfig,
) -> tuple[int | None, int]:
    """Runs a component, or takes its result from the cache; gives its execution, if there is one, and the state."""
    name = node.node_info.id
    info = launcher.Launcher(
        pipeline_node=node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=pipeline.pipeline_info,
        pipeline_runtime_spec=pipeline.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, name),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
    ).launch()
    if not info or not info.execution_id:
        return None, State.CANCELED
    return info.execution_id, _execution_state(connection, info.execution_id)


class _Progress(logging.Handler):
    """Passes progress of the component that runs to the observer, for the time of a `with` block."""

    def __init__(self, observer: Observer, component: str):
        super().__init__()
        self._observer, self._component = observer, component
        self._logger = logging.getLogger(progress.LOGGER_NAME)

    def emit(self, record: logging.LogRecord) -> None:
        self._observer.component_progress(self._component, record.getMessage())

    def __enter__(self) -> _Progress:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def _execution_state(connection: metadata_store_pb2.ConnectionConfig, execution_id: int) -> int:
    store = ml_metadata.MetadataStore(connection)
    return store.get_executions_by_id([execution_id])[0].last_known_state
