"""What a user did wrong, as a message and the exit code for bad input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click


@contextlib.contextmanager
def usage_errors(*more: type[Exception]) -> Iterator[None]:
    """Turns a ValueError, such as one of the configuration or the data, into a usage error: exit code 2.

    Args:
      more: further types of errors that are the user's to mend, such as OSError.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, *more)
    try:
        yield
    except kinds as error:
        import pydantic

        from pipeline.config.pipeline_config import explain

        message = explain(error) if isinstance(error, pydantic.ValidationError) else str(error)
        raise click.UsageError(message) from error
