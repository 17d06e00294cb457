"""The options of `movie-ranking run` and `movie-ranking compile` that say where Beam pipelines run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

# Those of `beam_config.Runner`, spelled here so that `--help` does not load pydantic; a test compares them.
RUNNERS = ("direct", "flink", "spark", "dataflow")


def beam_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--beam` and `--beam-arg`."""
    options = (
        click.option(
            "--beam", type=click.Choice(RUNNERS),
            help="What runs the Beam pipelines of the components: this machine, or a cluster, whose settings are "
            "fields such as beam.flink_master.  [default: direct]",
        ),
        click.option(
            "--beam-arg", "beam_args", multiple=True, metavar="--NAME=VALUE",
            help="One more argument of Beam, such as --flink_version=1.19; may be repeated.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
