"""Lists the configuration fields for `movie-ranking run --list-fields`."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Column, Table

from modules import presets
from pipeline.config.pipeline_config import PipelineConfig

# Width of the table in characters, where no terminal gives one.
WIDTH = 160
HEADER = ("field", "type", "default", "meaning")


def list_fields(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yields key, type, default and meaning of each field, layers within layers.

    A layer that is optional, or that there may be several of, has a line of its own before those of its fields, in
    whose keys `<name>` stands for a name of one's own.
    """
    for name, field in model.model_fields.items():
        key, annotation = f"{prefix}{name}", field.annotation
        if not _is_layer(annotation):
            default = field.get_default(call_default_factory=True)
            shown = "" if default is PydanticUndefined else repr(default)
            yield key, type_text(annotation), shown, field.description or ""
        for layer in filter(_is_layer, (annotation, *get_args(annotation))):
            below = f"{key}.<name>." if get_origin(annotation) is dict else f"{key}."
            yield from list_fields(layer, below)


def type_text(annotation: Any) -> str:
    """A type as a reader of the configuration takes it, such as "float or none"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(each) for each in arguments)
    if origin is tuple:
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"{type_text(arguments[1])} by name"
    if annotation is type(None):
        return "none"
    if annotation is Any:
        return "value"
    return "fields" if _is_layer(annotation) else annotation.__name__


def _is_layer(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def show(preset: str) -> None:
    """Prints the fields of the pipeline's configuration and of a preset's model."""
    table = Table(
        *(Column(name, overflow="fold") for name in HEADER), title=f"fields for --set and --config, preset {preset}"
    )
    model = type(presets.build_config(preset, {}))
    for row in (*list_fields(PipelineConfig), *list_fields(model, "trainer.model.")):
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table, markup=False)
