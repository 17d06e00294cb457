"""Lists are written of what both verdicts name, and of nothing else."""

from __future__ import annotations

import pathlib

import pyarrow.parquet as pq
import pytest
from tfx import types
from tfx.types import standard_artifacts

from components import bulk_recommender
from components.errors import IntegrityError
from tests.components.test_model_pusher import artifact, verdicts
from tests.support import export_recommending


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = pathlib.Path(export_recommending(tmp_path_factory.mktemp("bulk")))
    return path.rename(path.with_name("Format-Serving"))


def lists_of(tmp_path: pathlib.Path, model: pathlib.Path, **changes: dict):
    lists = artifact(standard_artifacts.InferenceResult, tmp_path / "lists")
    inputs = verdicts(tmp_path, model, **changes)
    bulk_recommender.Executor().Do(inputs, {"lists": [lists]}, {"top": 2, "form": "parquet"})
    return lists


def test_a_blessed_model_leaves_lists(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    lists = lists_of(tmp_path, model)
    (file,) = (tmp_path / "lists").iterdir()
    assert lists.get_string_custom_property("file") == str(file)
    table = pq.read_table(file)
    assert len(set(table["user_id"].to_pylist())) == 30
    assert set(table["rank"].to_pylist()) == {1, 2}


@pytest.mark.parametrize("judge", ["model_blessing", "infra_blessing"])
def test_a_model_that_was_not_blessed_leaves_none(tmp_path: pathlib.Path, model: pathlib.Path, judge: str) -> None:
    lists = lists_of(tmp_path, model, **{judge: {"blessed": 0}})
    assert lists.get_string_custom_property("file") == ""
    assert lists.has_custom_property("file"), "what is not said reads as empty, too"
    assert not list((tmp_path / "lists").iterdir())


def test_what_was_not_judged_leaves_none(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    with pytest.raises(IntegrityError):
        lists_of(tmp_path, model, **{name: {"model_digest": "0" * 64} for name in ("model_blessing", "infra_blessing")})
    assert not list((tmp_path / "lists").iterdir())


def test_the_component_carries_what_the_cache_compares() -> None:
    channels = {key: types.Channel(type=each.type) for key, each in bulk_recommender.BulkRecommenderSpec.INPUTS.items()}
    component = bulk_recommender.BulkRecommender(**channels, top=7, form="csv", code_fingerprint="abc")
    assert component.exec_properties == {"top": 7, "form": "csv", "code_fingerprint": "abc"}
    assert component.inputs == channels
    assert component.outputs["lists"].type is standard_artifacts.InferenceResult
