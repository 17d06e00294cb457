"""What a run came to: the reasons in words, the record in plain JSON."""

from __future__ import annotations

import json
import math
import pathlib

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import standard_artifacts

from components import evaluation_files, outcome
from components.outcome import Outcome, missed_thresholds
from components.run_results import Results
from modules.sliced_metrics import OVERALL, RMSE
from pipeline.exit_codes import ExitCode
from tests.components.test_model_pusher import artifact

NAN = float("nan")


BLESSED_LISTS = (
    "it recommends worse than the blessed model, 7 (models/7): NDCG@10 0.3400 against 0.3600 for 900 users, 0.0200 "
    "below; at most 0.0150 is allowed"
)
MOST_RATED = (
    "it recommends worse than a list of the most rated titles: NDCG@10 0.3400 against 0.3700 for 900 users, 0.0300 "
    "below, with a standard error of 0.0100; at most 1.645 of these are allowed"
)


def reasons(tmp_path, candidate: float, blessed: float | None, *, bound: float) -> list[str]:
    """Of a candidate and a blessed model with such RMSEs, where it may be 0.01 worse."""
    rmse = {"candidate": candidate} | ({} if blessed is None else {"blessed": blessed})
    evaluation = {OVERALL: {model: {RMSE: value} for model, value in rmse.items()}}
    config = evaluation_files.create_eval_config(list(rmse), rmse_bound=bound, max_regression=0.01, baseline=None)
    evaluation_files.write(str(tmp_path), evaluation, config, data="data", locations=dict.fromkeys(rmse, ""))
    validation = tfma.load_validation_result(str(tmp_path))
    return missed_thresholds(validation, evaluation_files.read(str(tmp_path)), "7 (models/7)")


@pytest.mark.parametrize(
    ("candidate", "blessed", "bound", "said"),
    [
        (0.93, None, 0.95, []),
        (0.93, None, 0.9, ["RMSE 0.9300 is 0.0300 above the bound of 0.9000"]),
        (0.93, 0.925, 0.95, []),
        (
            0.93,
            0.91,
            0.95,
            ["RMSE 0.9300 is 0.0200 above the 0.9100 of the blessed model, 7 (models/7); at most 0.0100 is allowed"],
        ),
        (NAN, None, 0.9, ["the model predicts something that is not a number"]),
        (NAN, 0.91, 0.9, ["the model predicts something that is not a number"]),
        (0.8, NAN, 0.9, ["the blessed model, 7 (models/7), predicts something that is not a number"]),
    ],
)
def test_a_reason_says_by_how_much_and_against_what(tmp_path, candidate, blessed, bound, said) -> None:
    assert reasons(tmp_path, candidate, blessed, bound=bound) == said


@pytest.mark.parametrize(
    ("ratings", "users", "said"),
    [
        (1_000, 20, []),
        (
            999,
            20,
            ["999 test ratings are too few to judge a model by; at least 1,000 are needed (evaluator.min_test_r"],
        ),
        (
            1_000,
            3,
            ["3 users with test ratings are too few to judge a model by; at least 20 are needed (evaluator.min"],
        ),
        (0, 0, ["0 test ratings are too few", "0 users with test ratings are too few"]),
    ],
)
def test_a_reason_says_how_many_test_ratings_are_missing(tmp_path, ratings: int, users: int, said: list[str]) -> None:
    evaluation = {OVERALL: {"candidate": {RMSE: 0.9, "example_count": ratings, "user_count": users}}}
    config = evaluation_files.create_eval_config(
        ["candidate"], rmse_bound=1, max_regression=0, baseline=None, min_ratings=1_000, min_users=20
    )
    evaluation_files.write(str(tmp_path), evaluation, config, data="data", locations={"candidate": ""})
    validation = tfma.load_validation_result(str(tmp_path))
    assert validation.validation_ok == (not said)
    found = missed_thresholds(validation, evaluation_files.read(str(tmp_path)), None)
    assert [line[: len(start)] for line, start in zip(sorted(found), said, strict=True)] == said


