"""What a submission overrides is checked against what was compiled."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import pydantic
import pytest

pytest.importorskip("kfp", reason="the extra `kfp` is not installed")

from modules import presets
from pipeline.cluster import compiler
from pipeline.cluster.compiled_job import CompiledJob
from tests.pipeline.cluster.cluster_jobs import compiled

SCHEMAS = ("2.0.0", "2.1.0")
DEFAULT = {"preset": "default", "rmse_bound": 1.0}


@pytest.fixture(scope="module", params=SCHEMAS)
def schema(request: pytest.FixtureRequest) -> str:
    return request.param


def job(folder: pathlib.Path, schema: str, *assignments: str) -> CompiledJob:
    path = folder / "job.json"
    compiler.write(compiled(assignments=assignments, schema=schema), str(path))
    return CompiledJob.read(str(path))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, schema: str) -> CompiledJob:
    return job(tmp_path_factory.mktemp("job"), schema)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"seed": 0, "rmse_bound": 0.5, "training_budget": 1},
        {**DEFAULT, "training_budget": 81},
        {**DEFAULT, "training_budget": 0},
        {"preset": "fast", "rmse_bound": 1.0, "training_budget": 1},
        {"preset": "notebook"},
    ],
)
def test_what_can_run_is_taken(plain: CompiledJob, values: dict) -> None:
    plain.check(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speed": 1}, "has no parameter speed"),
        ({"seed": -1}, "seed must not be below 0; got -1"),
        ({"rmse_bound": 0.0}, "rmse_bound must be above 0 stars; got 0.0"),
        ({"preset": "best", "rmse_bound": 1.0}, "preset must be one of"),
        ({"preset": "default"}, "give --parameter rmse_bound=STARS too"),
        # Sweeps that do not count are 60 of the default preset's.
        ({**DEFAULT, "training_budget": 60}, "burn_in must be below iterations; got 80 of 60"),
        ({**DEFAULT, "training_budget": 1}, "training_budget=1 does not go with preset default"),
    ],
)
def test_what_would_fail_in_trainer_is_refused(plain: CompiledJob, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plain.check(values)


def test_the_compiled_model_counts(tmp_path: pathlib.Path, schema: str) -> None:
    made = job(tmp_path, schema, "trainer.preset=default", "trainer.model.burn_in=5")
    made.check({"training_budget": 6})
    with pytest.raises(ValueError, match="burn_in must be below iterations; got 5 of 5"):
        made.check({"training_budget": 5})
    with pytest.raises(ValueError, match=r"compiled with values of trainer\.model for preset default"):
        made.check({"preset": "notebook", "rmse_bound": 1.0})


def test_a_preset_that_cannot_take_the_compiled_strategy_is_refused(tmp_path: pathlib.Path, schema: str) -> None:
    made = job(tmp_path, schema, "trainer.strategy=mirrored")
    made.check({"preset": "fast", "rmse_bound": 1.0})
    with pytest.raises(ValueError, match="strategy mirrored needs a preset that trains on several devices"):
        made.check(DEFAULT)


def test_a_preset_without_a_length_takes_no_budget(plain: CompiledJob, monkeypatch: pytest.MonkeyPatch) -> None:
    class Config(pydantic.BaseModel):
        rounds: int = 3

    monkeypatch.setitem(presets.PRESETS, "fast", dataclasses.replace(presets.PRESETS["fast"], config=Config))
    plain.check({"preset": "fast", "rmse_bound": 1.0})
    with pytest.raises(ValueError, match=r"expected a preset with one of the fields epochs, iterations.*'fast'"):
        plain.check({"preset": "fast", "rmse_bound": 1.0, "training_budget": 3})


def test_what_trainer_was_compiled_with(plain: CompiledJob) -> None:
    settings = plain.trainer_settings
    assert (settings["preset"], settings["model"], settings["strategy"]) == ("notebook", {}, "none")
