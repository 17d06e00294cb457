"""What is told of a version's judgement, out of the record of the run that pushed it."""

from __future__ import annotations

import json
import pathlib

import pytest

from components.outcome import Outcome
from modules import judge, list_metrics, serving, sliced_metrics
from pipeline.exit_codes import ExitCode
from pipeline.local.run import LAST_RUN_FILE
from pipeline.serving.page import known, record

METRICS = {
    "example_count": 100.0,
    "root_mean_squared_error": 0.9,
    "mean_absolute_error": 0.7,
    "ndcg": 0.8,
    "pairwise_accuracy": 0.6,
    "list_ndcg": 0.3,
    "expected_rmse": 0.85,
    "share_inside_50": 0.51,
    "share_inside_80": 0.79,
    "share_inside_95": 0.94,
}
BASELINE = {"root_mean_squared_error": 1.1, "mse_difference": 0.4, "mse_difference_stderr": 0.02}


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """An output folder with a record as a run writes it."""
    by_model = {judge.CANDIDATE: METRICS, judge.BLESSED: BASELINE, serving.USER_TITLE_BIAS: BASELINE}
    outcome = Outcome(
        exit_code=ExitCode.PUSHED,
        split_sizes={"train": 80, "test": 20},
        evaluation={(): by_model, (serving.USER_ACTIVITY, "3-9"): by_model},
        pushed_path="/elsewhere/serving_model/17",
        fitted="of a form\nthat recommends",
    )
    config = {"data": {"root": "/data/ml-100k/"}, "trainer": {"preset": "default"}}
    (tmp_path / LAST_RUN_FILE).write_text(json.dumps({**outcome.as_record(), "config": config}), encoding="utf-8")
    return tmp_path


def test_names_are_those_of_the_modules_that_measure() -> None:
    for name in (
        "EXAMPLE_COUNT",
        "RMSE",
        "MAE",
        "NDCG",
        "PAIRWISE_ACCURACY",
        "MSE_DIFFERENCE",
        "MSE_DIFFERENCE_STDERR",
        "EXPECTED_RMSE",
        "SHARES_INSIDE",
    ):
        assert getattr(record, name) == getattr(sliced_metrics, name)
    assert record.LIST_NDCG == list_metrics.LIST_NDCG
    assert known.ACTIVITY_BOUNDARIES == serving.SLICE_BOUNDARIES


def test_a_record_is_told(output: pathlib.Path) -> None:
    told = record.read(str(output), 17)
    assert told is not None
    assert (told.data, told.preset, told.fitted) == ("ml-100k", "default", ["of a form", "that recommends"])
    assert told.split_sizes == {"train": 80, "test": 20}
    assert [each.name for each in told.models] == ["this model", "the version before", "user + title bias"]
    assert (told.models[0].rmse, told.models[0].mse_lead, told.models[0].list_ndcg) == (0.9, None, 0.3)
    assert (told.models[1].rmse, told.models[1].mse_lead, told.models[1].mae) == (1.1, (0.4, 0.02), None)
    (part,) = told.slices
    assert (part.feature, part.value, part.count, part.rmse, part.baseline) == (
        "ratings of the user",
        "3-9",
        100,
        0.9,
        1.1,
    )
    assert told.expected_rmse == 0.85
    assert told.inside == {0.5: 0.51, 0.8: 0.79, 0.95: 0.94}


def test_nothing_is_told_of_another_version(output: pathlib.Path) -> None:
    assert record.read(str(output), 18) is None


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"pushed_path": null}', '{"pushed_path": "17"}', "\ud800"])
def test_a_record_that_cannot_be_read_is_none(output: pathlib.Path, content: str) -> None:
    (output / LAST_RUN_FILE).write_bytes(content.encode(errors="surrogatepass"))
    assert record.read(str(output), 17) is None
    (output / LAST_RUN_FILE).unlink()
    assert record.read(str(output), 17) is None
