"""Flink: a standalone cluster on this machine, and Beam's job server, which embeds Flink where there is no cluster."""

from __future__ import annotations

import pathlib

import yaml

from pipeline.config.beam_config import WORKER_KEPT_S
from pipeline.engines.programs import MARK, Program
from pipeline.engines.stage import Stage, free_port

EMBEDDED = "[local]"
# Slots of a task manager: twice what is asked for, so that work goes on where half of them are lost.
SLOTS = 2
# How long a job waits before it goes on after a failure. A worker that is left remembers in which folder tf.Transform
# wrote a graph, and fails when that step is done again, in another folder; so all of them must have ended by then.
_RESTART_DELAY_S = WORKER_KEPT_S["flink"] + 5
_JOB_SERVER_HEAP_MB = 2048
_CLUSTER_HEAP_MB = 512
_DIRECT_MB = 1024
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    f"-Dorg.slf4j.simpleLogger.dateTimeFormat='{MARK}' HH:mm:ss.SSS",
    # Otherwise Beam drops what workers write, and with it why one failed.
    "-Dorg.slf4j.simpleLogger.log.org.apache.beam.runners.fnexecution.environment.ProcessManager=debug",
)


def settings(*, workers: int, rpc_port: int, rest_port: int) -> dict[str, object]:
    """The `config.yaml` of every program of a standalone cluster.

    Args:
      workers: task managers.
      rpc_port: where they reach the job manager.
      rest_port: where jobs are submitted and shown.
    """
    return {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc_port,
        "jobmanager.bind-host": "localhost",
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest_port,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "parallelism.default": workers,
        "cluster.evenly-spread-out-slots": True,
        # Flink's own script would work these out for a task manager.
        "taskmanager.cpu.cores": float(SLOTS),
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.task.heap.size": "384m",
        "taskmanager.memory.task.off-heap.size": "0m",
        "taskmanager.memory.managed.size": "256m",
        # A task manager with all channels of Transform, as when the other is lost, fails with 256 MB.
        "taskmanager.memory.network.min": "512m",
        "taskmanager.memory.network.max": "512m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
        # A job brings the libraries that the cluster has already; of two copies of a class, one is not the other.
        "classloader.resolve-order": "parent-first",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 10,
        "restart-strategy.fixed-delay.delay": f"{_RESTART_DELAY_S} s",
        # One that is lost is known by its closed connection; one that is slow is not lost.
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 50000,
    }


def start_cluster(stage: Stage, workers: int) -> tuple[str, list[Program]]:
    """Starts a job manager and task managers; gives the address of the first and the task managers, all ready."""
    configuration = _write(stage, settings(workers=workers, rpc_port=free_port(), rest_port=free_port()))
    manager = stage.start(
        "flink-job-manager",
        "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
        "--configDir",
        str(configuration),
        "--executionMode",
        "cluster",
        ready=r"Rest endpoint listening at (\S+)",
        heap_mb=_CLUSTER_HEAP_MB,
        java=_LOGGING,
        environment={},
    )
    address = manager.wait()
    started = [
        stage.start(
            f"flink-task-manager-{number}",
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "--configDir",
            str(configuration),
            "-D",
            f"taskmanager.resource-id=task-manager-{number}",
            ready=r"(Successful registration) at resource manager",
            heap_mb=_CLUSTER_HEAP_MB,
            java=[*_LOGGING, f"-XX:MaxDirectMemorySize={_DIRECT_MB}m"],
            environment={},
        )
        for number in range(1, workers + 1)
    ]
    for program in started:
        program.wait()
    return address, started


def start_job_server(stage: Stage, master: str | None) -> Program:
    """Starts Beam's job server for a cluster; for None, with an embedded Flink. `wait` gives its address."""
    configuration = stage.folder / "configuration"
    given = ["--flink-conf-dir", str(configuration)] if configuration.is_dir() else []
    return stage.start(
        "flink-job-server",
        "org.apache.beam.runners.flink.FlinkJobServerDriver",
        f"--flink-master={master or EMBEDDED}",
        *given,
        "--job-host=localhost",
        "--job-port=0",
        "--artifact-port=0",
        "--expansion-port=-1",
        f"--artifacts-dir={stage.folder / 'flink-job-server' / 'artifacts'}",
        ready=r"JobService started on (\S+)",
        heap_mb=_JOB_SERVER_HEAP_MB,
        java=_LOGGING,
        environment={},
    )


def _write(stage: Stage, values: dict[str, object]) -> pathlib.Path:
    """Writes settings to where programs are told to look for them."""
    folder = stage.folder / "configuration"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder
