"""Spark: a standalone cluster on this machine, and Beam's job server, which embeds Spark where there is no cluster."""

from __future__ import annotations

import os

from pipeline.engines.programs import MARK, Program
from pipeline.engines.stage import Stage

_JOB_SERVER_HEAP_MB = 2048
_CLUSTER_HEAP_MB = 512
# Of a worker: one executor, with the memory that Spark gives one.
_CORES, _MEMORY = 1, "1g"
# Spark says nothing where it finds no settings. The last lines: otherwise Beam drops what workers of its own write.
_LOGGING = f"""\
rootLogger.level = info
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = {MARK} %d{{HH:mm:ss.SSS}} %p %c{{1}}: %m%n%ex
logger.beam.name = org.apache.beam.runners.fnexecution.environment.ProcessManager
logger.beam.level = debug
"""


def start_cluster(stage: Stage, workers: int) -> tuple[str, list[Program]]:
    """Starts a master and workers; gives the address of the first and the workers, all ready."""
    master = stage.start(
        "spark-master",
        "org.apache.spark.deploy.master.Master",
        "--host",
        "localhost",
        "--port",
        "0",
        "--webui-port",
        "0",
        ready=r"Starting Spark master at (\S+)",
        heap_mb=_CLUSTER_HEAP_MB,
        **_surroundings(stage),
    )
    address = master.wait()
    started = [
        stage.start(
            f"spark-worker-{number}",
            "org.apache.spark.deploy.worker.Worker",
            "--host",
            "localhost",
            "--cores",
            str(_CORES),
            "--memory",
            _MEMORY,
            "--work-dir",
            str(stage.folder / f"spark-worker-{number}" / "work"),
            "--webui-port",
            "0",
            address,
            ready=r"(Successfully registered) with master",
            heap_mb=_CLUSTER_HEAP_MB,
            **_surroundings(stage),
        )
        for number in range(1, workers + 1)
    ]
    for program in started:
        program.wait()
    return address, started


def start_job_server(stage: Stage, master: str | None) -> Program:
    """Starts Beam's job server for a cluster; for None, with an embedded Spark. `wait` gives its address."""
    return stage.start(
        "spark-job-server",
        "org.apache.beam.runners.spark.SparkJobServerDriver",
        f"--spark-master-url={master or f'local[{os.cpu_count()}]'}",
        "--job-host=localhost",
        "--job-port=0",
        "--artifact-port=0",
        "--expansion-port=-1",
        f"--artifacts-dir={stage.folder / 'spark-job-server' / 'artifacts'}",
        ready=r"JobService started on (\S+)",
        heap_mb=_JOB_SERVER_HEAP_MB,
        **_surroundings(stage),
    )


def _surroundings(stage: Stage) -> dict:
    """What every program of Spark finds around it: a home with the libraries, from which workers start others."""
    home = stage.folder / "home"
    configuration = home / "conf"
    if not home.exists():
        configuration.mkdir(parents=True)
        (configuration / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        (home / "jars").symlink_to(stage.libraries)
    return {
        "configuration": [configuration],
        "environment": {
            "SPARK_HOME": str(home),
            "SPARK_CONF_DIR": str(configuration),
            "SPARK_SCALA_VERSION": "2.12",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(stage.folder / "local"),
        },
    }
