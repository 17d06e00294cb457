"""Lists the configuration fields for `movie-ranking run --list-fields`."""

from __future__ import annotations

from collections.abc import Iterator

import pydantic
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table

from modules import presets
from pipeline.config.pipeline_config import PipelineConfig


def list_fields(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yields path, default and description of each field, layers within layers."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            yield from list_fields(annotation, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", "" if default is PydanticUndefined else repr(default), field.description or ""


def show(preset: str) -> None:
    """Prints the fields of the pipeline's configuration and of a preset's model."""
    table = Table("field", "default", "meaning", title=f"fields for --set and --config, preset {preset}")
    for row in list_fields(PipelineConfig):
        table.add_row(*row)
    for row in list_fields(type(presets.build_config(preset, {})), "trainer.model."):
        table.add_row(*row)
    Console().print(table)
