"""The graph against the diagram."""

from __future__ import annotations

import json
import pathlib
import tempfile

import pytest

from pipeline.config.component_order import COMPONENTS
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.pipeline import create_pipeline

# Consumer: producers.
EDGES = {
    "RatingsExampleGen": set(),
    "TablesExampleGen": set(),
    "StatisticsGen": {"RatingsExampleGen"},
    "CuratedSchema": {"StatisticsGen"},
    "ExampleValidator": {"StatisticsGen", "CuratedSchema"},
    "AnomalyGate": {"ExampleValidator"},
    "Transform": {"RatingsExampleGen", "CuratedSchema", "AnomalyGate"},
    "Trainer": {"RatingsExampleGen", "TablesExampleGen", "CuratedSchema", "Transform"},
    "BlessedModel": {"Trainer"},
    "Evaluator": {"RatingsExampleGen", "Trainer", "BlessedModel"},
    "ServableValidator": {"Trainer"},
    "Pusher": {"Trainer", "Evaluator", "ServableValidator"},
    "ReportGen": {
        "RatingsExampleGen", "StatisticsGen", "CuratedSchema", "ExampleValidator", "Trainer", "Evaluator",
        "ServableValidator", "Pusher",
    },
}  # fmt: skip


def create(**values: object):
    defaults = {"output": tempfile.mkdtemp(), "data": {"root": "/nowhere", "given": True}}
    return create_pipeline(PipelineConfig(**{**defaults, **values}))


def component(pipeline, name: str):
    return next(each for each in pipeline.components if each.id == name)


def test_edges_are_those_of_the_diagram() -> None:
    edges = {each.id: {node.id for node in each.upstream_nodes} for each in create().components}
    assert edges == EDGES


def test_lists_are_written_of_an_approved_model_where_they_are_asked_for() -> None:
    lists = component(create(lists={"top": 7, "form": "csv"}), "BulkRecommender")
    assert {node.id for node in lists.upstream_nodes} == {"Trainer", "Evaluator", "ServableValidator"}
    assert (lists.exec_properties["top"], lists.exec_properties["form"]) == (7, "csv")
    with pytest.raises(
        ValueError, match=r"expected a model that recommends for lists\.top 7; got trainer\.retrieval none"
    ):
        create(lists={"top": 7}, trainer={"retrieval": "none"})


def test_the_command_line_names_every_component() -> None:
    assert list(COMPONENTS) == list(EDGES)


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
    assert component(pipeline, "Evaluator").exec_properties["split"] == "test"


def test_the_preset_and_its_values_reach_the_trainer() -> None:
    pipeline = create(trainer={"preset": "notebook", "seed": 7, "model": {"epochs": 2}})
    settings = json.loads(component(pipeline, "Trainer").exec_properties["custom_config"])
    assert (settings["preset"], settings["seed"], settings["model"]) == ("notebook", 7, {"epochs": 2})


@pytest.mark.parametrize(("which", "producers"), [("latest", set()), ("other", {"Trainer"})])
def test_the_blessed_model_resolver(which: str, producers: set[str]) -> None:
    pipeline = create(evaluator={"blessed_model": which})
    assert {node.id for node in component(pipeline, "BlessedModel").upstream_nodes} == producers


def test_without_a_blessed_model_there_is_no_resolver() -> None:
    pipeline = create(evaluator={"blessed_model": "none"})
    assert "BlessedModel" not in {each.id for each in pipeline.components}
    assert {node.id for node in component(pipeline, "Evaluator").upstream_nodes} == {"RatingsExampleGen", "Trainer"}


def test_the_bound_lives_in_one_place() -> None:
    pipeline = create(evaluator={"rmse_bound": 0.7654})
    holders = {each.id for each in pipeline.components if "0.7654" in str(each.exec_properties)}
    assert holders == {"Evaluator"}
    assert component(pipeline, "Evaluator").exec_properties["rmse_bound"] == 0.7654


@pytest.mark.parametrize(("chosen", "passed"), [(None, "fast"), ("none", "none"), ("title_mean", "title_mean")])
def test_the_baseline_is_the_presets_unless_another_is_chosen(chosen: str | None, passed: str) -> None:
    pipeline = create(trainer={"preset": "fast"}, evaluator={"baseline": chosen})
    assert component(pipeline, "Evaluator").exec_properties["baseline"] == passed


def test_ratings_are_read_by_their_pattern_beside_the_side_tables() -> None:
    given = json.loads(component(create(), "RatingsExampleGen").exec_properties["input_config"])
    assert [split["pattern"] for split in given["splits"]] == [
        f"{name}/ratings*.csv" for name in ("train", "eval", "test")
    ]
    whole = create(data={"root": "/nowhere", "given": False})
    (split,) = json.loads(component(whole, "RatingsExampleGen").exec_properties["input_config"])["splits"]
    assert split["pattern"] == "ratings*.csv"


def test_the_report_waits_for_the_push_and_nothing_for_the_report() -> None:
    pipeline = create()
    report = component(pipeline, "ReportGen")
    assert report.inputs["pushed_model"].producer_component_id == "Pusher"
    assert not report.downstream_nodes
    assert (report.exec_properties["preset"], report.exec_properties["seed"]) == ("default", 42)


def test_the_push_waits_for_both_blessings() -> None:
    inputs = component(create(), "Pusher").inputs
    assert set(inputs) == {"model", "model_blessing", "infra_blessing"}
