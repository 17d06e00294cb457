"""Parameters of a submission, and the folder of the side tables, over Trainer's settings."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from tfx.components.trainer import executor
from tfx.proto import trainer_pb2
from tfx.types import Channel, standard_artifacts
from tfx.utils import json_utils

from components import ratings_trainer

SETTINGS = {"preset": "notebook", "seed": 42, "model": {"batch_size": 256}, "has_eval": True}


def test_without_parameters_the_settings_stay() -> None:
    assert ratings_trainer.with_overrides(SETTINGS, {"preset": None, "run_fn": "x", "training_budget": 0}) == SETTINGS


def test_parameters_overrule_the_settings() -> None:
    merged = ratings_trainer.with_overrides(SETTINGS, {"seed": 0, "training_budget": 5, "preset": "notebook"})
    assert merged == {**SETTINGS, "seed": 0, "model": {"batch_size": 256, "epochs": 5}}
    assert SETTINGS["model"] == {"batch_size": 256}


def test_the_training_function_is_told_where_the_tables_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[dict[str, Any]] = []
    monkeypatch.setattr(
        executor.GenericExecutor, "Do", lambda self, inputs, outputs, properties: handed.append(properties)
    )
    tables = standard_artifacts.Examples()
    tables.uri = str(pathlib.Path("/somewhere/tables/7"))
    ratings_trainer.Executor().Do({"tables": [tables]}, {}, {"custom_config": json_utils.dumps(SETTINGS), "seed": 1})
    assert json_utils.loads(handed[0]["custom_config"]) == {**SETTINGS, "seed": 1, "tables": "/somewhere/tables/7"}


def test_the_tables_are_an_input_that_the_cache_knows() -> None:
    examples, tables = (Channel(type=standard_artifacts.Examples) for _ in range(2))
    component = ratings_trainer.RatingsTrainer(
        run_fn="modules.trainer.run_fn",
        examples=examples,
        tables=tables,
        transform_graph=Channel(type=standard_artifacts.TransformGraph),
        schema=Channel(type=standard_artifacts.Schema),
        train_args=trainer_pb2.TrainArgs(),
        eval_args=trainer_pb2.EvalArgs(),
        custom_config=SETTINGS,
    )
    assert component.inputs["examples"] is examples
    assert component.inputs["tables"] is tables
