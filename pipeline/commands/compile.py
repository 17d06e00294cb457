"""`movie-ranking compile`."""

from __future__ import annotations

import click

from modules.presets import DEFAULT_PRESET, PRESETS
from pipeline.commands.options import beam_options
from pipeline.exit_codes import ExitCode

EPILOG = """\b
Exit codes:
    0  the job was written
    2  bad input: a flag or a configuration value, or the extra `kfp` is not installed
"""


@click.command("compile", epilog=EPILOG)
@click.option(
    "--target", type=click.Choice(["vertex", "kubeflow"]), default="vertex", show_default=True, help="What will run it."
)
@click.option("--project", help="Google Cloud project; needed for Dataflow, training jobs and endpoints.")
@click.option("--region", help="Google Cloud region, such as europe-west4; needed for the same.")
@click.option(
    "--pipeline-root", metavar="gs://…", help="Folder for artifacts; models are pushed to serving_model/ in it."
)
@click.option("--data", metavar="gs://…", help="Folder of the ratings, as the tasks will see it.")
@click.option("--image", help="Container image with movie-ranking installed.")
@click.option("--preset", type=click.Choice(list(PRESETS)), help=f"The model.  [default: {DEFAULT_PRESET}]")
@click.option("--seed", type=click.IntRange(min=0), help="Seeds every random choice of the training.  [default: 42]")
@click.option(
    "--rmse-bound", type=click.FloatRange(min=0, min_open=True), help="The test RMSE must be below it, stars."
)
@beam_options
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Any configuration field, such as cluster.components.Trainer.cpu=8; may be repeated.",
)  # fmt: skip
@click.option(
    "--config", "config_file", type=click.Path(exists=True, dir_okay=False), help="YAML file with such fields."
)
@click.option(
    "--schema", type=click.Choice(["2.0.0", "2.1.0"]), default="2.1.0", show_default=True,
    help="Version of the pipeline specification; Kubeflow takes 2.1.0 only.",
)  # fmt: skip
@click.option("-o", "--output", default="movie_ranking.json", show_default=True, help="The file to write.")
@click.option("--list-parameters", is_flag=True, help="List what a submission may change, and stop.")
def compile_(
    target: str,
    project: str | None,
    region: str | None,
    pipeline_root: str | None,
    data: str | None,
    image: str | None,
    preset: str | None,
    seed: int | None,
    rmse_bound: float | None,
    beam: str | None,
    beam_args: tuple[str, ...],
    assignments: tuple[str, ...],
    config_file: str | None,
    schema: str,
    output: str,
    list_parameters: bool,
) -> ExitCode | None:
    """Compile the pipeline to a job for Vertex AI or Kubeflow Pipelines, offline.

    Nothing is contacted and no credentials are needed. The job runs the graph that `movie-ranking run` runs; what a
    submission may change, it leaves open (--list-parameters).
    """
    import pydantic

    from pipeline.cluster import resolve as cluster_resolve

    try:
        config = cluster_resolve.resolve(
            platform=target,  # type: ignore[arg-type]
            pipeline_root=pipeline_root or (cluster_resolve.ANYWHERE if list_parameters else None),
            data=data or (cluster_resolve.ANYWHERE if list_parameters else None),
            image=image or (cluster_resolve.ANY_IMAGE if list_parameters else None),
            project=project,
            region=region,
            preset=preset,
            seed=seed,
            rmse_bound=rmse_bound,
            beam=beam,
            beam_args=beam_args,
            config_file=config_file,
            assignments=assignments,
        )
        if list_parameters:
            cluster_resolve.show_parameters(config, data_given=data is not None)
            return None
        if target == "kubeflow" and schema != "2.1.0":
            raise ValueError(f"Kubeflow Pipelines takes schema 2.1.0; got {schema}; leave out --schema")
        from pipeline.cluster import compiler

        job = compiler.compile_job(config, schema)  # type: ignore[arg-type]
        compiler.write(job, output)
    except pydantic.ValidationError as error:
        from pipeline.config.pipeline_config import explain

        raise click.UsageError(explain(error)) from error
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    click.echo(
        f"{output}: {len(tasks)} tasks for {target}, schema {schema}; submit it with `movie-ranking submit {target}`"
    )
    return None
