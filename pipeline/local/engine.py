"""The engine of a run on Flink or Spark that names no job server; it lives as long as the run."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator

from pipeline.config.beam_config import BeamConfig
from pipeline.engines import jars
from pipeline.engines.programs import Program
from pipeline.engines.serving import served


@dataclasses.dataclass(frozen=True)
class Reached:
    """A place to submit to.

    Attributes:
      beam: settings that name a job server.
      job_server: the one that was started for them, if any was.
    """

    beam: BeamConfig
    job_server: Program | None = None

    def reasons(self) -> list[str]:
        """What the engine has to tell of a failure: what its workers wrote last, and where the rest is."""
        if self.job_server is None:
            return []
        words = self.job_server.workers_last_words()
        said = ["Workers wrote last:", *words.splitlines()] if words else []
        return [*said, f"The engine's log: {self.job_server.log}"]


def check(beam: BeamConfig) -> None:
    """Refuses at once what `reachable` would refuse, before much is loaded.

    Raises:
      UserError: the engine was not fetched, or there is no Java.
    """
    if _is_ours(beam):
        jars.DISTRIBUTIONS[beam.runner].require()
        jars.java()


@contextlib.contextmanager
def reachable(beam: BeamConfig, logs: str | None, tell: Callable[[str], None]) -> Iterator[Reached]:
    """Gives a job server that runs: that of the settings, or one that is started and ends with the block.

    Args:
      beam: settings; those without `job_endpoint` have one started, for the cluster that they name or else with an
        engine of its own.
      logs: folder of the run's log files, in which the engine's get one; None to keep none.
      tell: called with a line before a job server is waited for.

    Raises:
      UserError: the engine was not fetched, there is no Java, or the job server does not start.
    """
    if not _is_ours(beam):
        yield Reached(beam)
        return
    tell(f"starting {beam.runner}, which runs the Beam pipelines")
    master = beam.flink_master or beam.spark_master_url
    with served(beam.runner, master=master, logs=pathlib.Path(logs, "engine") if logs else None) as engine:
        address = {"job_endpoint": engine.job_endpoint, "flink_master": None, "spark_master_url": None}
        yield Reached(beam.model_copy(update=address), engine.job_server)


def _is_ours(beam: BeamConfig) -> bool:
    return beam.runner in jars.DISTRIBUTIONS and beam.job_endpoint is None
