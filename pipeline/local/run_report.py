"""Reports of runs, written at their end, and made again later."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.outcome import Outcome
from components.releases import releases
from components.report_gen import REPORT_FILE
from data import atomic
from pipeline.exit_codes import ExitCode
from pipeline.local import results, run_facts, run_records
from pipeline.local.past_runs import PastRun, PastRuns
from pipeline.local.run_artifacts import RunArtifacts
from pipeline.report import rendering

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import PipelineConfig

# Of `last_run.json`, what is kept in ML Metadata, too: the rest of it can be read from there.
_KEPT = ("exit_code", "reasons", "pushed_path", "notes", "components", "seconds", "config")
_ENDED_SO = {"failed": ExitCode.FAILED, "running": ExitCode.INTERRUPTED}


def write(config: PipelineConfig, run_id: str, result: Outcome, record: Mapping[str, Any]) -> None:
    """Records a run that has just ended in ML Metadata, and writes its report beside `last_run.json`.

    Args:
      config: of the run.
      run_id: of the run in ML Metadata.
      result: what it came to.
      record: what is in `last_run.json`.
    """
    kept = {name: record[name] for name in _KEPT} | {
        "data": run_records.data_record(config.data.root),
        "releases": releases(),
    }
    if run_records.write(config.metadata_path, run_id, kept):
        past = PastRuns(config.metadata_path).get(run_id)
    else:
        now = datetime.datetime.now(datetime.timezone.utc)
        past = PastRun(run_id=run_id, began=now, components={}, record=kept)
    atomic.write_text(os.path.join(config.output, REPORT_FILE), _page(config.metadata_path, past, result))


def page_of(metadata_path: str, past: PastRun) -> str:
    """The report of a run, from ML Metadata and the artifacts.

    Args:
      metadata_path: the ML Metadata database.
      past: the run.
    """
    return _page(metadata_path, past, outcome_of(metadata_path, past))


def outcome_of(metadata_path: str, past: PastRun) -> Outcome:
    """What a run came to, when it ended: what became of a pushed version later is no part of it."""
    read = results.when_it_ended(RunArtifacts(metadata_path, past.executions))
    record = past.record
    if record:
        code, reasons = ExitCode(record["exit_code"]), list(record["reasons"])
    elif read.pushed_path is not None:
        return read
    else:
        code, reasons = _code_and_reasons(past, read)
    path = read.pushed_path if code == ExitCode.PUSHED or record.get("pushed_path") else None
    return dataclasses.replace(
        read, exit_code=code, reasons=reasons, pushed_path=path, notes=list(record.get("notes", ()))
    )


def _code_and_reasons(past: PastRun, read: Outcome) -> tuple[ExitCode, list[str]]:
    """Of a run that nothing was recorded of, as it was interrupted, or made by an earlier release."""
    for name, executed in past.components.items():
        if executed.state in _ENDED_SO:
            return _ENDED_SO[executed.state], [f"{name} did not come to its end"]
    return read.exit_code, read.reasons


def _page(metadata_path: str, past: PastRun, result: Outcome) -> str:
    return rendering.report(run_facts.facts_of(metadata_path, past, result))
