"""Options that several commands share. Those that set a field of the configuration go into one mapping, by its key."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from modules import distribution
from modules.errors import UserError
from modules.presets import DEFAULT_PRESET, PRESETS

# Those of `beam_config.Runner`, spelled here so that `--help` does not load the configuration; a test compares them.
RUNNERS = ("direct", "flink", "spark", "dataflow")

# Distribution of the client; that of the whole of MLflow brings it.
_MLFLOW = "mlflow-skinny"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Path(click.Path):
    """A path; `~` at its start is the home folder, which shells leave as it is in `--output=~/x`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("expected a path; got an empty text", param, ctx)
        return super().convert(os.path.expanduser(value), param, ctx)


class Name(click.ParamType):
    """The id of a user or a title, in the spelling that models know."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from modules.normalization import normalize

        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"expected text in UTF-8; got {os.fsencode(value)!r}; have the terminal write UTF-8", param, ctx)
        if not (name := normalize(value)):
            self.fail(f"expected an id or a title; got {value!r}, which is blank", param, ctx)
        return name


class Checked(click.ParamType):
    """A text that the configuration takes, too."""

    name = "text"

    def __init__(self, check: Callable[[str], str]) -> None:
        """Takes what `check` returns; it raises a UserError for what is refused."""
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return self._check(value)
        except UserError as error:
            self.fail(str(error), param, ctx)


def _tracking_uri(value: str) -> str:
    """An address of MLflow's.

    Raises:
      UserError: it is empty, or MLflow's client is not installed.
    """
    import importlib.metadata

    if not value:
        raise UserError("expected an address, such as http://localhost:5000 or sqlite:///mlflow.db; got an empty text")
    try:
        importlib.metadata.version(_MLFLOW)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError("MLflow is not installed; install it with `pip install 'movie-ranking[mlflow]'`") from error
    return value


def config_option(*names: str, key: str, **attributes: Any) -> Decorator:
    """An option that sets a field of the configuration.

    A command with such options takes `values`, which maps the keys of those that were given to what was given.

    Args:
      names: of the option, as click takes them.
      key: of the field, layers joined by dots, such as "trainer.seed".
      attributes: more arguments of `click.option`.
    """

    def collect(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        values = ctx.params.setdefault("values", {})
        if value is not None and value != ():
            values[key] = value

    return click.option(*names, callback=collect, expose_value=False, **attributes)


def options(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


PRESET = config_option(
    "--preset",
    key="trainer.preset",
    type=click.Choice(list(PRESETS)),
    help=f"The model. {'; '.join(f'{name}: {preset.summary}' for name, preset in PRESETS.items())}.  "
    f"[default: {DEFAULT_PRESET}]",
)
DATA = config_option(
    "--data",
    key="data.root",
    type=Path(),
    metavar="FOLDER",
    help="Folder with ratings.csv, or with train/, test/ and perhaps eval/, here or on gs://.  "
    "[default: MovieLens 100K, fetched]",
)
WAIT = click.option("--wait", is_flag=True, help="Wait while another command works on the output folder.")
REBUILD = click.option(
    "--rebuild", is_flag=True, help="Set a lost or damaged metadata.sqlite aside, with its artifacts, and start anew."
)


def mlflow_option(*, required: bool, help_text: str) -> Decorator:
    """The option `--mlflow`, refused where MLflow's client is not installed."""
    return click.option(
        "--mlflow", "tracking_uri", type=Checked(_tracking_uri), metavar="URI", required=required, help=help_text
    )


SEED = config_option(
    "--seed",
    key="trainer.seed",
    type=click.IntRange(min=0),
    help="Seeds every random choice of the training.  [default: 42]",
)
STRATEGY = config_option(
    "--strategy",
    key="trainer.strategy",
    type=click.Choice(distribution.NAMES),
    help="Train on one device, every GPU, or the workers in TF_CONFIG; some presets take none alone.  [default: none]",
)
RMSE_BOUND = config_option(
    "--rmse-bound",
    key="evaluator.rmse_bound",
    type=click.FloatRange(min=0, min_open=True),
    help="The highest test RMSE that is blessed, stars.  [default: the preset's]",
)
BEAM = options(
    config_option(
        "--beam",
        key="beam.runner",
        type=click.Choice(RUNNERS),
        help="What runs the Beam pipelines of the components: this machine, or a cluster, whose settings are fields "
        "such as beam.flink_master.  [default: direct]",
    ),
    config_option(
        "--beam-arg",
        key="beam.args",
        multiple=True,
        metavar="--NAME=VALUE",
        help="One more argument of Beam, such as --flink_version=1.19; may be repeated.",
    ),
)
FIELDS = options(
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any configuration field, such as trainer.model.epochs=5; may be repeated. `run --list-fields` names "
        "them.",
    ),
    click.option("--config", "config_file", type=Path(exists=True, dir_okay=False), help="YAML file with such fields."),
)
