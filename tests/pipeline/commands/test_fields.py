"""`--list-fields` against the models of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pydantic
import pytest

from modules import presets
from pipeline.commands import fields
from pipeline.config.pipeline_config import PipelineConfig


def keys_of(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key, by the models' JSON schema rather than by their annotations."""
    schema = model.model_json_schema()

    def walk(layer: dict[str, Any], prefix: str) -> Iterator[str]:
        for name, field in layer["properties"].items():
            several = field.get("additionalProperties")
            choices = [field, *field.get("anyOf", []), several if isinstance(several, dict) else {}]
            layers = [schema["$defs"][each["$ref"].rsplit("/", 1)[-1]] for each in choices if "$ref" in each]
            layers = [each for each in layers if "properties" in each]
            if not layers or "$ref" not in field:
                yield f"{prefix}{name}"
            below = f"{prefix}{name}.<name>." if isinstance(several, dict) and "$ref" in several else f"{prefix}{name}."
            for each in layers:
                yield from walk(each, below)

    return walk(schema, prefix)


MODELS = [PipelineConfig, *(type(presets.build_config(name, {})) for name in presets.PRESETS)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_listed_once_with_type_and_meaning(model: type[pydantic.BaseModel]) -> None:
    rows = list(fields.list_fields(model))
    assert sorted(key for key, *_ in rows) == sorted(keys_of(model))
    assert all(kind and meaning for _, kind, _, meaning in rows)


def test_nested_fields_have_their_defaults() -> None:
    rows = {key: (kind, default) for key, kind, default, _ in fields.list_fields(PipelineConfig)}
    assert rows["data.root"] == ("str", "")
    assert rows["cluster.training_job.workers"] == ("int", "1")
    assert rows["cluster.endpoint.name"] == ("str", "")
    assert rows["cluster.components.<name>.retry_delay_s"] == ("int", "60")
    assert rows["evaluator.blessed_model"] == ("other, latest, none", "'other'")


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (float | None, "float or none"),
        (tuple[str, ...], "list of str"),
        (dict[str, Any], "value by name"),
        (Literal["a", "b"], "a, b"),
        (Annotated[str, "folder"] | None, "str or none"),
        (PipelineConfig | None, "fields or none"),
    ],
)
def test_types_are_words(annotation: Any, text: str) -> None:
    assert fields.type_text(annotation) == text


def test_brackets_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    fields.show("notebook")
    shown = capsys.readouterr().out
    meaning = PipelineConfig.model_fields["beam"].annotation.model_fields["flink_master"].description
    assert "[local]" in meaning
    assert "[local]" in shown
    assert "trainer.model.epochs" in shown
