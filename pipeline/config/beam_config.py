"""Where Beam pipelines run: the part of the configuration that becomes their arguments.

Names of options are those of apache_beam/options/pipeline_options.py, the same in both dependency lanes.
"""

from __future__ import annotations

import json
import re
from typing import Literal, get_args

import pydantic

from modules.errors import UserError
from pipeline.config import locations
from pipeline.config.cluster_config import ClusterConfig, Project, Region

Runner = Literal["direct", "flink", "spark", "dataflow"]
RUNNERS: tuple[str, ...] = get_args(Runner)

# TFX packs its own installation and hands it to Beam's workers each time that a component starts with arguments that
# name no image. Workers that run from an installation need no package, and then this value stands for the image.
NO_IMAGE = "none"
# Where Cloud Storage is meant, Beam wants an object, not a bucket alone.
_STORAGE_FOLDER = re.compile(r"gs://[^/]+/.+")


class BeamConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The runner of the Beam pipelines, and its settings; a setting that the runner has no use for is refused."""

    runner: Runner = pydantic.Field("direct", description="what runs Beam pipelines: direct, flink, spark or dataflow")
    args: tuple[str, ...] = pydantic.Field(
        (), description="more arguments of Beam, such as --flink_version=1.19; the last one of a name holds"
    )
    workers: int | None = pydantic.Field(
        None, ge=0, description="direct: workers on this machine, 0 for one a core; left out: 1"
    )
    running_mode: Literal["in_memory", "multi_threading", "multi_processing"] | None = pydantic.Field(
        None, description="direct: where workers run; left out: multi_processing for several, in_memory for one"
    )
    flink_master: str | None = pydantic.Field(
        None,
        description="flink: HOST:PORT of a cluster of Flink 1.19, for which `run` starts Beam's job server; left out "
        "without job_endpoint: [local], an engine within the job server",
    )
    spark_master_url: str | None = pydantic.Field(
        None,
        description="spark: spark://HOST:PORT of a cluster of Spark 3.5, for which `run` starts Beam's job server; "
        "left out without job_endpoint: local[CORES], an engine within the job server",
    )
    job_endpoint: str | None = pydantic.Field(
        None, pattern=r"^\S+:\d+$", description="flink, spark: HOST:PORT of a job server that runs already"
    )
    parallelism: int | None = pydantic.Field(
        None, gt=0, description="flink: how many tasks of a step run at once; left out: the cluster's own default"
    )
    environment: Literal["loopback", "docker", "process", "external"] | None = pydantic.Field(
        None,
        description="flink, spark: where Python code runs: in the submitting process (loopback), in a container of "
        "`image` (docker), in processes that workers start (process), or in worker pools (external); left out: process",
    )
    environment_config: str | None = pydantic.Field(
        None,
        description="environment process: the command that starts a worker, with TF_USE_LEGACY_KERAS set for it; left "
        "out: movie-ranking-worker, on PATH of each machine; external: HOST:PORT of the worker pool as workers of the "
        "cluster see it",
    )
    image: str | None = pydantic.Field(
        None, description="environment docker, dataflow: image with movie-ranking; left out: cluster.image"
    )
    project: Project | None = pydantic.Field(None, description="dataflow: project; left out: cluster.project")
    region: Region | None = pydantic.Field(None, description="dataflow: region; left out: cluster.region")
    temp_location: str | None = pydantic.Field(
        None, description="dataflow: gs:// folder of temporary files; left out: `dataflow` below the artifacts"
    )
    staging_location: str | None = pydantic.Field(
        None, description="dataflow: gs:// folder of what workers fetch; left out: temp_location"
    )
    machine_type: str | None = pydantic.Field(
        None, description="dataflow: Compute Engine machine type of a worker; left out: Dataflow's choice"
    )
    max_workers: int | None = pydantic.Field(
        None, gt=0, description="dataflow: most workers of a pipeline; left out: Dataflow's own limit"
    )
    subnetwork: str | None = pydantic.Field(None, description="dataflow: URL of the workers' subnetwork")

    @pydantic.model_validator(mode="after")
    def _check(self) -> BeamConfig:
        useful = _SETTINGS[self.runner]
        useless = [name for name in _ALL_SETTINGS if getattr(self, name) is not None and name not in useful]
        if useless:
            takers = {name: [runner for runner in RUNNERS if name in _SETTINGS[runner]] for name in useless}
            raise UserError(
                f"expected of runner {self.runner} no setting but {', '.join(useful)} and args; got "
                + ", ".join(f"{name} (of {' and '.join(runners)})" for name, runners in takers.items())
                + "; leave it out, or change beam.runner"
            )
        for argument in self.args:
            if not re.match(r"--\w", argument):
                raise UserError(f"expected arguments such as --NAME=VALUE in beam.args; got {argument!r}")
            if re.match(r"--runner(=|$)", argument):
                raise UserError(
                    f"expected the runner in beam.runner, one of {', '.join(RUNNERS)}; got {argument!r} in beam.args"
                )
        if self.workers not in (None, 1) and self.running_mode == "in_memory":
            raise UserError(
                "expected running_mode multi_threading or multi_processing with several workers; got workers "
                f"{self.workers} and running_mode in_memory, which has one; change one"
            )
        if self.runner in _MASTERS:
            self._check_cluster(_MASTERS[self.runner])
        return self

    def _check_cluster(self, master: str) -> None:
        """Refuses flink or spark with two places to submit to, or an environment with something else than it takes."""
        if getattr(self, master) is not None and self.job_endpoint is not None:
            raise UserError(
                f"expected of runner {self.runner} one of {master}, for which a job server is started, and "
                f"job_endpoint, of one that runs; got {master} {getattr(self, master)} and job_endpoint "
                f"{self.job_endpoint}; give one of them"
            )
        if self.environment == "external" and self.environment_config is None:
            raise UserError(
                "expected HOST:PORT of a worker pool as environment_config with environment external; got none; set it"
            )
        if self.environment in ("loopback", "docker") and self.environment_config is not None:
            raise UserError(
                f"expected no environment_config with environment {self.environment}; got {self.environment_config}; "
                "it is the command of process, or HOST:PORT of external"
            )
        if self.image is not None and self.environment != "docker":
            raise UserError(f"expected an image with environment docker alone; got one with {self.environment}")


_PORTABLE = ("job_endpoint", "environment", "environment_config", "image")
WORKER = "movie-ranking-worker"
# A worker has TensorFlow to load, and is kept for this long while no step of its job runs beside it, s. Flink's must be
# gone before a job goes on after a failure, see `pipeline.engines.flink`, and would stay when a job ends; Spark's end
# with the job.
WORKER_KEPT_S = {"flink": 10, "spark": 600}
_SETTINGS: dict[str, tuple[str, ...]] = {
    "direct": ("workers", "running_mode"),
    "flink": ("flink_master", "parallelism", *_PORTABLE),
    "spark": ("spark_master_url", *_PORTABLE),
    "dataflow": (
        "project", "region", "temp_location", "staging_location", "image", "machine_type", "max_workers", "subnetwork",
    ),
}  # fmt: skip
_ALL_SETTINGS = tuple(name for name in BeamConfig.model_fields if name not in ("runner", "args"))
_MASTERS = {"flink": "flink_master", "spark": "spark_master_url"}


def check_address(beam: BeamConfig) -> None:
    """Refuses flink or spark without a place to submit to, where no job server is started for want of one.

    Raises:
      UserError: there is none.
    """
    if beam.runner in _MASTERS and beam.job_endpoint is None:
        raise UserError(
            f"expected beam.job_endpoint, HOST:PORT of Beam's job server, with runner {beam.runner}; got none; set it: "
            "`movie-ranking run` alone starts one"
        )


def arguments(beam: BeamConfig, cluster: ClusterConfig, *, pipeline_root: str, data_root: str) -> list[str]:
    """The arguments of every Beam pipeline, such as `--runner=FlinkRunner`.

    Args:
      beam: runner and settings.
      cluster: where image, project, region, account and key are taken from.
      pipeline_root: folder of artifacts.
      data_root: folder of the ratings.

    Raises:
      UserError: a setting is missing, or the runner's workers could not read and write the folders.
    """
    options = {
        "direct": _direct,
        "flink": _portable,
        "spark": _portable,
        "dataflow": _dataflow,
    }[beam.runner](beam, cluster, pipeline_root)
    if beam.runner == "dataflow":
        _require_folders(("gs://",), "Dataflow's workers", pipeline_root, data_root)
    elif beam.environment == "docker":
        _require_folders(locations.REMOTE_SCHEMES, "code in a container", pipeline_root, data_root)
    return [*(f"--{name}={value}" for name, value in options.items() if value is not None), *beam.args]


def _direct(beam: BeamConfig, cluster: ClusterConfig, pipeline_root: str) -> dict[str, object]:
    del cluster, pipeline_root
    return {
        # Left to itself, or asked for DirectRunner, Beam fetches a program, Prism, and hands the pipeline to it; where
        # it cannot, it takes FnApiRunner. The network would decide what runs, and Prism knows no direct_* options.
        "runner": "FnApiRunner",
        "sdk_container_image": NO_IMAGE,
        "direct_num_workers": beam.workers,
        "direct_running_mode": beam.running_mode or (None if beam.workers in (None, 1) else "multi_processing"),
    }


def _portable(beam: BeamConfig, cluster: ClusterConfig, pipeline_root: str) -> dict[str, object]:
    del pipeline_root
    image: str | None = NO_IMAGE
    config = beam.environment_config
    environment = beam.environment or "process"
    if environment == "docker":
        image = config = beam.image or cluster.image
        if image is None:
            raise UserError(
                "expected an image with movie-ranking for environment docker; got none; set beam.image or "
                "cluster.image, see `make image`"
            )
    elif environment == "process":
        # TensorFlow Recommenders and TensorFlow Transform need Keras 2, in the workers too.
        config = json.dumps({"command": config or WORKER, "env": {"TF_USE_LEGACY_KERAS": "1"}})
    return {
        "runner": {"flink": "FlinkRunner", "spark": "SparkRunner"}[beam.runner],
        "flink_master": beam.flink_master,
        "spark_master_url": beam.spark_master_url,
        "job_endpoint": beam.job_endpoint,
        "parallelism": beam.parallelism,
        "environment_type": environment.upper(),
        "environment_config": config,
        "environment_cache_millis": 1000 * WORKER_KEPT_S[beam.runner],
        "sdk_container_image": image,
    }


def _dataflow(beam: BeamConfig, cluster: ClusterConfig, pipeline_root: str) -> dict[str, object]:
    temp = beam.temp_location or f"{pipeline_root.rstrip('/')}/dataflow"
    for name, folder in {"temp_location": temp, "staging_location": beam.staging_location}.items():
        if folder is not None and not _STORAGE_FOLDER.fullmatch(folder):
            raise UserError(
                f"expected gs://BUCKET/FOLDER as beam.{name} of Dataflow; got {folder}; set it, or have the artifacts "
                "in Cloud Storage"
            )
    required = {
        "project": beam.project or cluster.project,
        "region": beam.region or cluster.region,
        # Workers run our own functions, which are in this image only.
        "image": beam.image or cluster.image,
    }
    for name, value in required.items():
        if value is None:
            raise UserError(f"expected beam.{name} or cluster.{name} with runner dataflow; got neither; set one")
    return {
        "runner": "DataflowRunner",
        "project": required["project"],
        "region": required["region"],
        "temp_location": temp,
        "staging_location": beam.staging_location,
        "sdk_container_image": required["image"],
        "experiments": "use_runner_v2",
        "machine_type": beam.machine_type,
        "max_num_workers": beam.max_workers,
        "subnetwork": beam.subnetwork,
        "service_account_email": cluster.service_account,
        "dataflow_kms_key": cluster.encryption_key,
    }


def _require_folders(schemes: tuple[str, ...], readers: str, pipeline_root: str, data_root: str) -> None:
    for what, folder in {"data": data_root, "artifacts": pipeline_root}.items():
        if not folder.startswith(schemes):
            raise UserError(
                f"expected {what} in a folder that {readers} can reach, such as gs://BUCKET/FOLDER; got {folder}; copy "
                f"it there, and set {'--data' if what == 'data' else 'artifacts or --pipeline-root'}"
            )
