"""`movie-ranking beam`: engines that run Beam pipelines, Flink and Spark, on this machine."""

from __future__ import annotations

import pathlib
import signal
import threading
import types

import click

from pipeline.commands.errors import usage_errors
from pipeline.commands.options import Path
from pipeline.exit_codes import ExitCode

ENGINES = ("flink", "spark")
_ENGINE = click.argument("engine", type=click.Choice(ENGINES))
_LOOK_S = 0.5
FETCH_EPILOG = """\b
Exit codes:
    0  the libraries are there
    2  Java or Maven is missing, or Maven did not get the libraries, or got others
"""
SERVE_EPILOG = """\b
Exit codes:
    0  SIGINT or SIGTERM ended it
    1  a program of the engine ended by itself
    2  the engine was not fetched, there is no Java, or a program did not start
"""


class _Stopped(BaseException):
    """A signal told the command to stop."""


@click.group()
def beam() -> None:
    """Fetch or serve Flink and Spark, which `run --beam` uses."""


@beam.command(epilog=FETCH_EPILOG)
@_ENGINE
def fetch(engine: str) -> None:
    """Fetch the Java libraries of an engine and of Beam's job server into the user's cache folder, by Maven."""
    from pipeline.engines.jars import DISTRIBUTIONS

    distribution = DISTRIBUTIONS[engine]
    with usage_errors(OSError):
        is_new = distribution.fetch(lambda line: click.echo(line, err=True))
    click.echo(f"{distribution.title}: {'fetched into' if is_new else 'there already, in'} {distribution.folder}")


@beam.command(epilog=SERVE_EPILOG)
@_ENGINE
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes of a standalone cluster that work; 0 for an engine embedded in the job server.",
)
@click.option(
    "--logs", type=Path(file_okay=False), metavar="FOLDER", help="What the programs write.  [default: it is not kept]"
)
def serve(engine: str, workers: int, logs: str | None) -> ExitCode:
    """Run an engine and Beam's job server for it, on this machine and for it alone, until SIGINT or SIGTERM.

    It needs no password: whoever may use this machine may use it.
    """
    from pipeline.engines.serving import served

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        with usage_errors(OSError), served(engine, workers=workers, logs=pathlib.Path(logs) if logs else None) as it:
            if it.master:
                click.echo(f"{engine} with {workers} workers at {it.master}")
            click.echo(f"Beam's job server for {engine} is ready; use it with:")
            click.echo(f"  --beam {engine} --set beam.job_endpoint={it.job_endpoint}")
            while (ended := it.ended()) is None:
                threading.Event().wait(_LOOK_S)
            click.echo(f"{ended.title} ended by itself; its last words:\n{ended.last_words()}", err=True)
            return ExitCode.FAILED
    except _Stopped:
        return ExitCode.PUSHED


def _stop(number: int, frame: types.FrameType | None) -> None:
    """Ends the command, and only once: what it does then is to stop the programs."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise _Stopped
