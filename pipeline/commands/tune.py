"""`movie-ranking tune`."""

from __future__ import annotations

from typing import Any

import click

from modules.errors import UserError
from pipeline.commands import options
from pipeline.commands.errors import alone, check_output, check_workers, usage_errors
from pipeline.commands.progress import reported
from pipeline.exit_codes import ExitCode


@click.command()
@options.options(options.PRESET, options.DATA)
@options.config_option(
    "--output",
    key="output",
    type=options.Path(),
    default="output/tuning",
    show_default=True,
    metavar="FOLDER",
    help="Trials, logs and the result.",
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
@options.SEED
@options.options(options.WAIT, options.REBUILD)
@options.FIELDS
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX and Optuna write.")
def tune(
    values: dict[str, Any],
    trials: int,
    timeout: float | None,
    wait: bool,
    rebuild: bool,
    assignments: tuple[str, ...],
    config_file: str | None,
    verbose: bool,
) -> ExitCode | None:
    """Search a preset's hyper-parameters and write a file for `movie-ranking run --config`.

    Each trial fits on the ratings of `train` and is judged by its RMSE on those of `eval`; `test` is never read.
    Without an `eval` split, part of `train` is held out. The first trial is the preset as it is. Fields of the model
    that --set or --config gives are held fixed. An interrupted search resumes.
    """
    from rich.text import Text

    from pipeline.config import resolve
    from pipeline.local import metadata_file
    from pipeline.local.capture import captured
    from pipeline.local.observers import terminal

    with usage_errors():
        with reported() as progress:
            config = resolve.resolve(values, config_file=config_file, assignments=assignments, progress=progress)
        if not config.is_local:
            raise UserError(f"expected a folder on this machine in --output; got {config.output}; give another")
        check_output(config)
        check_workers(config)
        console = terminal()
        with alone(config, "tune", wait=wait):
            metadata_file.check(config, rebuild=rebuild)
            with captured(f"{config.output}/logs/start-up.log", also_on_terminal=verbose):
                from pipeline.experiments import tuning
                from pipeline.local.dag_runner import ComponentError
            try:
                found = tuning.search(config, trials=trials, timeout=timeout, console=console, verbose=verbose)
            except ComponentError as error:
                click.echo(str(error), err=True)
                return ExitCode.FAILED
    best = ", ".join(f"{name} {value:g}" for name, value in found.values.items())
    lines = f"{tuning.describe(found)}\n{best}\nuse it: movie-ranking run --config {found.config_file}"
    console.print(Text(lines), soft_wrap=True)
    return None