@pytest.mark.parametrize(
    ("lead", "z", "of_blessed", "said"),
    [
        (0.03, 5.0, 0.35, []),
        (-0.03, -1.6, None, []),
        (-0.03, -3.0, None, [MOST_RATED]),
        (0.03, 5.0, 0.36, [BLESSED_LISTS]),
        (-0.03, -3.0, 0.36, [MOST_RATED, BLESSED_LISTS]),
    ],
)
def test_a_reason_says_by_how_much_lists_are_worse(tmp_path, lead: float, z: float, of_blessed, said) -> None:
    """The candidate's NDCG is 0.34; it may be 0.015 below the blessed model's."""
    leads = ("list_ndcg_lead", "list_ndcg_lead_stderr", "list_ndcg_lead_z")
    lists = {"candidate": {RMSE: 0.9, "list_ndcg": 0.34, "list_users": 900}}
    if of_blessed:
        of_leads = dict(zip(leads, (0.34 - of_blessed, 0.01, -1), strict=True))
        lists["blessed"] = {RMSE: 0.9, "list_ndcg": of_blessed, **of_leads}
    models = list(lists)
    lists["popularity"] = {"list_ndcg": 0.34 - lead, **dict(zip(leads, (lead, 0.01, z), strict=True))}
    evaluation = {OVERALL: lists, ("title_popularity", "3-9"): {"candidate": {RMSE: 0.9}}}
    config = evaluation_files.create_eval_config(
        models, rmse_bound=1, max_regression=0, baseline=None, listing=list(lists), max_ndcg_regression=0.015
    )
    evaluation_files.write(str(tmp_path), evaluation, config, data="data", locations=dict.fromkeys(models, ""))
    validation = tfma.load_validation_result(str(tmp_path))
    assert validation.validation_ok == (not said)
    found = missed_thresholds(validation, evaluation_files.read(str(tmp_path)), "7 (models/7)")
    assert sorted(found, reverse=True) == sorted(said, reverse=True)


def test_both_thresholds_have_a_reason(tmp_path) -> None:
    assert [line.split(" above ")[1][:9] for line in reasons(tmp_path, 0.93, 0.91, bound=0.9)] == [
        "the bound",
        "the 0.910",
    ]


@pytest.mark.parametrize(
    ("difference", "stderr", "ratings", "said"),
    [
        (0.03, 0.01, 1234, []),
        (
            0.01,
            0.01,
            1234,
            [
                "it is not significantly better than user + title bias: RMSE 0.9000 against 0.9200; the squared error "
                "of user + title bias minus that of the model is 0.01 on average over the 1,234 test ratings, with a "
                "standard error of 0.01; 1.00 standard errors, where 1.645 are needed"
            ],
        ),
        (
            -0.0185,
            0.003,
            1234,
            [
                "it is not better than user + title bias: RMSE 0.9000 against 0.9200; the squared error of user + "
                "title bias minus that of the model is -0.0185 on average over the 1,234 test ratings, with a "
                "standard error of 0.003"
            ],
        ),
        (
            0.5,
            NAN,
            1,
            ["whether it is better than user + title bias cannot be told from 1 test rating; at least 2 are needed"],
        ),
    ],
)
@pytest.mark.parametrize("rmse", [0.9, NAN])
def test_a_reason_says_why_it_is_not_better_than_its_baseline(
    tmp_path, difference: float, stderr: float, ratings: int, said: list[str], rmse: float
) -> None:
    compared = {"mse_difference": difference, "mse_difference_stderr": stderr, "mse_difference_z": difference / stderr}
    if math.isnan(rmse):
        compared, said = dict.fromkeys(compared, NAN), ["the model predicts something that is not a number"]
    evaluation = {
        OVERALL: {
            "candidate": {RMSE: rmse, "example_count": ratings},
            "user_title_bias": {RMSE: 0.92, "example_count": ratings, **compared},
        }
    }
    models = list(evaluation[OVERALL])
    config = evaluation_files.create_eval_config(models, rmse_bound=9, max_regression=0, baseline="user_title_bias")
    evaluation_files.write(str(tmp_path), evaluation, config, data="data", locations=dict.fromkeys(models, ""))
    validation = tfma.load_validation_result(str(tmp_path))
    assert missed_thresholds(validation, evaluation_files.read(str(tmp_path)), None) == said


@pytest.mark.parametrize(
    ("model", "infra", "expected", "said"),
    [
        (1, 1, ExitCode.FAILED, "Pusher did not push although both blessings were given; see its log"),
        (
            0,
            1,
            ExitCode.NOT_BLESSED,
            "an earlier run did not bless the model; run with --from Evaluator, which says why",
        ),
        (
            0,
            0,
            ExitCode.NOT_BLESSED,
            "an earlier run did not bless the model; run with --from Evaluator, which says why",
        ),
        (
            1,
            0,
            ExitCode.NOT_SERVABLE,
            "an earlier run could not load and query the model; run with --from ServableValidator, which says why",
        ),
    ],
)
def test_a_push_that_was_not_made_has_a_reason(model: int, infra: int, expected: ExitCode, said: str) -> None:
    blessing, infra_blessing = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    blessing.set_int_custom_property("blessed", model)
    infra_blessing.set_int_custom_property("blessed", infra)
    results = Results(
        pushed_model=standard_artifacts.PushedModel(), earlier_blessing=blessing, earlier_infra_blessing=infra_blessing
    )
    found = outcome.outcome_of(results)
    assert (found.exit_code, found.reasons, found.pushed_path) == (expected, [said], None)


