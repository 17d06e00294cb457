"""What the configuration's Vertex variants add to the graph: training jobs and endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.graph.fingerprint import fingerprint

if TYPE_CHECKING:
    from tfx.dsl.components.base.base_component import BaseComponent
    from tfx.types.channel import Channel

    from pipeline.config.pipeline_config import PipelineConfig


def trainer_arguments(config: PipelineConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of RatingsTrainer that say where it trains, `custom_config` among them.

    Args:
      config: the configuration of the pipeline.
      settings: what the training itself needs.
    """
    job = config.cluster.training_job
    if job is None:
        return {"custom_config": settings}
    # Google's client takes seconds to import, and a local run has no use for it.
    from tfx.extensions.google_cloud_ai_platform import constants
    from tfx.extensions.google_cloud_ai_platform.trainer import executor

    from components.vertex_training import Executor

    machine: dict[str, Any] = {"machine_type": job.machine_type}
    if job.accelerator:
        machine |= {"accelerator_type": job.accelerator, "accelerator_count": job.accelerators}
    pool = {"machine_spec": machine, "container_spec": {"image_uri": config.cluster.image}}
    # The first pool is the chief alone; Vertex puts both pools into every machine's TF_CONFIG.
    sizes = [1, job.workers - 1] if job.workers > 1 else [1]
    arguments: dict[str, Any] = {
        "project": config.cluster.project,
        "worker_pool_specs": [{**pool, "replica_count": size} for size in sizes],
        **_given(service_account=config.cluster.service_account, network=config.cluster.network),
    }
    return {
        "custom_config": {
            **settings,
            constants.ENABLE_VERTEX_KEY: True,
            constants.VERTEX_REGION_KEY: config.cluster.region,
            executor.TRAINING_ARGS_KEY: arguments,
        },
        "executor_class": Executor,
    }


def endpoint_pusher(config: PipelineConfig, **inputs: Channel) -> BaseComponent | None:
    """Deploys a blessed model to a Vertex endpoint, if the configuration has one.

    Args:
      config: the configuration of the pipeline.
      inputs: `model`, `model_blessing` and `infra_blessing`.
    """
    endpoint = config.cluster.endpoint
    if endpoint is None:
        return None
    from tfx.extensions.google_cloud_ai_platform import constants

    from components.vertex_pusher import EndpointPusher

    serving = {
        "project_id": config.cluster.project,
        "endpoint_name": endpoint.name,
        "machine_type": endpoint.machine_type,
        "min_replica_count": 1,
        "max_replica_count": endpoint.max_replicas,
        **_given(service_account=config.cluster.service_account),
    }
    settings = {
        constants.ENABLE_VERTEX_KEY: True,
        constants.VERTEX_REGION_KEY: config.cluster.region,
        constants.VERTEX_CONTAINER_IMAGE_URI_KEY: endpoint.serving_image,
        constants.SERVING_ARGS_KEY: serving,
        "code_fingerprint": fingerprint("components.vertex_pusher"),
    }
    return EndpointPusher(**inputs, custom_config=settings)


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
