"""From the flags of `compile` to the configuration of a pipeline on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config import resolve as local
from pipeline.config import submission_parameters

if TYPE_CHECKING:
    from pipeline.cluster.compiler import Platform
    from pipeline.config.pipeline_config import PipelineConfig

# Stand-ins where nothing but the parameters is asked for.
ANYWHERE, ANY_IMAGE = "gs://bucket/folder", "image"
KFP_REMEDY = "compiling needs Kubeflow's packages; install them with `pip install 'movie-ranking[kfp]'`"


def resolve(
    *,
    platform: Platform,
    pipeline_root: str | None,
    data: str | None,
    image: str | None = None,
    project: str | None = None,
    region: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    rmse_bound: float | None = None,
    beam: str | None = None,
    beam_args: tuple[str, ...] = (),
    config_file: str | None = None,
    assignments: tuple[str, ...] = (),
) -> PipelineConfig:
    """Builds the configuration; see `pipeline.resolve.resolve`, and `compiler.for_cluster`.

    Args:
      platform: what will run the pipeline.
      pipeline_root: folder for artifacts.
      data: folder of the ratings, as the tasks will see it.
      image: with movie-ranking installed.
      project: of Google Cloud.
      region: of Google Cloud.
      preset: name of the model.
      seed: of the training.
      rmse_bound: stars.
      beam: what runs Beam pipelines, one of `beam_config.RUNNERS`.
      beam_args: more arguments of Beam.
      config_file: YAML file with fields of `PipelineConfig`.
      assignments: texts such as "cluster.image=…".

    Raises:
      ValueError: something is missing, unknown, out of range, or not supported by the platform; or Kubeflow's packages
        are not installed.
    """
    if not pipeline_root:
        raise ValueError("expected --pipeline-root, the folder for artifacts, such as gs://BUCKET/movie-ranking")
    if not data:
        raise ValueError(
            "expected --data, the folder of the ratings as the tasks will see it, such as gs://BUCKET/ml-100k"
        )
    # Dataflow's temporary files go below the artifacts, so that the configuration is not complete without them.
    flags = {"artifacts": pipeline_root, "cluster.image": image, "cluster.project": project, "cluster.region": region}
    given = tuple(f"{key}={value}" for key, value in flags.items() if value is not None)
    config = local.resolve(
        preset=preset,
        data=data,
        seed=seed,
        rmse_bound=rmse_bound,
        beam=beam,
        beam_args=beam_args,
        config_file=config_file,
        assignments=(*given, *assignments),
    )
    try:
        from pipeline.cluster import compiler
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "kfp":
            raise
        raise ValueError(KFP_REMEDY) from error
    return compiler.for_cluster(config, platform, pipeline_root)


def show_parameters(config: PipelineConfig, *, data_given: bool) -> None:
    """Prints name, type, default and meaning of what a submission may change."""
    from rich.console import Console
    from rich.table import Table

    table = Table("parameter", "type", "default", "meaning", title="what `submit --parameter NAME=VALUE` may change")
    for parameter in submission_parameters.PARAMETERS:
        value = str(config.parameter_default(parameter.name))
        shown = "the --data of compile" if parameter.name == "data_root" and not data_given else value
        table.add_row(parameter.name, parameter.type.__name__, shown, parameter.meaning)
    Console().print(table)
