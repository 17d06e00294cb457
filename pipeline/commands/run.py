"""`movie-ranking run`."""

from __future__ import annotations

from typing import Any

import click

from modules import distribution
from modules.presets import DEFAULT_PRESET, PRESETS
from pipeline.commands.options import beam_options
from pipeline.commands.progress import reported
from pipeline.exit_codes import MEANINGS, ExitCode

COMPONENTS = (
    "RatingsExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "BaselineComparison",
    "BlessedModel",
    "Evaluator",
    "ServableValidator",
    "Pusher",
)
COMPONENT: dict[str, Any] = {"type": click.Choice(COMPONENTS), "metavar": "COMPONENT"}
EPILOG = (
    "Components, in order: "
    + ", ".join(COMPONENTS)
    + ".\n\n\b\nExit codes:\n"
    + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
)
PRESET_HELP = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())


@click.command(epilog=EPILOG)
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help=f"The model. {PRESET_HELP}.  [default: {DEFAULT_PRESET}]"
)
@click.option(
    "--data",
    metavar="FOLDER",
    help="Folder with ratings.csv, or with train/, test/ and perhaps eval/, here or on gs://.  "
    "[default: MovieLens 100K, fetched]",
)
@click.option("--output", metavar="FOLDER", help="Artifacts, metadata, logs and pushed models.  [default: output]")
@click.option("--seed", type=click.IntRange(min=0), help="Seeds every random choice of the training.  [default: 42]")
@click.option(
    "--strategy",
    type=click.Choice(distribution.NAMES),
    help="Train on one device, every GPU, or the workers in TF_CONFIG; some presets take none alone.  [default: none]",
)
@click.option(
    "--rmse-bound",
    type=click.FloatRange(min=0, min_open=True),
    help="The test RMSE must be below it, stars.  [default: the preset's]",
)
@beam_options
@click.option("--from", "from_component", **COMPONENT, help="Start here, on the last run's results.")
@click.option("--to", "to_component", **COMPONENT, help="Stop after this component.")
@click.option("--no-cache", is_flag=True, help="Run every component, whether or not anything changed.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any configuration field, such as trainer.model.epochs=5; may be repeated. --list-fields names them.",
)
@click.option(
    "--config", "config_file", type=click.Path(exists=True, dir_okay=False), help="YAML file with such fields."
)
@click.option("--list-fields", is_flag=True, help="List the configuration fields, with those of the preset, and stop.")
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX and the components write.")
def run(
    preset: str | None,
    data: str | None,
    output: str | None,
    seed: int | None,
    strategy: str | None,
    rmse_bound: float | None,
    beam: str | None,
    beam_args: tuple[str, ...],
    from_component: str | None,
    to_component: str | None,
    no_cache: bool,
    assignments: tuple[str, ...],
    config_file: str | None,
    list_fields: bool,
    verbose: bool,
) -> ExitCode | None:
    """Run the pipeline on this machine, from the ratings to a pushed model.

    What comes later overrules what comes before: the preset's defaults, --config, flags, --set. An interrupted run
    resumes: components that were finished are not run again.
    """
    import pydantic

    from pipeline.config import resolve
    from pipeline.local import run as runs

    if list_fields:
        from pipeline.commands import fields

        fields.show(preset or DEFAULT_PRESET)
        return None
    try:
        with reported() as progress:
            config = resolve.resolve(
                preset=preset,
                data=data,
                output=output,
                seed=seed,
                strategy=strategy,
                rmse_bound=rmse_bound,
                cache=False if no_cache else None,
                beam=beam,
                beam_args=beam_args,
                config_file=config_file,
                assignments=assignments,
                progress=progress,
            )
    except pydantic.ValidationError as error:
        from pipeline.config.pipeline_config import explain

        raise click.UsageError(explain(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        return runs.run(config, from_component=from_component, to_component=to_component, verbose=verbose)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
