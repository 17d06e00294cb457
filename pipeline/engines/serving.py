"""An engine on this machine, from its start to its end: embedded in Beam's job server, or a cluster beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from pipeline.engines import flink, jars, spark
from pipeline.engines.programs import Program
from pipeline.engines.stage import Stage

_ENGINES = {"flink": flink, "spark": spark}


@dataclasses.dataclass(frozen=True)
class Served:
    """What runs.

    Attributes:
      job_endpoint: HOST:PORT of Beam's job server.
      master: address of the cluster; None of an embedded engine.
      workers: the programs that work: task managers of Flink, workers of Spark.
      job_server: Beam's.
    """

    job_endpoint: str
    master: str | None
    workers: Sequence[Program]
    job_server: Program

    def ended(self) -> Program | None:
        """A program that has ended by itself, if there is one."""
        return next((program for program in (self.job_server, *self.workers) if not program.runs), None)


@contextlib.contextmanager
def served(
    name: str, *, workers: int = 0, master: str | None = None, logs: pathlib.Path | None = None
) -> Iterator[Served]:
    """Starts an engine and Beam's job server for it, and stops them with all that they started.

    Args:
      name: "flink" or "spark".
      workers: of a cluster on this machine; 0 for the engine that is embedded in the job server.
      master: address of a cluster that runs already, for which the job server alone is started.
      logs: folder for a file a program; None for one that is removed in the end.

    Raises:
      UserError: the engine was not fetched, there is no Java, or a program does not start.
    """
    libraries = jars.DISTRIBUTIONS[name].require()
    with tempfile.TemporaryDirectory(prefix=f"movie-ranking-{name}-") as folder, contextlib.ExitStack() as programs:
        place = pathlib.Path(folder)
        stage = Stage(libraries=libraries, folder=place, logs=logs or place / "logs", programs=programs)
        engine = _ENGINES[name]
        started: list[Program] = []
        if workers:
            master, started = engine.start_cluster(stage, workers)
        job_server = engine.start_job_server(stage, master)
        yield Served(job_server.wait(), master, started, job_server)
