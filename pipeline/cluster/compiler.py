"""Compiles the pipeline to a job for Vertex AI or Kubeflow Pipelines, offline.

The graph is the local one, of a configuration that says what differs on a cluster (see `for_cluster`). TFX compiles it;
what its compiler cannot express is set in the compiled job: resources, retries, caching by task, defaults of
parameters, labels, the identity that Vertex runs it under, and how Kubeflow starts a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from data import atomic
from modules.errors import UserError
from pipeline import environment
from pipeline.config import locations, submission_parameters

environment.prepare()

from google.protobuf import json_format  # noqa: E402
from kfp.pipeline_spec import pipeline_spec_pb2  # noqa: E402
from tfx.orchestration.kubeflow.v2 import compiler_utils, kubeflow_v2_dag_runner  # noqa: E402
from tfx.types.experimental import simple_artifacts  # noqa: E402

from pipeline.cluster import kubeflow_task  # noqa: E402
from pipeline.config.cluster_config import EVERY_COMPONENT, ClusterConfig, ComponentSettings  # noqa: E402
from pipeline.graph.pipeline import create_pipeline  # noqa: E402

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.config.beam_config import BeamConfig
    from pipeline.config.pipeline_config import PipelineConfig

Platform = Literal["vertex", "kubeflow"]
Schema = Literal["2.0.0", "2.1.0"]
Job = dict[str, Any]

RESOLVER_MARK = "-resolver"
# The components that read the data folder.
READERS = ("RatingsExampleGen", "TablesExampleGen")
PUSHER = "Pusher"
MAX_RETRY_DELAY_S = 3600


def for_cluster(config: PipelineConfig, platform: Platform) -> PipelineConfig:
    """The configuration of a pipeline that runs on a cluster.

    Args:
      config: as resolved from flags and files; models are pushed to `serving_model` in its folder for artifacts.
      platform: what will run it.

    Raises:
      UserError: the platform does not support what the configuration asks for.
    """
    blessed_model = config.evaluator.blessed_model
    if "blessed_model" not in config.evaluator.model_fields_set:
        blessed_model = "latest" if platform == "vertex" else "none"
    if platform == "kubeflow" and blessed_model != "none":
        raise UserError(
            f"evaluator.blessed_model={blessed_model} needs a resolver, which open-source Kubeflow Pipelines does not "
            "implement for TFX; expected evaluator.blessed_model=none: there a model is judged by the RMSE bound and "
            "the baseline alone"
        )
    if blessed_model == "other":
        raise UserError(
            "evaluator.blessed_model=other is a strategy of local runs; expected latest, which Vertex implements, or "
            "none"
        )
    cluster = config.cluster
    if not cluster.image:
        raise UserError("expected a container image in cluster.image; got none; give --image, see `make image`")
    vertex_only = [name for name in ("training_job", "endpoint") if getattr(cluster, name) is not None]
    if platform == "kubeflow" and vertex_only:
        raise UserError(f"cluster.{', cluster.'.join(vertex_only)} need Vertex AI; leave them out for Kubeflow")
    root = config.pipeline_root
    for folder in (config.data.root, root):
        locations.check_no_pattern(folder)
    if platform == "vertex" and not root.startswith("gs://"):
        raise UserError(f"Vertex AI keeps artifacts in Cloud Storage; expected gs://BUCKET/FOLDER; got {root!r}")
    if platform == "kubeflow":
        _check_kubeflow(root, config.beam)
    if config.cache and cluster.pushes_to_folder:
        # Pusher itself looks whether the model is there, and nothing else would notice that it no longer is.
        cluster = _never_cached(cluster, [PUSHER])
    if platform == "kubeflow":
        # It runs no driver before a task, so nothing would notice that files changed under an unchanged path.
        cluster = _never_cached(cluster, READERS)
    return config.model_copy(
        update={
            "output": root,
            "artifacts": root,
            "evaluator": config.evaluator.model_copy(update={"blessed_model": blessed_model}),
            "runtime_parameters": submission_parameters.NAMES,
            "cluster": cluster,
        }
    )


def _check_kubeflow(root: str, beam: BeamConfig) -> None:
    """Refuses what a task there would fail at, perhaps after the training.

    Raises:
      UserError: its launcher does not copy artifacts of such a root, TensorFlow could not push to it, or Beam's workers
        might be on other machines.
    """
    if not root.startswith("gs://"):
        raise UserError(
            "expected --pipeline-root in a place that Kubeflow's launcher copies artifacts from and TensorFlow pushes "
            f"models to, gs://BUCKET/FOLDER; got {root!r}"
        )
    if beam.runner != "direct":
        raise UserError(
            f"expected beam.runner=direct on Kubeflow; got {beam.runner}: there a task reads and writes copies of its "
            "artifacts in its own container, which no other machine sees"
        )


def _never_cached(cluster: ClusterConfig, components: Iterable[str]) -> ClusterConfig:
    """Has components run in every job."""
    changed = {name: cluster.settings(name).model_copy(update={"cache": False}) for name in components}
    return cluster.model_copy(update={"components": {**cluster.components, **changed}})


def compile_job(config: PipelineConfig, platform: Platform, schema: Schema = "2.1.0") -> Job:
    """Compiles the pipeline to a job, the same for the same configuration and code.

    The result is a Vertex `PipelineJob`; its `pipelineSpec` is what Kubeflow takes.

    Args:
      config: from `for_cluster`.
      platform: what will run it; the one that `config` is for.
      schema: version of the pipeline specification.

    Raises:
      UserError: the configuration names a component that the pipeline does not have.
    """
    pipeline = create_pipeline(config)
    _check_components(config.cluster, [node.id for node in pipeline.components])
    _use_known_artifact_types(pipeline)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            display_name=config.name, default_image=config.cluster.image, use_pipeline_spec_2_1=schema == "2.1.0"
        )
    )
    defaults = {name: config.parameter_default(name) for name in config.runtime_parameters}
    job = runner.run(pipeline, parameter_values=defaults, write_out=False)
    spec = json_format.ParseDict(job["pipelineSpec"], pipeline_spec_pb2.PipelineSpec())
    deployment = json_format.ParseDict(
        job["pipelineSpec"]["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    for task in spec.root.dag.tasks.values():
        _apply_to_task(task, config.cluster.settings(_component_of(task)))
    for label, executor in deployment.executors.items():
        if executor.HasField("container"):
            _apply_to_container(executor.container, config.cluster.settings(label.removesuffix("_executor")))
    if platform == "kubeflow":
        for component in spec.components.values():
            _run_as_kubeflow_task(deployment.executors[component.executor_label].container, component)
    if schema == "2.1.0":
        _set_defaults(spec, defaults)
    spec.deployment_spec.Clear()
    spec.deployment_spec.update(json_format.MessageToDict(deployment))
    job["pipelineSpec"] = json_format.MessageToDict(spec)
    job["labels"] = {**job.get("labels", {}), **config.cluster.labels}
    job.update(_identity(config.cluster))
    return job


def _check_components(cluster: ClusterConfig, components: list[str]) -> None:
    unknown = sorted(set(cluster.components) - {EVERY_COMPONENT, *components})
    if unknown:
        raise UserError(
            f"cluster.components: expected {EVERY_COMPONENT} or one of {', '.join(components)}; "
            f"got {', '.join(unknown)}"
        )


def _use_known_artifact_types(pipeline: Pipeline) -> None:
    """Declares outputs as plain files that have a type the platform knows no schema for, and that nothing reads."""
    read = {id(channel) for node in pipeline.components for channel in node.inputs.values()}
    for node in pipeline.components:
        for channel in node.outputs.values():
            if f"tfx.{channel.type.__qualname__}" not in compiler_utils.TITLE_TO_CLASS_PATH and id(channel) not in read:
                channel.type = simple_artifacts.File


def _component_of(task: pipeline_spec_pb2.PipelineTaskSpec) -> str:
    """The node of the graph that a task comes from; a resolver becomes two tasks."""
    name = task.task_info.name
    if name.endswith(RESOLVER_MARK):
        return name.removesuffix("-model-blessing-resolver").removesuffix("-model-resolver")
    return name


def _apply_to_task(task: pipeline_spec_pb2.PipelineTaskSpec, settings: ComponentSettings) -> None:
    if settings.cache is not None:
        task.caching_options.enable_cache = settings.cache
    if settings.retries is not None and not task.task_info.name.endswith(RESOLVER_MARK):
        task.retry_policy.max_retry_count = settings.retries
        task.retry_policy.backoff_duration.seconds = settings.retry_delay_s
        task.retry_policy.backoff_factor = 2
        task.retry_policy.backoff_max_duration.seconds = max(MAX_RETRY_DELAY_S, settings.retry_delay_s)


def _apply_to_container(container: Any, settings: ComponentSettings) -> None:
    resources = container.resources
    if settings.cpu is not None:
        resources.cpu_limit = settings.cpu
    if settings.memory_gb is not None:
        resources.memory_limit = settings.memory_gb
    if settings.accelerator is not None:
        resources.accelerator.type, resources.accelerator.count = settings.accelerator, settings.accelerators
    if not resources.ByteSize():
        container.ClearField("resources")


def _run_as_kubeflow_task(container: Any, component: pipeline_spec_pb2.ComponentSpec) -> None:
    """Puts what a task needs on Kubeflow Pipelines around TFX's entry point."""
    container.command[:] = kubeflow_task.COMMAND
    inputs, outputs = component.input_definitions.artifacts, component.output_definitions.artifacts
    container.args.extend(kubeflow_task.folder_arguments(sorted(inputs), sorted(outputs)))


def _set_defaults(spec: pipeline_spec_pb2.PipelineSpec, defaults: dict[Any, submission_parameters.Scalar]) -> None:
    """Writes defaults and meanings where a platform's console shows them."""
    meanings = {parameter.name: parameter.meaning for parameter in submission_parameters.PARAMETERS}
    for name, definition in spec.root.input_definitions.parameters.items():
        value = defaults[name]
        if isinstance(value, str):
            definition.default_value.string_value = value
        else:
            definition.default_value.number_value = value
        definition.is_optional = True
        definition.description = meanings[name]


def _identity(cluster: ClusterConfig) -> Job:
    """Fields of a Vertex PipelineJob that the pipeline specification does not have."""
    fields: Job = {}
    if cluster.service_account:
        fields["serviceAccount"] = cluster.service_account
    if cluster.network:
        fields["network"] = cluster.network
    if cluster.encryption_key:
        fields["encryptionSpec"] = {"kmsKeyName": cluster.encryption_key}
    return fields


def write(job: Job, path: str) -> None:
    """Writes a job as JSON, keys in order; a file that is there is replaced at once or not at all."""
    atomic.write_text(path, json.dumps(job, indent=2, sort_keys=True) + "\n")
