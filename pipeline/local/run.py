"""A local run from start to verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import time
from typing import TYPE_CHECKING, Any

from rich.text import Text

from data import atomic
from modules.errors import UserError
from pipeline.config import locations
from pipeline.config.component_order import in_order
from pipeline.exit_codes import ExitCode
from pipeline.local import engine
from pipeline.local.capture import captured
from pipeline.local.observers import LiveObserver, PlainObserver, terminal
from pipeline.local.printable import printable

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline, RunOptions

    from components.outcome import Outcome
    from pipeline.config.pipeline_config import PipelineConfig

LAST_RUN_FILE = "last_run.json"


def run(
    config: PipelineConfig,
    *,
    from_component: str | None = None,
    to_component: str | None = None,
    verbose: bool = False,
    plain: bool = False,
    tracking_uri: str | None = None,
) -> ExitCode:
    """Runs the pipeline on this machine and prints what it came to.

    Args:
      config: of the pipeline.
      from_component: skip what comes before it, and take its results from the last run.
      to_component: skip what comes after it.
      verbose: show what components write.
      plain: print lines rather than a live table, on a terminal too.
      tracking_uri: of MLflow, to record the run there; None for no record. Where that fails, a line says so.

    Raises:
      UserError: `from_component` comes after `to_component`, one of them is not part of the pipeline, the strategy
        takes several machines, a folder is in a place that a run on this machine cannot use, or the engine that Beam
        is to use was not fetched or does not start.

    Returns:
      The exit code; the outcome is also written to `last_run.json` in the output folder, and for people to
      `report.html` beside it.
    """
    if config.trainer.strategy == "multi_worker":
        # Every worker would have its own metadata and artifacts, and only one of them a model.
        raise UserError(
            "expected strategy none or mirrored for a run on this machine; got multi_worker; compile the pipeline with "
            "cluster.training_job.workers, so that Trainer alone runs on several"
        )
    if not config.is_local:
        raise UserError(
            "expected a folder on this machine for output, where metadata, logs and pushed models go; got "
            f"{config.output}; give artifacts alone another place, such as --set artifacts={config.output}, or compile "
            "the pipeline for a cluster"
        )
    engine.check(config.beam)
    console = terminal()
    live = console.is_terminal and not (plain or verbose)
    began = time.perf_counter()
    observer = LiveObserver(console) if live else PlainObserver(console)
    logs = os.path.join(config.output, "logs")
    status = console.status("loading TensorFlow and TFX") if live else contextlib.nullcontext()
    with status, captured(os.path.join(logs, "start-up.log"), also_on_terminal=verbose):
        from pipeline.graph.pipeline import create_pipeline
        from pipeline.local import report, results, run_report
        from pipeline.local.dag_runner import ComponentError, LocalRunner
    for folder in (config.data.root, config.pipeline_root):
        locations.check_readable(folder)
    options = _run_options(create_pipeline(config), from_component, to_component)
    runner = LocalRunner(logs, observer, verbose=verbose)
    code, reasons = ExitCode.PUSHED, []
    with engine.reachable(config.beam, logs, console.print) as reached:
        try:
            with observer:
                runner.run(create_pipeline(config.model_copy(update={"beam": reached.beam})), run_options=options)
        except ComponentError as error:
            code = exit_code_of(error)
            reasons = str(error.__cause__ if code == ExitCode.ANOMALIES else error).splitlines()
            if code == ExitCode.FAILED:
                reasons += reached.reasons()
    if not runner.started:
        return ExitCode.PUSHED
    with captured(os.path.join(logs, "report.log"), also_on_terminal=verbose):
        result = dataclasses.replace(results.read(config.metadata_path, runner.executions), notes=runner.notes)
    if code != ExitCode.PUSHED:
        # Of what failed after Pusher, its verdict is told, too.
        before = result.reasons if "Pusher" in runner.executions else []
        result = dataclasses.replace(result, exit_code=code, reasons=[*reasons, *before])
    seconds = time.perf_counter() - began
    record = _record(config, result, observer.ended, seconds)
    # First, so that it is told whatever becomes of the page.
    report.show(console, config, result, observer.ended, seconds)
    with captured(os.path.join(logs, "report.log"), also_on_terminal=verbose):
        run_report.write(config, runner.run_id, result, record)
    if tracking_uri is not None:
        waiting = console.status(f"recording the run in {tracking_uri}") if live else contextlib.nullcontext()
        with waiting, captured(os.path.join(logs, "mlflow.log"), also_on_terminal=verbose):
            said = _track(config, runner.run_id, tracking_uri)
        console.print(Text(printable(said)), soft_wrap=True)
    return result.exit_code


def _track(config: PipelineConfig, run_id: str, tracking_uri: str) -> str:
    """Records a run in MLflow, and says what became of that."""
    from pipeline.local import tracking
    from pipeline.local.past_runs import PastRuns

    try:
        recorded = tracking.record(config.metadata_path, PastRuns(config.metadata_path).get(run_id), tracking_uri)
    except UserError as error:
        return f"not recorded in MLflow: {error}"
    except tracking.TrackingError as error:
        again = ["movie-ranking", "runs", "track", run_id, "--mlflow", tracking_uri, "--output", config.output]
        return f"not recorded in MLflow: {error}; nothing is lost, and it can be recorded later: {shlex.join(again)}"
    return f"recorded in MLflow: {recorded}"


def exit_code_of(error: BaseException) -> ExitCode:
    """What a failure says by its causes: bad data, data that do not fit the schema, no test data, or something else."""
    from components.errors import AnomaliesError, EvidenceError
    from data.errors import DataError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DataError):
            return ExitCode.BAD_INPUT
        if isinstance(cause, AnomaliesError):
            return ExitCode.ANOMALIES
        if isinstance(cause, EvidenceError):
            return ExitCode.NOT_BLESSED
        cause = cause.__cause__
    return ExitCode.FAILED


def _run_options(pipeline: Pipeline, from_component: str | None, to_component: str | None) -> RunOptions | None:
    """Picks components by their order; TFX would leave out those that the named one is not connected with."""
    from tfx.orchestration.pipeline import RunOptions

    if not from_component and not to_component:
        return None
    order = in_order(component.id for component in pipeline.components)
    for name in (from_component, to_component):
        if name and name not in order:
            raise UserError(f"expected one of {', '.join(order)}; got {name}, which is not part of this pipeline")
    first = order.index(from_component) if from_component else 0
    last = order.index(to_component) if to_component else len(order) - 1
    if first > last:
        raise UserError(f"--from {from_component} comes after --to {to_component}; the order is {', '.join(order)}")
    return RunOptions(from_nodes=order[first : last + 1], to_nodes=order[first : last + 1])


def _record(
    config: PipelineConfig, result: Outcome, ended: dict[str, tuple[str, float]], seconds: float
) -> dict[str, Any]:
    """Writes the outcome where `predict` and `rank`, and other programs, find it, and gives it back."""
    record = result.as_record() | {
        "components": {name: {"state": state, "seconds": spent} for name, (state, spent) in ended.items()},
        "seconds": seconds,
        "config": config.model_dump(),
    }
    atomic.write_text(os.path.join(config.output, LAST_RUN_FILE), json.dumps(record, indent=2))
    return record
