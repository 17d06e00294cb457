from __future__ import annotations

import io
import pathlib

import pytest
from rich.console import Console
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components import anomaly_gate
from components.errors import AnomaliesError
from components.outcome import Outcome
from data import synthetic
from modules.sliced_metrics import (
    EXAMPLE_COUNT,
    EXPECTED_RMSE,
    MAE,
    MSE_DIFFERENCE,
    MSE_DIFFERENCE_STDERR,
    MSE_DIFFERENCE_Z,
    NDCG,
    OVERALL,
    PAIRWISE_ACCURACY,
    RMSE,
    SHARES_INSIDE,
    USER_COUNT,
    Evaluation,
    SliceKey,
)
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import MEANINGS, ExitCode
from pipeline.local import report


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
    fitted = Outcome(exit_code=ExitCode.PUSHED, pushed_path="x", fitted="form plain, weight 0.50 beside [b]")
    assert "model form plain, weight 0.50 beside [b]" in " ".join(shown(tmp_path, fitted).split())


def test_what_fails_after_the_push_takes_nothing_back(tmp_path: pathlib.Path) -> None:
    outcome = Outcome(exit_code=ExitCode.FAILED, reasons=["ReportGen failed"], pushed_path="out/serving_model/7")
    text = shown(tmp_path, outcome)
    assert f"pushed to out/serving_model/7\nfailed after that: {MEANINGS[ExitCode.FAILED]}\n" in text
    assert "  ReportGen failed\n" in text
    assert "not pushed" not in text


def test_notes_are_whole_however_long_they_are(tmp_path: pathlib.Path) -> None:
    path = "/".join(["a-folder-whose-path-is-long"] * 9)
    text = shown(tmp_path, Outcome(exit_code=ExitCode.PUSHED, pushed_path="x", notes=[f"{path} [b] is gone", "two"]))
    assert f"note{path}[b]isgone" in "".join(text.split())
    assert [line.split() for line in text.splitlines() if line.startswith("note ")][-1] == ["note", "two"]


@pytest.mark.parametrize("name", ["[v2]data", "a[/b]c", "[bold]x[/bold]", ":smile:"])
def test_a_folder_is_named_as_it_is(tmp_path: pathlib.Path, name: str) -> None:
    (line,) = (
        line
        for line in shown(tmp_path / name, Outcome(exit_code=ExitCode.FAILED)).splitlines()
        if line.startswith("data ")
    )
    assert line.split() == ["data", str(tmp_path / name)]