def test_a_run_that_pushed_tells_what_it_made(tmp_path: pathlib.Path) -> None:
    blessing = artifact(
        standard_artifacts.ModelBlessing, tmp_path / "blessing",
        blessed=1, baseline_model_id=7, baseline_model="models/7",
    )  # fmt: skip
    model_run = artifact(standard_artifacts.ModelRun, tmp_path / "logs")
    (tmp_path / "logs" / "chosen.txt").write_text("form plain")
    statistics = artifact(standard_artifacts.ExampleStatistics, tmp_path / "statistics")
    statistics.split_names = '["train", "test"]'
    for split, count in (("train", 72), ("test", 28)):
        (tmp_path / "statistics" / f"Split-{split}").mkdir()
        described = statistics_pb2.DatasetFeatureStatisticsList(datasets=[{"num_examples": count}])
        (tmp_path / "statistics" / f"Split-{split}" / "FeatureStats.pb").write_bytes(described.SerializeToString())
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed", pushed=1, pushed_destination="serving/17")
    made = Results(statistics=statistics, blessing=blessing, model_run=model_run, pushed_model=pushed)
    assert outcome.outcome_of(made) == Outcome(
        exit_code=ExitCode.PUSHED,
        split_sizes={"train": 72, "test": 28},
        blessed_model="7 (models/7)",
        pushed_path="serving/17",
        fitted="form plain",
    )


def test_a_run_that_made_nothing_was_stopped_early() -> None:
    said = ["the run ended before Pusher"]
    assert outcome.outcome_of(Results()) == Outcome(exit_code=ExitCode.STOPPED_EARLY, reasons=said)


def test_a_model_that_left_no_word_and_was_compared_with_none_has_none(tmp_path: pathlib.Path) -> None:
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing", blessed=1)
    found = outcome.outcome_of(Results(blessing=blessing, model_run=artifact(standard_artifacts.ModelRun, tmp_path)))
    assert (found.fitted, found.blessed_model) == ("", None)


@pytest.mark.parametrize(
    ("digest", "code", "said"),
    [
        ("a", ExitCode.NOT_SERVABLE, ["not finite", "worst first"]),
        ("b", ExitCode.FAILED, ["the files in models/8 were damaged or changed after Evaluator judged them, so that "
         "the model is not servable; run with --from Trainer --no-cache, which trains the model anew and judges it"]),
        (None, ExitCode.NOT_SERVABLE, ["not finite", "worst first"]),
    ],
)  # fmt: skip
def test_a_model_that_is_not_servable_has_the_reasons(
    tmp_path: pathlib.Path, digest: str | None, code: ExitCode, said: list[str]
) -> None:
    servable = artifact(standard_artifacts.InfraBlessing, tmp_path / "servable", blessed=0, model_digest="a")
    (tmp_path / "servable" / "INFRA_NOT_BLESSED").write_text("not finite\nworst first")
    blessing = None
    if digest:
        kind, properties = standard_artifacts.ModelBlessing, {"model_digest": digest, "current_model": "models/8"}
        blessing = artifact(kind, tmp_path / "blessing", blessed=1, **properties)
    found = outcome.outcome_of(Results(blessing=blessing, infra_blessing=servable))
    assert (found.exit_code, found.reasons) == (code, said)


def test_the_record_is_plain_json() -> None:
    cold = {"candidate": {RMSE: 1.0, "ndcg": NAN}, "global_mean": {RMSE: float("inf"), "ndcg": NAN}}
    measured = Outcome(
        exit_code=ExitCode.NOT_BLESSED,
        reasons=["too far off"],
        evaluation={OVERALL: {"candidate": {RMSE: 0.9}}, ("user_activity", "new"): cold},
        fitted="form plain",
        notes=["something to know"],
    )
    written = json.loads(json.dumps(measured.as_record(), allow_nan=False))
    assert written == {
        "exit_code": 4,
        "reasons": ["too far off"],
        "split_sizes": {},
        "metrics": {RMSE: 0.9},
        "other_models": {},
        "slices": [
            {
                "feature": "user_activity",
                "value": "new",
                RMSE: 1.0,
                "ndcg": None,
                "other_models": {"global_mean": {RMSE: None, "ndcg": None}},
            }
        ],
        "blessed_model": None,
        "pushed_path": None,
        "lists_path": None,
        "fitted": "form plain",
        "notes": ["something to know"],
    }


def test_a_run_that_measured_nothing_has_an_empty_record() -> None:
    record = Outcome(exit_code=ExitCode.FAILED).as_record()
    assert (record["metrics"], record["slices"]) == ({}, [])
