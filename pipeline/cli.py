"""The command line, `movie-ranking`. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import errno
import importlib
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from pipeline import environment
from pipeline.exit_codes import ExitCode
from pipeline.local import interrupts
from pipeline.local.printable import printable

# Command: module and attribute that hold it, imported when it is called or its help is asked for; and its summary.
COMMANDS = {
    "data": ("pipeline.commands.data", "data", "Fetch, prepare or make ratings."),
    "run": ("pipeline.commands.run", "run", "Run the pipeline on this machine."),
    "predict": ("pipeline.commands.rate", "predict", "Rate a title for a user with the pushed model."),
    "rank": ("pipeline.commands.rate", "rank", "Rank titles for a user with the pushed model."),
    "recommend": ("pipeline.commands.recommend", "recommend", "Recommend titles of the whole catalogue to somebody."),
    "similar": ("pipeline.commands.recommend", "similar", "Show titles that are chosen by the same people as another."),
    "serve": ("pipeline.commands.serve", "serve", "Serve the pushed models over REST and gRPC."),
    "versions": ("pipeline.commands.versions", "versions", "List the pushed versions, and label the stable one."),
    "report": ("pipeline.commands.runs", "report", "Write the report of a run again."),
    "runs": ("pipeline.commands.runs", "runs", "List, show and compare runs."),
    "lineage": ("pipeline.commands.runs", "lineage", "Say what made a pushed version."),
    "benchmark": ("pipeline.commands.benchmark", "benchmark", "Measure accuracy beside other libraries, and speed."),
    "tune": ("pipeline.commands.tune", "tune", "Search for better hyper-parameters."),
    "compile": ("pipeline.commands.compile", "compile_", "Compile the pipeline for Vertex AI or Kubeflow Pipelines."),
    "submit": ("pipeline.commands.submit", "submit", "Start, schedule or cancel the compiled pipeline on a cluster."),
    "beam": ("pipeline.commands.beam", "beam", "Fetch or serve Flink and Spark, which run Beam pipelines."),
    "clean": ("pipeline.commands.clean", "clean", "Remove results of runs that nothing needs any more."),
    "doctor": ("pipeline.commands.doctor", "doctor", "Check the environment."),
}


class _LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


# A disk that is full or cannot be written, such as that of standard output; no bug of ours.
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="movie-ranking")
def cli() -> None:
    """Ranks movies for users: a TFX pipeline around a TensorFlow Recommenders model."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    environment.prepare()
    guarded(lambda: cli.main(args=arguments, prog_name="movie-ranking", standalone_mode=False))


def guarded(command: Callable[[], Any]) -> None:
    """Runs a command and exits.

    What the user can mend becomes a message and an exit code; anything else is a bug and shows its trace. Titles and
    paths that the terminal's encoding lacks are printed escaped, as Python does on stderr by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.unraisablehook = interrupts.come_again
    try:
        code = command()
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        vars(error).update(message=printable(error.message, keep="\n"))
        error.show()
        code = ExitCode.BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        click.echo("\ninterrupted; the same command resumes", err=True)
        code = ExitCode.INTERRUPTED
    except MemoryError:
        click.echo("Error: expected more memory; got no more; give more, as by `ulimit -v`, or fewer ratings", err=True)
        code = ExitCode.FAILED
    except BrokenPipeError:
        if not any(map(_is_unread, (sys.stdout, sys.stderr))):
            raise
        # Whoever read it has seen enough.
        _drop_output()
        code = ExitCode.FAILED
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        click.echo(printable(f"Error: expected to write; got: {error}; make room, or write elsewhere"), err=True)
        _drop_output()
        code = ExitCode.FAILED
    sys.exit(int(code or 0))


def _is_unread(stream: TextIO) -> bool:
    """Whether a stream leads to a pipe that nobody reads any more."""
    try:
        descriptor = stream.fileno()
    except OSError:  # one that leads into this process
        return False
    watched = select.poll()
    watched.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in watched.poll(0))


def _drop_output() -> None:
    """Drops what standard output does not take, at which Python would fail once more when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
