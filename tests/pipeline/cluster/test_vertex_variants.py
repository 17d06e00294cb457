"""Vertex variants: what the configuration adds to the compiled job, and what Google's services would be asked for."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

import tensorflow as tf
from tfx.dsl.components.base import executor_spec
from tfx.extensions.google_cloud_ai_platform import constants, training_clients
from tfx.extensions.google_cloud_ai_platform.trainer import executor as vertex_executor
from tfx.types import standard_artifacts

from components import ratings_trainer, vertex_training
from pipeline.graph.pipeline import create_pipeline
from tests.pipeline.cluster import loopback
from tests.pipeline.cluster.cluster_jobs import IMAGE, compiled, resolve

ACCOUNT = "tasks@project.iam.gserviceaccount.com"
TRAINING = (
    "cluster.training_job.machine_type=n1-highmem-16",
    "cluster.training_job.accelerator=NVIDIA_TESLA_T4",
    "cluster.training_job.accelerators=2",
    f"cluster.service_account={ACCOUNT}",
)
SERVING_IMAGE = "europe-docker.pkg.dev/project/repository/serving:1"
ENDPOINT = ("cluster.endpoint.name=films", f"cluster.endpoint.serving_image={SERVING_IMAGE}")


def arguments(job: dict, component: str) -> list[str]:
    return job["pipelineSpec"]["deploymentSpec"]["executors"][f"{component}_executor"]["container"]["args"]


def constant(job: dict, component: str, key: str) -> dict:
    parameters = job["pipelineSpec"]["root"]["dag"]["tasks"][component]["inputs"]["parameters"]
    return json.loads(parameters[key]["runtimeValue"]["constant"])


def test_a_training_job_gets_its_machine_and_the_settings() -> None:
    job = compiled(assignments=TRAINING)
    command = arguments(job, "Trainer")
    assert command[command.index("--executor_class_path") + 1] == "components.vertex_training.Executor"
    settings = constant(job, "Trainer", "custom_config")
    assert settings["preset"] == "notebook"
    assert settings[constants.ENABLE_VERTEX_KEY] is True
    assert settings[constants.VERTEX_REGION_KEY] == "europe-west4"
    machine = {"machine_type": "n1-highmem-16", "accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": 2}
    assert settings[vertex_executor.TRAINING_ARGS_KEY] == {
        "project": "project",
        "worker_pool_specs": [{"machine_spec": machine, "replica_count": 1, "container_spec": {"image_uri": IMAGE}}],
        "service_account": ACCOUNT,
    }


def test_several_workers_are_a_chief_and_the_rest_who_know_the_strategy() -> None:
    several = ("cluster.training_job.workers=3", "trainer.strategy=multi_worker")
    settings = constant(compiled(assignments=several), "Trainer", "custom_config")
    assert settings["strategy"] == "multi_worker"
    pools = settings[vertex_executor.TRAINING_ARGS_KEY]["worker_pool_specs"]
    assert [pool["replica_count"] for pool in pools] == [1, 2]
    assert all(pool["container_spec"]["image_uri"] == IMAGE for pool in pools)
    assert pools[0]["machine_spec"] == pools[1]["machine_spec"] == {"machine_type": "n1-standard-8"}


def test_the_training_job_runs_our_trainer_with_the_parameters_of_the_submission(monkeypatch, tmp_path) -> None:
    # The client wants credentials at once, and uses none of them here.
    loopback.write_service_account(tmp_path / "account.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    settings = constant(compiled(assignments=TRAINING), "Trainer", "custom_config")
    job_arguments = settings[vertex_executor.TRAINING_ARGS_KEY]
    job_arguments.pop("project")
    model = standard_artifacts.Model()
    model.uri = "gs://bucket/root/model"
    request = training_clients.get_job_client(enable_vertex=True, vertex_region="europe-west4").create_training_job(
        {}, {"model": [model]}, {"seed": 7, "preset": "notebook"},
        "components.ratings_trainer.Executor", job_arguments, None, {},
    )  # fmt: skip
    (pool,) = request["job_spec"]["worker_pool_specs"]
    assert pool["machine_spec"]["machine_type"] == "n1-highmem-16"
    assert pool["container_spec"]["image_uri"] == IMAGE
    command = [*pool["container_spec"]["command"], *pool["container_spec"].get("args", [])]
    assert command[:3] == ["python", "-m", "tfx.scripts.run_executor"]
    assert command[command.index("--executor_class_path") + 1] == "components.ratings_trainer.Executor"
    assert json.loads(command[command.index("--exec-properties") + 1])["seed"] == 7
    assert request["job_spec"]["service_account"] == ACCOUNT


def test_what_starts_the_training_job_names_our_trainer() -> None:
    assert vertex_training.Executor()._GetExecutorClass() is ratings_trainer.Executor


def test_every_beam_task_asks_for_dataflow_and_its_workers() -> None:
    key = "projects/project/locations/europe-west4/keyRings/ring/cryptoKeys/key"
    job = compiled(
        assignments=(
            "beam.runner=dataflow",
            "beam.max_workers=3",
            "beam.machine_type=n1-standard-4",
            "beam.subnetwork=regions/europe-west4/subnetworks/default",
            f"cluster.service_account={ACCOUNT}",
            f"cluster.encryption_key={key}",
        )
    )
    expected = {
        "--runner=DataflowRunner",
        "--project=project",
        "--region=europe-west4",
        "--temp_location=gs://bucket/root/dataflow",
        f"--sdk_container_image={IMAGE}",
        "--experiments=use_runner_v2",
        "--machine_type=n1-standard-4",
        "--max_num_workers=3",
        "--subnetwork=regions/europe-west4/subnetworks/default",
        f"--service_account_email={ACCOUNT}",
        f"--dataflow_kms_key={key}",
    }
    nodes = create_pipeline(resolve()).components
    on_beam = {node.id for node in nodes if isinstance(node.executor_spec, executor_spec.BeamExecutorSpec)}
    assert {"RatingsExampleGen", "StatisticsGen", "Transform"} <= on_beam
    for component in on_beam:
        assert expected <= set(arguments(job, component)), component


@pytest.mark.parametrize(("folder_too", "pushers"), [(True, {"Pusher", "EndpointPusher"}), (False, {"EndpointPusher"})])
def test_an_endpoint_beside_or_instead_of_the_folder(folder_too: bool, pushers: set[str]) -> None:
    job = compiled(assignments=(*ENDPOINT, f"cluster.endpoint.folder_too={folder_too}"))
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    assert {name for name in tasks if name.endswith("Pusher")} == pushers
    assert set(tasks["EndpointPusher"]["inputs"]["artifacts"]) == {"model", "model_blessing", "infra_blessing"}
    assert pushers <= set(tasks["ReportGen"]["dependentTasks"])
    source = tasks["ReportGen"]["inputs"]["artifacts"]["pushed_model"]["taskOutputArtifact"]["producerTask"]
    assert source == ("Pusher" if folder_too else "EndpointPusher")
    settings = constant(job, "EndpointPusher", "custom_config")
    assert settings[constants.SERVING_ARGS_KEY] == {
        "project_id": "project", "endpoint_name": "films", "machine_type": "n1-standard-4",
        "min_replica_count": 1, "max_replica_count": 1,
    }  # fmt: skip
    assert settings[constants.VERTEX_CONTAINER_IMAGE_URI_KEY] == SERVING_IMAGE


def test_an_endpoint_whose_container_is_older_than_the_model_is_refused() -> None:
    older = "cluster.endpoint.serving_image=us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
    for settings in (ENDPOINT[:1], (*ENDPOINT[:1], older)):
        with pytest.raises(ValueError, match=rf"serves models of TensorFlow {re.escape(tf.__version__)}; got"):
            compiled(assignments=settings)