def test_a_folder_made_by_hand_has_no_record_of_its_rows(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ratings.json").write_text('{"rating_scale": [1, 5]}')
    text = shown(tmp_path, Outcome(exit_code=ExitCode.FAILED, split_sizes={"train": 5, "test": 2}))
    assert "7 in: train 5, test 2; no record of rejected rows" in text
    assert "no record of the columns" in text


def metrics(rmse: float, ratings: int = 50) -> dict[str, float]:
    return {
        EXAMPLE_COUNT: ratings,
        USER_COUNT: 25,
        RMSE: rmse,
        MAE: rmse - 0.2,
        NDCG: rmse - 0.1,
        PAIRWISE_ACCURACY: float("nan"),
    }


def compared(difference: float, stderr: float = 0.01) -> dict[str, float]:
    return {MSE_DIFFERENCE: difference, MSE_DIFFERENCE_STDERR: stderr, MSE_DIFFERENCE_Z: difference / stderr}


MODELS = {"global_mean": 1.4, "title_mean": 1.3, "user_title_bias": 1.2, "blessed": 1.1, "candidate": 1.0}
EVALUATION = {
    OVERALL: {
        model: metrics(rmse) | ({} if model == "candidate" else compared(rmse**2 - 1)) for model, rmse in MODELS.items()
    },
    ("user_activity", "200+"): {model: metrics(rmse + 0.5, 1200) for model, rmse in MODELS.items()},
    ("user_activity", "new"): {model: metrics(rmse + 0.3) for model, rmse in MODELS.items()},
    ("title_popularity", "3-9"): {model: metrics(rmse + 0.4) for model, rmse in MODELS.items()},
}


def test_the_tables(tmp_path: pathlib.Path) -> None:
    text = shown(tmp_path, Outcome(exit_code=ExitCode.PUSHED, evaluation=EVALUATION, pushed_path="x"), "Evaluator")
    assert cells(text) == [
        ["on the test", "", "", "", "pairwise", "MSE above this"],
        ["ratings", "RMSE", "MAE", "NDCG@10", "accuracy", "model's"],
        ["this model", "1.0000", "0.8000", "0.9000", "", ""],
        ["blessed model", "1.1000", "0.9000", "1.0000", "", "0.2100 ± 0.0100"],
        ["user + title bias", "1.2000", "1.0000", "1.1000", "", "0.4400 ± 0.0100"],
        ["title mean", "1.3000", "1.1000", "1.2000", "", "0.6900 ± 0.0100"],
        ["global mean", "1.4000", "1.2000", "1.3000", "", "0.9600 ± 0.0100"],
        ["slice", "test", "", "of user +", "", ""],
        ["(ratings when fitted)", "ratings", "RMSE", "title bias", "MAE", "NDCG@10"],
        ["title popularity 3-9", "50", "1.4000", "1.6000", "1.2000", "1.3000"],
        ["user activity new", "50", "1.3000", "1.5000", "1.1000", "1.2000"],
        ["user activity 200+", "1,200", "1.5000", "1.7000", "1.3000", "1.4000"],
    ]
    assert "RMSE 1.0000, at most 1.5000 is allowed" in text


def told(shares: dict[SliceKey, tuple[float, float, float]], expected: float = 0.95) -> Evaluation:
    """The evaluation of a candidate that tells how sure it is."""
    calibration = {
        key: {EXPECTED_RMSE: expected, **dict(zip(SHARES_INSIDE.values(), each, strict=True))}
        for key, each in shares.items()
    }
    return {
        key: {**by_model, "candidate": {**by_model["candidate"], **calibration[key]}}
        for key, by_model in EVALUATION.items()
    }


NAN = float("nan")
TOLD = told(
    {
        OVERALL: (0.50949, 0.79, 0.9996),
        ("user_activity", "200+"): (0.4, 1.0, NAN),
        ("user_activity", "new"): (0.0, 0.0, 0.0),
        ("title_popularity", "3-9"): (0.0, 0.0, 0.0),
    }
)


def test_how_sure_it_is_where_enough_ratings_tell(tmp_path: pathlib.Path) -> None:
    outcome = Outcome(exit_code=ExitCode.PUSHED, evaluation=TOLD, pushed_path="x")
    found = cells(shown(tmp_path, outcome))
    without = cells(shown(tmp_path, Outcome(exit_code=ExitCode.PUSHED, evaluation=EVALUATION, pushed_path="x")))
    assert found[: len(without)] == without
    assert found[len(without) :] == [
        ["test ratings inside", "of", "of", "of", "", "RMSE"],
        ["their intervals", "50 %", "80 %", "95 %", "RMSE", "promised"],
        ["all", "50.9 %", "79.0 %", "100.0 %", "1.0000", "0.9500"],
        ["user activity 200+", "40.0 %", "100.0 %", "", "1.5000", "0.9500"],
    ]


@pytest.mark.parametrize("evaluation", [EVALUATION, TOLD])
def test_the_tables_fit_on_a_narrow_terminal(tmp_path: pathlib.Path, evaluation: Evaluation) -> None:
    outcome = Outcome(exit_code=ExitCode.PUSHED, evaluation=evaluation, pushed_path="x")
    assert cells(shown(tmp_path, outcome, width=80)) == cells(shown(tmp_path, outcome))


@pytest.mark.parametrize(
    ("rmse", "difference", "stderr", "said"),
    [
        (0.31234, -0.01234, 0.00123, ["0.3123", "-0.0123 ± 0.0012"]),
        (9.99994, 9.99994, 0.5, ["9.9999", "9.9999 ± 0.5000"]),
        (17.12345, 20.12345, 1.12345, ["17.123", "20.123 ± 1.123"]),
        (112.3456, 2345.67, 123.4, ["112.35", "2,345.7 ± 123.4"]),
        (3744.12, 14_017_536.0, 1_234_567.0, ["3,744.1", "1.40e7 ± 1.2e6"]),
        (3744.12, -1.0, 1_234_567.0, ["3,744.1", "-1.00e0 ± 1.2e6"]),
        (28_180.4, 1.24396e10, 1.0e9, ["28,180", "1.24e10 ± 1.0e9"]),
    ],
)
def test_numbers_of_any_scale_have_few_digits_and_fit(
    tmp_path: pathlib.Path, rmse: float, difference: float, stderr: float, said: list[str]
) -> None:
    large = dict.fromkeys((RMSE, MAE, EXPECTED_RMSE), rmse)
    evaluation = {
        key: {
            model: {**values, **large} | ({} if model == "candidate" else compared(difference, stderr))
            for model, values in by_model.items()
        }
        for key, by_model in TOLD.items()
    }
    outcome = Outcome(exit_code=ExitCode.PUSHED, evaluation=evaluation, pushed_path="x")
    found = cells(shown(tmp_path, outcome, width=80))
    # Nothing is wrapped or cut.
    assert found == cells(shown(tmp_path, outcome))
    (row,) = (row for row in found if row[0] == "blessed model")
    assert row == ["blessed model", said[0], said[0], "1.0000", "", said[1]]


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


ON_TEN_STARS = {"rating_low": 0.5, "rating_high": 10.0}


def advice(
    measured: dict[str, float],
    *,
    bound: float | None,
    regression: float = 0.0,
    baseline: str | None = "none",
    stderr: float = 0.01,
    evaluator: dict[str, int] | None = None,
    **scale: float,
) -> list[str]:
    """What stands below the reason why a model was not blessed."""
    stream = io.StringIO()
    config = PipelineConfig(
        data={"root": "/nowhere", **scale},
        trainer={"preset": "notebook"},
        evaluator={"rmse_bound": bound, "max_regression": regression, "baseline": baseline, **(evaluator or {})},
    )
    differences = {model: compared(rmse**2 - measured["candidate"] ** 2, stderr) for model, rmse in measured.items()}
    evaluation = {OVERALL: {model: metrics(rmse, 1_234) | differences[model] for model, rmse in measured.items()}}
    outcome = Outcome(exit_code=ExitCode.NOT_BLESSED, reasons=["the reason"], evaluation=evaluation)
    report.show(Console(file=stream, width=80), config, outcome, {}, 1.5)
    return [line.strip() for line in stream.getvalue().partition("the reason\n")[2].splitlines()]


def test_a_good_model_above_the_bound() -> None:
    assert advice(MODELS, bound=0.5, regression=9.0) == [
        "a rating is typically 1.0000 off, on a scale from 1 to 5; the bound was set by you; without, it would be that "
        "of preset notebook, 1.2000 for ratings from 1 to 5",
        "RMSE of baselines on the same 1,234 ratings: user + title bias 1.2000 (the model is 0.2000 better), title "
        "mean 1.3000 (the model is 0.3000 better), global mean 1.4000 (the model is 0.4000 better)",
        "--rmse-bound 1 would bless it",
    ]


def test_a_model_worse_than_baselines_on_another_scale() -> None:
    """The bound is 1.2 · 9.5 / 4, by hand."""
    assert advice({**MODELS, "candidate": 2.99991}, bound=None, regression=9.0, **ON_TEN_STARS) == [
        "a rating is typically 2.9999 off, on a scale from 0.5 to 10; the bound is that of preset notebook, 1.2000 for "
        "ratings from 1 to 5, 2.8500 for ratings from 0.5 to 10",
        "RMSE of baselines on the same 1,234 ratings: user + title bias 1.2000 (the model is 1.7999 worse), title mean "
        "1.3000 (the model is 1.6999 worse), global mean 1.4000 (the model is 1.5999 worse)",
        "a looser bound is no remedy: user + title bias, title mean, global mean, mere averages, predict at least as "
        "well; first try another preset or more training, or look at the ratings",
        "--rmse-bound 3 would bless it, as bad as it is",
    ]


def test_only_baselines_that_are_as_good_are_named() -> None:
    *_, looser, _ = advice({**MODELS, "candidate": 1.3}, bound=0.5, regression=9.0)
    assert looser.startswith("a looser bound is no remedy: user + title bias, title mean, mere averages, predict")


@pytest.mark.parametrize(
    ("rmse", "bound", "regression", "needed"),
    [
        (1.15, 1.5, 0.0, "--set evaluator.max_regression=0.05 would bless it"),
        (1.150043, 1.0, 0.0, "--rmse-bound 1.151 --set evaluator.max_regression=0.05005 would bless it"),
        (1.15, 1.0, 0.06, "--rmse-bound 1.15 would bless it"),
    ],
)
def test_what_would_bless_it_beside_a_blessed_model(rmse: float, bound: float, regression: float, needed: str) -> None:
    assert advice({**MODELS, "candidate": rmse}, bound=bound, regression=regression)[-1] == needed


def test_what_would_bless_a_model_that_was_judged_by_few_ratings() -> None:
    few = {"min_test_ratings": 1_235, "min_test_users": 26}
    needed = "--set evaluator.min_test_ratings=1234 --set evaluator.min_test_users=25 would bless it"
    assert advice(MODELS, bound=9.0, regression=9.0, evaluator=few)[-1] == needed
    enough = {"min_test_ratings": 1_234, "min_test_users": 25}
    assert "would bless it" not in advice(MODELS, bound=9.0, regression=9.0, evaluator=enough)[-1]


LOST_BY_CHANCE = "another preset or more ratings may make it better; more test ratings may show that it is better"


@pytest.mark.parametrize(
    ("candidate", "stderr", "baseline", "said"),
    [
        (1.3, 0.01, "title_mean", ["a looser bound", "--set evaluator.baseline=none would bless it, as bad as it is"]),
        (1.1, 0.5, "user_title_bias", [LOST_BY_CHANCE, "--set evaluator.baseline=none would bless it"]),
        (1.1, 0.4, None, ["RMSE of baselines"]),
        (1.1, 0.6, None, [LOST_BY_CHANCE, "--set evaluator.baseline=none would bless it"]),
    ],
)
def test_what_would_bless_a_model_that_does_not_beat_its_baseline(
    candidate: float, stderr: float, baseline: str | None, said: list[str]
) -> None:
    """Left out, the baseline is the global mean: z is (1.96 - 1.21) / 0.4 = 1.875, and 1.25 with 0.6."""
    lines = advice({**MODELS, "candidate": candidate}, bound=9, regression=9, baseline=baseline, stderr=stderr)
    assert [line[: len(start)] for line, start in zip(lines[-len(said) :], said, strict=True)] == said


@pytest.mark.parametrize("rmse", [0.00123456, 0.1, 0.8643, 1.2, 9.9999, 12.3449, 87.2, 123456.7])
def test_the_bound_that_it_names_blesses(rmse: float) -> None:
    models = {name: 2 * rmse for name in MODELS if name != "blessed"}
    option, value, *_ = advice({**models, "candidate": rmse}, bound=rmse / 2)[-1].split()
    assert option == "--rmse-bound"
    assert rmse <= float(value) <= rmse * 1.0011


def test_no_bound_blesses_a_model_without_an_rmse() -> None:
    assert advice({**MODELS, "candidate": float("nan")}, bound=0.5) == []


@pytest.mark.parametrize("code", [ExitCode.PUSHED, ExitCode.NOT_SERVABLE, ExitCode.FAILED])
def test_after_another_verdict_nothing_is_said_of_bounds(tmp_path: pathlib.Path, code: ExitCode) -> None:
    assert "would bless it" not in shown(tmp_path, Outcome(exit_code=code, evaluation=EVALUATION))
