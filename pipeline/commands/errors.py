"""What a user did wrong, as a message and the exit code for bad input."""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from modules.errors import UserError
from pipeline.exit_codes import ExitCode
from pipeline.local import output_lock

if TYPE_CHECKING:
    from pipeline.config.pipeline_config import PipelineConfig


# What a run writes at the very least.
_LEAST_BYTES = 1 << 16
# With less of it, TensorFlow cannot be loaded, and C++ ends the process.
_ADDRESS_SPACE_BYTES = 2 << 30


class _BadInput(click.ClickException):
    """Bad input whose message needs no word on usage."""

    exit_code = ExitCode.BAD_INPUT


@contextlib.contextmanager
def usage_errors(*more: type[Exception]) -> Iterator[None]:
    """Turns an error that is the user's to mend into a usage error: exit code 2. Any other is a bug, and goes on.

    Args:
      more: further types of errors that are the user's to mend, such as OSError; these say nothing of usage.
    """
    try:
        yield
    except UserError as error:
        raise click.UsageError(str(error)) from error
    except more as error:
        raise _BadInput(str(error)) from error
    except ValueError as error:
        import pydantic

        from pipeline.config.pipeline_config import explain

        if not isinstance(error, pydantic.ValidationError):
            raise
        raise click.UsageError(explain(error)) from error


def check_output(config: PipelineConfig) -> None:
    """Makes the folders of a run, as far as they are on this machine; see `make_writable`."""
    from pipeline.config import locations

    for option, folder in (("--output", config.output), ("artifacts", config.pipeline_root)):
        if not locations.is_remote(folder):
            make_writable(folder, option)


@contextlib.contextmanager
def alone(config: PipelineConfig, command: str, *, wait: bool = False) -> Iterator[None]:
    """Holds the output folder; ends the command where another one does, unless it is to wait.

    Args:
      config: of the pipeline; its folders were made. An output that is not on this machine is left alone.
      command: which one holds it.
      wait: for the end of the other.
    """
    if not config.is_local:
        yield
        return
    with alone_in(config.output, command, wait=wait):
        yield


@contextlib.contextmanager
def alone_in(folder: str, command: str, *, wait: bool = False) -> Iterator[None]:
    """Holds an output folder on this machine, which exists; see `alone`."""
    tell = (lambda holder: click.echo(f"{holder}; waiting for its end", err=True)) if wait else None
    try:
        with output_lock.held(folder, command, wait=tell):
            yield
    except output_lock.BusyError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(ExitCode.BUSY) from error


def check_workers(config: PipelineConfig) -> None:
    """Refuses what a pipeline cannot run in: too little memory, or a folder where Beam's workers find other packages.

    Raises:
      UserError: `ulimit -v` leaves too little, or the current folder has packages of the same names as ours, and this
        Python has workers look there first.
    """
    check_address_space()
    if "--direct_running_mode=multi_processing" not in config.beam_args or sys.version_info >= (3, 11):
        return
    others = []
    for name in ("pipeline", "components", "modules", "data"):
        spec = importlib.machinery.PathFinder.find_spec(name, [os.getcwd(), *sys.path])
        found = next(iter(spec.submodule_search_locations or (spec.origin,))) if spec else None
        if found and not os.path.samefile(found, importlib.import_module(name).__path__[0]):
            others.append(found)
    if others:
        raise UserError(
            "expected a current folder without packages of our names for several workers of Beam, which look there "
            f"first; got {', '.join(others)}; start from another folder, or give beam.running_mode=multi_threading"
        )


def check_address_space() -> None:
    """Refuses a process that may not use as much memory as TensorFlow takes to be loaded.

    Raises:
      UserError: `ulimit -v` leaves it less.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE_BYTES:
        raise UserError(
            f"expected {_ADDRESS_SPACE_BYTES >> 10:,} KiB of address space or more, for TensorFlow; got "
            f"{limit >> 10:,}; raise it with `ulimit -v`"
        )


def make_writable(folder: str | os.PathLike[str], option: str) -> None:
    """Makes a folder, so that one that cannot be written is refused before anything is computed.

    Args:
      folder: on this machine.
      option: that names it, for the message.

    Raises:
      UserError: it cannot be made, or nothing can be written there.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_LEAST_BYTES))  # a file without any fits on a full disk
    except OSError as error:
        fault = "it is a file" if os.path.isfile(folder) else error.strerror
        raise UserError(
            f"expected a folder in {option} that can be made and written; got {folder}: {fault}; give another"
        ) from error
