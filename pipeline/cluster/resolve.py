"""From the flags of `compile` to the configuration of a pipeline on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.errors import UserError
from pipeline.config import resolve as local
from pipeline.config import submission_parameters

if TYPE_CHECKING:
    from pipeline.cluster.compiler import Platform
    from pipeline.config.pipeline_config import PipelineConfig

# Stand-ins where nothing but the parameters is asked for.
STAND_INS = {"artifacts": "gs://bucket/folder", "data.root": "gs://bucket/folder", "cluster.image": "image"}
KFP_REMEDY = "compiling needs Kubeflow's packages; install them with `pip install 'movie-ranking[kfp]'`"


def resolve(
    values: Mapping[str, Any],
    *,
    platform: Platform,
    config_file: str | None = None,
    assignments: tuple[str, ...] = (),
) -> PipelineConfig:
    """Builds the configuration; see `pipeline.config.resolve.resolve`, and `compiler.for_cluster`.

    Args:
      values: of flags, by the key of the field; here or in the file: "artifacts", and "data.root", the folder of the
        ratings as the tasks will see it.
      platform: what will run the pipeline.
      config_file: YAML file with fields of `PipelineConfig`.
      assignments: texts such as "cluster.image=…".

    Raises:
      UserError: something is missing, unknown, out of range, or not supported by the platform; or Kubeflow's packages
        are not installed.
    """
    asked = local.layers(values, config_file=config_file, assignments=assignments)
    # Dataflow's temporary files go below the artifacts, so that the configuration is not complete without them.
    if not asked.get("artifacts"):
        raise UserError("expected --pipeline-root, the folder for artifacts, such as gs://BUCKET/movie-ranking")
    if not asked["data"].get("root"):
        raise UserError(
            "expected --data, the folder of the ratings as the tasks will see it, such as gs://BUCKET/ml-100k"
        )
    config = local.resolve(values, config_file=config_file, assignments=assignments)
    from pipeline.config import beam_config

    beam_config.check_address(config.beam)
    try:
        from pipeline.cluster import compiler
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "kfp":
            raise
        raise UserError(KFP_REMEDY) from error
    return compiler.for_cluster(config, platform)


def show_parameters(values: Mapping[str, Any], **given: Any) -> None:
    """Prints name, type, default and meaning of what a submission may change.

    Args:
      values: of flags, as `resolve` takes them; what it needs may be missing here.
      given: the other arguments of `resolve`.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    config = resolve({**STAND_INS, **values}, **given)
    table = Table("parameter", "type", "default", "meaning", title="what `submit --parameter NAME=VALUE` may change")
    for parameter in submission_parameters.PARAMETERS:
        default = str(config.parameter_default(parameter.name))
        if parameter.name == "data_root" and default == STAND_INS["data.root"]:
            default = "the --data of compile"
        table.add_row(parameter.name, parameter.type.__name__, Text(default), parameter.meaning)
    Console().print(table)
