from __future__ import annotations

import io
import pathlib

import pytest
from rich.console import Console
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components import anomaly_gate
from components.errors import AnomaliesError
from data import synthetic
from modules.sliced_metrics import EXAMPLE_COUNT, MAE, NDCG, OVERALL, PAIRWISE_ACCURACY, RMSE
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.local import report
from pipeline.local.outcome import Outcome


def shown(root: object, outcome: Outcome, *components: str, width: int = 200) -> str:
    stream = io.StringIO()
    config = PipelineConfig(data={"root": str(root)}, trainer={"preset": "notebook"}, evaluator={"rmse_bound": 1.5})
    ended = dict.fromkeys(components, ("done", 1.0))
    report.show(Console(file=stream, width=width), config, outcome, ended, 1.5)
    return stream.getvalue()


def cells(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [[cell.strip() for cell in line.strip("│┃").split(line[0])] for line in text.splitlines() if line[0] in "│┃"]


@pytest.mark.parametrize(
    ("side_features", "said"),
    [
        (False, "none: the model knows users and titles by their ratings alone"),
        (True, "genres, release_year, user_age, user_gender, user_occupation, user_zip_code"),
    ],
)
def test_it_says_what_the_models_do_without(tmp_path: pathlib.Path, side_features: bool, said: str) -> None:
    synthetic.write(tmp_path, rows=100, users=20, titles=30, seed=0, side_features=side_features)
    text = shown(tmp_path, Outcome(exit_code=ExitCode.FAILED))
    assert said in text
    assert f"not pushed: {MEANINGS[ExitCode.FAILED]}" in text


def test_what_comes_from_users_and_data_is_no_markup(tmp_path: pathlib.Path) -> None:
    reasons = ["a reason [sic], a[/b]c"]
    text = shown(tmp_path, Outcome(exit_code=ExitCode.FAILED, reasons=reasons))
    assert "  a reason [sic], a[/b]c\n" in text
    pushed = Outcome(exit_code=ExitCode.PUSHED, pushed_path="out[local]/a[/b]c/7", blessed_model="3 (a[/b]c)")
    assert "pushed to out[local]/a[/b]c/7\n" in shown(tmp_path, pushed)
    measured = Outcome(exit_code=ExitCode.PUSHED, evaluation=EVALUATION, blessed_model="3 (a[/b]c)")
    assert "3 (a[/b]c)" in shown(tmp_path, measured)


def metrics(rmse: float, ratings: int = 50) -> dict[str, float]:
    return {EXAMPLE_COUNT: ratings, RMSE: rmse, MAE: rmse - 0.2, NDCG: rmse - 0.1, PAIRWISE_ACCURACY: float("nan")}


MODELS = {"global_mean": 1.4, "title_mean": 1.3, "user_title_bias": 1.2, "blessed": 1.1, "candidate": 1.0}
EVALUATION = {
    OVERALL: {model: metrics(rmse) for model, rmse in MODELS.items()},
    ("user_activity", "200+"): {model: metrics(rmse + 0.5, 1200) for model, rmse in MODELS.items()},
    ("user_activity", "0 (cold)"): {model: metrics(rmse + 0.3) for model, rmse in MODELS.items()},
    ("title_popularity", "3-9"): {model: metrics(rmse + 0.4) for model, rmse in MODELS.items()},
}


def test_the_tables(tmp_path: pathlib.Path) -> None:
    text = shown(tmp_path, Outcome(exit_code=ExitCode.PUSHED, evaluation=EVALUATION, pushed_path="x"), "Evaluator")
    assert cells(text) == [
        ["on the test ratings", "RMSE", "MAE", "NDCG@10", "pairwise accuracy"],
        ["this model", "1.0000", "0.8000", "0.9000", ""],
        ["blessed model", "1.1000", "0.9000", "1.0000", ""],
        ["user + title bias", "1.2000", "1.0000", "1.1000", ""],
        ["title mean", "1.3000", "1.1000", "1.2000", ""],
        ["global mean", "1.4000", "1.2000", "1.3000", ""],
        ["slice", "test", "", "of user +", "", ""],
        ["(ratings when fitted)", "ratings", "RMSE", "title bias", "MAE", "NDCG@10"],
        ["title popularity 3-9", "50", "1.4000", "1.6000", "1.2000", "1.3000"],
        ["user activity 0 (cold)", "50", "1.3000", "1.5000", "1.1000", "1.2000"],
        ["user activity 200+", "1,200", "1.5000", "1.7000", "1.3000", "1.4000"],
    ]
    assert "RMSE 1.0000, at most 1.5000 is allowed" in text


def test_the_tables_fit_on_a_narrow_terminal(tmp_path: pathlib.Path) -> None:
    outcome = Outcome(exit_code=ExitCode.PUSHED, evaluation=EVALUATION, pushed_path="x")
    assert cells(shown(tmp_path, outcome, width=80)) == cells(shown(tmp_path, outcome))


@pytest.mark.parametrize(("names", "said"), [([], "none"), (["mood", "user_age"], "2")])
def test_anomalies_are_counted(tmp_path: pathlib.Path, names: list[str], said: str) -> None:
    found = {name: anomalies_pb2.AnomalyInfo(short_description="odd", description="odd") for name in names}
    outcome = Outcome(exit_code=ExitCode.STOPPED_EARLY, reasons=["the run ended before Pusher"])
    try:
        anomaly_gate.check({"train": anomalies_pb2.Anomalies(anomaly_info=found)})
    except AnomaliesError as error:
        outcome = Outcome(exit_code=ExitCode.ANOMALIES, reasons=str(error).splitlines())
    (line,) = (line for line in shown(tmp_path, outcome, "AnomalyGate").splitlines() if line.startswith("anomalies"))
    assert line.split() == ["anomalies", said]
