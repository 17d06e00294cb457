"""The graph against the diagram."""

from __future__ import annotations

import json
import pathlib
import tempfile

import pytest

from pipeline.commands.run import COMPONENTS
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.pipeline import create_pipeline

# Consumer: producers.
EDGES = {
    "RatingsExampleGen": set(),
    "StatisticsGen": {"RatingsExampleGen"},
    "CuratedSchema": {"StatisticsGen"},
    "ExampleValidator": {"StatisticsGen", "CuratedSchema"},
    "AnomalyGate": {"ExampleValidator"},
    "Transform": {"RatingsExampleGen", "CuratedSchema", "AnomalyGate"},
    "Trainer": {"RatingsExampleGen", "CuratedSchema", "Transform"},
    "BaselineComparison": {"RatingsExampleGen", "Trainer"},
    "BlessedModel": {"Trainer"},
    "Evaluator": {"RatingsExampleGen", "Trainer", "BlessedModel"},
    "ServableValidator": {"Trainer"},
    "Pusher": {"Trainer", "Evaluator", "ServableValidator"},
}


def create(**values: object):
    defaults = {"output": tempfile.mkdtemp(), "data": {"root": "/nowhere", "given": True}}
    return create_pipeline(PipelineConfig(**{**defaults, **values}))


def component(pipeline, name: str):
    return next(each for each in pipeline.components if each.id == name)


def test_edges_are_those_of_the_diagram() -> None:
    edges = {each.id: {node.id for node in each.upstream_nodes} for each in create().components}
    assert edges == EDGES


def test_the_command_line_names_every_component() -> None:
    assert set(COMPONENTS) == set(EDGES)


def test_building_it_writes_no_file(tmp_path: pathlib.Path) -> None:
    create(output=str(tmp_path / "output"))
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


@pytest.mark.parametrize(
    ("splits", "fit", "choose", "has_eval"),
    [
        (("train", "eval", "test"), ["train", "eval"], ["eval"], True),
        (("train", "test"), ["train"], ["train"], False),
    ],
)
def test_test_ratings_reach_the_evaluator_alone(splits, fit, choose, has_eval) -> None:
    pipeline = create(data={"root": "/nowhere", "given": True, "splits": splits})
    analyzed = json.loads(component(pipeline, "Transform").exec_properties["analyzed_splits"])
    assert analyzed == fit
    trainer = component(pipeline, "Trainer").exec_properties
    assert json.loads(trainer["train_args"])["splits"] == ["train"]
    assert json.loads(trainer["eval_args"])["splits"] == choose
    assert json.loads(trainer["custom_config"])["has_eval"] == has_eval
    assert json.loads(component(pipeline, "Evaluator").exec_properties["example_splits"]) == ["test"]


def test_the_preset_and_its_values_reach_the_trainer() -> None:
    pipeline = create(trainer={"preset": "notebook", "seed": 7, "model": {"epochs": 2}})
    settings = json.loads(component(pipeline, "Trainer").exec_properties["custom_config"])
    assert (settings["preset"], settings["seed"], settings["model"]) == ("notebook", 7, {"epochs": 2})


@pytest.mark.parametrize(("baseline", "producers"), [("latest", set()), ("other", {"Trainer"})])
def test_the_blessed_model_resolver(baseline: str, producers: set[str]) -> None:
    pipeline = create(evaluator={"baseline": baseline})
    assert {node.id for node in component(pipeline, "BlessedModel").upstream_nodes} == producers


def test_without_a_baseline_there_is_no_resolver() -> None:
    pipeline = create(evaluator={"baseline": "none"})
    assert "BlessedModel" not in {each.id for each in pipeline.components}
    assert {node.id for node in component(pipeline, "Evaluator").upstream_nodes} == {"RatingsExampleGen", "Trainer"}


def test_the_push_waits_for_both_blessings() -> None:
    inputs = component(create(), "Pusher").inputs
    assert set(inputs) == {"model", "model_blessing", "infra_blessing"}
