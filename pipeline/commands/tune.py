"""`movie-ranking tune`."""

from __future__ import annotations

import click

from modules.presets import DEFAULT_PRESET, PRESETS
from pipeline.commands.progress import reported
from pipeline.exit_codes import ExitCode


@click.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), default=DEFAULT_PRESET, show_default=True)
@click.option(
    "--data",
    metavar="FOLDER",
    help="Folder with ratings.csv, or with train/, test/ and perhaps eval/.  [default: MovieLens 100K, fetched]",
)
@click.option(
    "--output", default="output/tuning", show_default=True, metavar="FOLDER", help="Trials, logs and the result."
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="How many fits in all; those of an earlier search in the same folder count.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Start no fit after so long."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seeds the search and every fit.  [default: 42]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Hold a field fixed, such as trainer.model.iterations=200; may be repeated.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX and Optuna write.")
def tune(
    preset: str,
    data: str | None,
    output: str,
    trials: int,
    timeout: float | None,
    seed: int | None,
    assignments: tuple[str, ...],
    verbose: bool,
) -> ExitCode | None:
    """Search a preset's hyper-parameters and write a file for `movie-ranking run --config`.

    Each trial fits on the ratings of `train` and is judged by its RMSE on those of `eval`; `test` is never read.
    Without an `eval` split, part of `train` is held out. The first trial is the preset as it is. An interrupted search
    resumes.
    """
    import pydantic

    from pipeline.config import resolve
    from pipeline.config.pipeline_config import explain
    from pipeline.local.capture import captured
    from pipeline.local.observers import terminal

    try:
        with reported() as progress:
            config = resolve.resolve(
                preset=preset, data=data, output=output, seed=seed, assignments=assignments, progress=progress
            )
    except pydantic.ValidationError as error:
        raise click.UsageError(explain(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    console = terminal()
    with captured(f"{config.output}/logs/start-up.log", also_on_terminal=verbose):
        from pipeline.experiments import tuning
        from pipeline.local.dag_runner import ComponentError
    try:
        found = tuning.search(config, trials=trials, timeout=timeout, console=console, verbose=verbose)
    except ComponentError as error:
        click.echo(str(error), err=True)
        return ExitCode.FAILED
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    values = ", ".join(f"{name} {value:g}" for name, value in found.values.items())
    console.print(
        f"{tuning.describe(found)}\n{values}\nuse it: movie-ranking run --config {found.config_file}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return None
