"""`movie-ranking compile`."""

from __future__ import annotations

import os
from typing import Any

import click

from modules.errors import UserError
from pipeline.commands import options
from pipeline.commands.errors import make_writable, usage_errors
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
@options.config_option(
    "--project", key="cluster.project", help="Google Cloud project; needed for Dataflow, training jobs and endpoints."
)
@options.config_option(
    "--region", key="cluster.region", help="Google Cloud region, such as europe-west4; needed for the same."
)
@options.config_option(
    "--pipeline-root",
    key="artifacts",
    type=options.Path(),
    metavar="gs://…",
    help="Folder for artifacts; models are pushed to serving_model/ in it.",
)
@options.config_option(
    "--data",
    key="data.root",
    type=options.Path(),
    metavar="gs://…",
    help="Folder of the ratings, as the tasks will see it.",
)
@options.config_option("--image", key="cluster.image", help="Container image with movie-ranking installed.")
@options.options(options.PRESET, options.SEED, options.STRATEGY, options.RMSE_BOUND, options.BEAM, options.FIELDS)
@click.option(
    "--schema", type=click.Choice(["2.0.0", "2.1.0"]), default="2.1.0", show_default=True,
    help="Version of the pipeline specification; Kubeflow takes 2.1.0 only.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=options.Path(dir_okay=False),
    default="movie_ranking.json",
    show_default=True,
    metavar="FILE",
    help="The file to write.",
)
@click.option("--list-parameters", is_flag=True, help="List what a submission may change, and stop.")
def compile_(
    target: str,
    values: dict[str, Any],
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
    from pipeline.cluster import resolve as cluster_resolve

    given: dict[str, Any] = {"platform": target, "config_file": config_file, "assignments": assignments}
    with usage_errors(OSError):
        if list_parameters:
            cluster_resolve.show_parameters(values, **given)
            return None
        config = cluster_resolve.resolve(values, **given)
        if target == "kubeflow" and schema != "2.1.0":
            raise UserError(f"Kubeflow Pipelines takes schema 2.1.0; got {schema}; leave out --schema")
        make_writable(os.path.dirname(os.path.abspath(output)), "--output")
        from pipeline.cluster import compiler

        job = compiler.compile_job(config, target, schema)  # type: ignore[arg-type]
        compiler.write(job, output)
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    click.echo(
        f"{output}: {len(tasks)} tasks for {target}, schema {schema}; submit it with `movie-ranking submit {target}`"
    )
    return None
