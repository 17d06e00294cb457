"""A local run from start to verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING

from pipeline.config import locations
from pipeline.exit_codes import ExitCode
from pipeline.local.capture import captured
from pipeline.local.observers import LiveObserver, PlainObserver, terminal

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline, RunOptions

    from pipeline.config.pipeline_config import PipelineConfig
    from pipeline.local.outcome import Outcome

LAST_RUN_FILE = "last_run.json"


def run(
    config: PipelineConfig,
    *,
    from_component: str | None = None,
    to_component: str | None = None,
    verbose: bool = False,
    plain: bool = False,
) -> ExitCode:
    """Runs the pipeline on this machine and prints what it came to.

    Args:
      config: of the pipeline.
      from_component: skip what comes before it, and take its results from the last run.
      to_component: skip what comes after it.
      verbose: show what components write.
      plain: print lines rather than a live table, on a terminal too.

    Raises:
      ValueError: `from_component` comes after `to_component`, the strategy takes several machines, or a folder is in a
        place that a run on this machine cannot use.

    Returns:
      The exit code; the outcome is also written to `last_run.json` in the output folder.
    """
    if config.trainer.strategy == "multi_worker":
        # Every worker would have its own metadata and artifacts, and only one of them a model.
        raise ValueError(
            "expected strategy none or mirrored for a run on this machine; got multi_worker; compile the pipeline with "
            "cluster.training_job.workers, so that Trainer alone runs on several"
        )
    if not config.is_local:
        raise ValueError(
            "expected a folder on this machine for output, where metadata, logs and pushed models go; got "
            f"{config.output}; give artifacts alone another place, such as --set artifacts={config.output}, or compile "
            "the pipeline for a cluster"
        )
    console = terminal()
    live = console.is_terminal and not (plain or verbose)
    began = time.perf_counter()
    observer = LiveObserver(console) if live else PlainObserver(console)
    logs = os.path.join(config.output, "logs")
    status = console.status("loading TensorFlow and TFX") if live else contextlib.nullcontext()
    with status, captured(os.path.join(logs, "start-up.log"), also_on_terminal=verbose):
        from components.errors import AnomaliesError
        from pipeline.graph.pipeline import create_pipeline
        from pipeline.local import outcome, report
        from pipeline.local.dag_runner import ComponentError, LocalRunner
    for folder in (config.data.root, config.pipeline_root):
        locations.check_readable(folder)
    pipeline = create_pipeline(config)
    options = _run_options(pipeline, from_component, to_component)
    runner = LocalRunner(logs, observer, verbose=verbose)
    code, reasons = ExitCode.PUSHED, []
    try:
        with observer:
            runner.run(pipeline, run_options=options)
    except ComponentError as error:
        anomalous = isinstance(error.__cause__, AnomaliesError)
        code = ExitCode.ANOMALIES if anomalous else _blame(error.__cause__)
        reasons = str(error.__cause__ if anomalous else error).splitlines()
    if not runner.started:
        return ExitCode.PUSHED
    with captured(os.path.join(logs, "report.log"), also_on_terminal=verbose):
        result = outcome.read(config.metadata_path, runner.executions)
    if code != ExitCode.PUSHED:
        result = dataclasses.replace(result, exit_code=code, reasons=reasons, pushed_path=None)
    seconds = time.perf_counter() - began
    _record(config, result, observer.ended, seconds)
    report.show(console, config, result, observer.ended, seconds)
    return result.exit_code


def _blame(cause: BaseException | None) -> ExitCode:
    """A row that cannot be read is the input's fault, everything else is a failure."""
    from components.ratings_csv import RatingsRowError

    while cause is not None:
        if isinstance(cause, RatingsRowError):
            return ExitCode.BAD_INPUT
        cause = cause.__cause__
    return ExitCode.FAILED


def _run_options(pipeline: Pipeline, from_component: str | None, to_component: str | None) -> RunOptions | None:
    """Picks components by their order; TFX would leave out those that the named one is not connected with."""
    from tfx.orchestration.pipeline import RunOptions

    if not from_component and not to_component:
        return None
    order = [component.id for component in pipeline.components]
    first = order.index(from_component) if from_component else 0
    last = order.index(to_component) if to_component else len(order) - 1
    if first > last:
        raise ValueError(f"--from {from_component} comes after --to {to_component}; the order is {', '.join(order)}")
    return RunOptions(from_nodes=order[first : last + 1], to_nodes=order[first : last + 1])


def _record(config: PipelineConfig, result: Outcome, ended: dict[str, tuple[str, float]], seconds: float) -> None:
    """Writes the outcome where `predict` and `rank`, and other programs, find it."""
    fields = dataclasses.asdict(result)
    fields["slices"] = [{"feature": key[0], "value": key[1], **values} for key, values in result.slices.items()]
    fields["exit_code"] = int(result.exit_code)
    fields["components"] = {name: {"state": state, "seconds": spent} for name, (state, spent) in ended.items()}
    fields["seconds"] = seconds
    fields["config"] = config.model_dump()
    path = os.path.join(config.output, LAST_RUN_FILE)
    with open(path + ".partial", "w", encoding="utf-8") as file:
        json.dump(fields, file, indent=2)
    os.replace(path + ".partial", path)
