"""`movie-ranking run`."""

from __future__ import annotations

from typing import Any

import click

from modules.presets import DEFAULT_PRESET
from pipeline.commands import options
from pipeline.commands.errors import alone, check_output, check_workers, usage_errors
from pipeline.commands.progress import reported
from pipeline.config.component_order import COMPONENTS
from pipeline.exit_codes import MEANINGS, ExitCode

COMPONENT: dict[str, Any] = {"type": click.Choice(COMPONENTS), "metavar": "COMPONENT"}
EPILOG = (
    "Components, in order: "
    + ", ".join(COMPONENTS)
    + ".\n\n\b\nExit codes:\n"
    + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
)


@click.command(epilog=EPILOG)
@options.options(options.PRESET, options.DATA)
@options.config_option(
    "--output",
    key="output",
    type=options.Path(),
    metavar="FOLDER",
    help="Artifacts, metadata, logs and pushed models.  [default: output]",
)
@options.options(options.SEED, options.STRATEGY, options.RMSE_BOUND, options.BEAM)
@click.option("--from", "from_component", **COMPONENT, help="Start here, on the last run's results.")
@click.option("--to", "to_component", **COMPONENT, help="Stop after this component.")
@click.option("--no-cache", is_flag=True, help="Run every component, whether or not anything changed.")
@options.options(options.WAIT, options.REBUILD)
@options.mlflow_option(
    required=False,
    help_text="Record the run in MLflow, on a server or in a database, such as sqlite:///mlflow.db; `runs track` does "
    "so later.",
)
@options.FIELDS
@click.option("--list-fields", is_flag=True, help="List the configuration fields, with those of the preset, and stop.")
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX and the components write.")
def run(
    values: dict[str, Any],
    from_component: str | None,
    to_component: str | None,
    no_cache: bool,
    wait: bool,
    rebuild: bool,
    tracking_uri: str | None,
    assignments: tuple[str, ...],
    config_file: str | None,
    list_fields: bool,
    verbose: bool,
) -> ExitCode | None:
    """Run the pipeline on this machine, from the ratings to a pushed model.

    What comes later overrules what comes before: the preset's defaults, --config, flags, --set. An interrupted run
    resumes: components that were finished are not run again.
    """
    from pipeline.config import resolve
    from pipeline.local import metadata_file, metadata_seal
    from pipeline.local import run as runs

    if list_fields:
        from pipeline.commands import fields

        fields.show(values.get("trainer.preset", DEFAULT_PRESET))
        return None
    if no_cache:
        values["cache"] = False
    with usage_errors():
        with reported() as progress:
            config = resolve.resolve(values, config_file=config_file, assignments=assignments, progress=progress)
        check_output(config)
        check_workers(config)
        with alone(config, "run", wait=wait):
            if config.is_local:
                metadata_file.check(config, rebuild=rebuild)
            with metadata_seal.put_in_the_end(config.metadata_path):
                return runs.run(
                    config,
                    from_component=from_component,
                    to_component=to_component,
                    verbose=verbose,
                    tracking_uri=tracking_uri,
                )
