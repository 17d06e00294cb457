"""The engine of a run on Flink or Spark that names no job server; it lives as long as the run."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from pipeline.config.beam_config import BeamConfig
from pipeline.engines import jars
from pipeline.engines.serving import served


def check(beam: BeamConfig) -> None:
    """Refuses at once what `reachable` would refuse, before much is loaded.

    Raises:
      UserError: the engine was not fetched, or there is no Java.
    """
    if _is_ours(beam):
        jars.DISTRIBUTIONS[beam.runner].require()
        jars.java()


@contextlib.contextmanager
def reachable(beam: BeamConfig, logs: str | None) -> Iterator[BeamConfig]:
    """Gives settings with a job server that runs: those given, or ones of a job server that is started.

    Args:
      beam: settings; those without `job_endpoint` have one started, for the cluster that they name or else with an
        engine of its own.
      logs: folder of the run's log files, in which the engine's get one; None to keep none.

    Raises:
      UserError: the engine was not fetched, there is no Java, or the job server does not start.
    """
    if not _is_ours(beam):
        yield beam
        return
    master = beam.flink_master or beam.spark_master_url
    with served(beam.runner, master=master, logs=pathlib.Path(logs, "engine") if logs else None) as engine:
        yield beam.model_copy(
            update={"job_endpoint": engine.job_endpoint, "flink_master": None, "spark_master_url": None}
        )


def _is_ours(beam: BeamConfig) -> bool:
    return beam.runner in jars.DISTRIBUTIONS and beam.job_endpoint is None
