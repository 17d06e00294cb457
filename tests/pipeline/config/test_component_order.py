"""The order that help shows against the graph."""

from __future__ import annotations

import pytest

from pipeline.config.component_order import COMPONENTS, in_order
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.pipeline import create_pipeline


@pytest.mark.parametrize("blessed_model", ["other", "latest", "none"])
def test_the_order_is_one_in_which_the_graph_can_run(tmp_path, blessed_model: str) -> None:
    values = {"output": str(tmp_path), "data": {"root": "/nowhere"}, "evaluator": {"blessed_model": blessed_model}}
    nodes = {node.id: node for node in create_pipeline(PipelineConfig(**values)).components}
    expected = [name for name in COMPONENTS if name != "BlessedModel" or blessed_model != "none"]
    assert in_order(nodes) == expected
    for place, name in enumerate(expected):
        assert {node.id for node in nodes[name].upstream_nodes} <= set(expected[:place]), name


def test_what_is_not_named_comes_before_the_report() -> None:
    order = ["Trainer", "Pusher", "EndpointPusher", "ReportGen"]
    assert in_order(["ReportGen", "EndpointPusher", "Pusher", "Trainer"]) == order
