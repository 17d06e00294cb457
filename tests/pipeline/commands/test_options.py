"""Options as a mapping of configuration keys."""

from __future__ import annotations

import importlib.metadata
import pathlib
from collections.abc import Iterator

import click
import pydantic
import pytest
from click.testing import CliRunner

from pipeline import cli
from pipeline.commands import compile, options, run, tune
from pipeline.config.pipeline_config import PipelineConfig


def collected(*arguments: str) -> dict:
    received = {}

    @click.command()
    @options.options(options.PRESET, options.SEED, options.RMSE_BOUND, options.BEAM)
    @options.config_option("--place", key="output", default="here")
    def command(values: dict) -> None:
        received.update(values)

    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return received


def test_what_is_given_is_collected_by_key() -> None:
    assert collected(
        "--preset", "fast", "--seed", "0", "--rmse-bound", "0.9", "--beam-arg", "--a=1", "--beam-arg", "--b"
    ) == {
        "trainer.preset": "fast",
        "trainer.seed": 0,
        "evaluator.rmse_bound": 0.9,
        "beam.args": ("--a=1", "--b"),
        "output": "here",
    }


def given(kind: click.ParamType, *arguments: str) -> object:
    """What a command gets for an option of a kind."""
    received = []

    @click.command()
    @click.option("--value", type=kind)
    def command(value: object) -> None:
        received.append(value)

    done = CliRunner().invoke(command, arguments)
    return received[0] if not done.exit_code else done.stderr


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/films")
    assert given(options.Path(), "--value=~/x") == "/home/films/x"
    assert given(options.Path(path_type=pathlib.Path), "--value=~") == pathlib.Path("/home/films")
    assert given(options.Path(), "--value=a~/~") == "a~/~"
    assert given(options.Path(), "--value=gs://bucket/~") == "gs://bucket/~"
    assert given(options.Path()) is None
    assert "File '/home/films/x' does not exist" in str(given(options.Path(exists=True, dir_okay=False), "--value=~/x"))
    assert "expected a path; got an empty text" in str(given(options.Path(), "--value="))


def test_every_path_that_a_command_takes_has_its_tilde_expanded() -> None:
    def paths(command: click.Command) -> Iterator[click.Parameter]:
        if isinstance(command, click.Group):
            for each in (command.get_command(click.Context(command), name) for name in command.list_commands(None)):
                yield from paths(each)
        yield from (each for each in command.params if isinstance(each.type, (click.Path, click.File)))

    found = {(each.name, type(each.type)) for each in paths(cli.cli)}
    assert {name for name, _ in found} >= {"output", "config_file", "file"}
    assert {kind for _, kind in found} == {options.Path}


def test_what_is_not_given_is_left_out() -> None:
    assert collected() == {"output": "here"}


@pytest.mark.parametrize("command", [run.run, tune.tune, compile.compile_], ids=lambda command: command.name)
def test_every_option_of_a_command_sets_a_field_that_there_is(command: click.Command) -> None:
    ctx = click.Context(command)
    keys = []
    for parameter in command.params:
        if not parameter.expose_value and parameter.callback and parameter.name != "help":
            ctx.params.clear()
            parameter.callback(ctx, parameter, "given")
            keys += ctx.params["values"]
    assert {"trainer.preset", "trainer.seed"} <= set(keys)
    for key in keys:
        layer: type[pydantic.BaseModel] = PipelineConfig
        *parents, leaf = key.split(".")
        for parent in parents:
            layer = layer.model_fields[parent].annotation
        assert leaf in layer.model_fields, key


def test_mlflow_is_asked_for_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    done = CliRunner().invoke(cli.cli, ["runs", "track", "--mlflow", "sqlite:///mlflow.db"])
    assert done.exit_code == 2
    assert "install it with `pip install 'movie-ranking[mlflow]'`" in " ".join(done.stderr.split())


def test_an_address_of_mlflow_is_no_empty_text() -> None:
    done = CliRunner().invoke(cli.cli, ["run", "--mlflow", ""])
    assert done.exit_code == 2
    assert "expected an address, such as http://localhost:5000" in " ".join(done.stderr.split())
