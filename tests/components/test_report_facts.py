"""What a report says of a run, from artifacts that are written here."""

from __future__ import annotations

import pathlib

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from components import curated_schema, evaluation_files, report_facts
from components.outcome import Outcome
from components.run_results import Results
from modules import training_log, typical_lists
from modules.sliced_metrics import OVERALL, RMSE, Evaluation
from modules.typical_lists import TypicalList
from pipeline.exit_codes import ExitCode
from pipeline.report.facts import Calibration, Curve, Listing, Measure, Ranks, Rating, Run, Slice, Typical
from tests import support
from tests.components.test_model_pusher import artifact

NAN = float("nan")
UNCHANGED = "; what was in use before stays in use."


def facts_of(outcome: Outcome, **made: types.Artifact) -> Run:
    return report_facts.facts_of(Results(**made), outcome, began="now", preset="fast", lineage={})


def of_evaluation(evaluation: Evaluation) -> Run:
    return facts_of(Outcome(exit_code=ExitCode.NOT_BLESSED, evaluation=evaluation))


def errors(mine: float, averages: float) -> Evaluation:
    return {OVERALL: {"candidate": {RMSE: mine}, "user_title_bias": {RMSE: averages}}}


def with_splits(artifact: types.Artifact, *names: str) -> types.Artifact:
    artifact.split_names = artifact_utils.encode_split_names(list(names))
    for name in names:
        pathlib.Path(artifact.uri, f"Split-{name}").mkdir()
    return artifact


@pytest.mark.parametrize(
    ("code", "evaluation", "pushed", "said"),
    [
        (ExitCode.PUSHED, errors(0.9, 1.0), "17", "The new model is in use: a prediction is typically 0.90 stars off, "
         "10% less than averages of users and titles."),
        (ExitCode.PUSHED, errors(1.5, 1.0), "17", "The new model is in use: a prediction is typically 1.50 stars off, "
         "50% more than averages of users and titles."),
        (ExitCode.PUSHED, {}, "17", "The new model is in use: its judgement is that of an earlier run."),
        (ExitCode.NOT_BLESSED, errors(NAN, 1.0), None, "The new model is not good enough to be used; it predicts "
         f"something that is not a number{UNCHANGED}"),
        (ExitCode.NOT_BLESSED, {}, None, f"The new model is not good enough to be used{UNCHANGED}"),
        (ExitCode.NOT_SERVABLE, {}, None, f"The new model could not be loaded and asked, so it is not used{UNCHANGED}"),
        (ExitCode.ANOMALIES, {}, None, "The ratings are not what they should be, so no model was fitted" + UNCHANGED),
        (ExitCode.BAD_INPUT, {}, None, f"The ratings could not be read, so no model was fitted{UNCHANGED}"),
        (ExitCode.STOPPED_EARLY, {}, None, "The run was stopped before a model could be put into use" + UNCHANGED),
        (ExitCode.FAILED, errors(0.9, 0.0), "17", "The new model is in use: a prediction is typically 0.90 stars off, "
         "0% more than averages of users and titles; what the run does after that failed."),
        (ExitCode.FAILED, {}, None, f"The run did not come to its end: a component failed{UNCHANGED}"),
    ],
)  # fmt: skip
def test_a_verdict_is_a_sentence(code: ExitCode, evaluation: Evaluation, pushed: str | None, said: str) -> None:
    made = facts_of(Outcome(exit_code=code, evaluation=evaluation, pushed_path=pushed))
    assert (made.verdict, made.succeeded, made.pushed) == (said, pushed is not None, pushed or "")


@pytest.mark.parametrize(
    ("code", "said"),
    [(ExitCode.BAD_INPUT, "expected a rating; got something else at line 3"),
     (ExitCode.FAILED, "expected a rating; got 'Ann' at line 3")],
)  # fmt: skip
def test_what_bad_input_holds_is_not_repeated(code: ExitCode, said: str) -> None:
    outcome = Outcome(exit_code=code, reasons=["expected a rating; got 'Ann' at line 3"], fitted="form plain\n\nlists")
    made = facts_of(outcome)
    assert (made.reasons, made.fitted, made.bound, made.anomalies) == ((said,), ("form plain", "lists"), None, None)
    assert (made.curves, made.models, made.slices, made.listings, made.typical) == ((), (), (), (), ())


def test_errors_of_models_have_intervals_where_they_are_known() -> None:
    measured = {
        "global_mean": {RMSE: 1.1, "mse_difference": 0.3, "mse_difference_stderr": 0.1},
        "candidate": {RMSE: 0.9, f"{RMSE}_low": 0.8, f"{RMSE}_high": 1.0, "mean_absolute_error": NAN, "ndcg": 0.7,
                      "pairwise_accuracy": 0.6},
        "popularity": {"list_ndcg": 0.1, "list_users": 3},
    }  # fmt: skip
    nothing = Measure(value=None)
    assert of_evaluation({OVERALL: measured | {"user_title_bias": {RMSE: 1.0}}}).models == (
        Rating(
            name="this model", rmse=Measure(value=0.9, low=0.8, high=1.0), mae=nothing, ndcg=Measure(value=0.7),
            pairwise=Measure(value=0.6),
        ),
        Rating(name="user + title bias", rmse=Measure(value=1.0), mae=nothing, ndcg=nothing, pairwise=nothing),
        Rating(
            name="global mean", rmse=Measure(value=1.1), mae=nothing, ndcg=nothing, pairwise=nothing, difference=0.3,
            difference_stderr=0.1,
        ),
    )  # fmt: skip


def test_slices_stand_by_feature_from_few_ratings_to_many() -> None:
    mine = {RMSE: 0.9, "mean_absolute_error": 0.7, "ndcg": 0.6, "example_count": 12.0}
    evaluation = {
        **errors(0.9, 1.0),
        ("user_activity", "200+"): {"candidate": mine},
        ("user_activity", "new"): {"candidate": mine, "user_title_bias": {RMSE: 1.2}},
        ("user_activity", "3-9"): {"candidate": {"list_ndcg": 0.1, "list_users": 3}},
        ("title_popularity", "1-2"): {"candidate": mine},
    }
    common = {"ratings": 12, "rmse": 0.9, "mae": 0.7, "ndcg": 0.6}
    assert of_evaluation(evaluation).slices == (
        Slice(feature="title popularity", value="1-2", baseline=None, **common),
        Slice(feature="user activity", value="new", baseline=1.2, **common),
        Slice(feature="user activity", value="200+", baseline=None, **common),
    )


def test_how_sure_a_model_is_comes_with_how_far_off_it_is() -> None:
    evaluation = errors(0.9, 1.0)
    assert of_evaluation(evaluation).calibration is None
    evaluation[OVERALL]["candidate"] |= {"expected_rmse": 0.95, "share_inside_50": 0.48, "share_inside_95": NAN}
    assert of_evaluation(evaluation).calibration == Calibration(
        levels=((0.5, 0.48), (0.8, None), (0.95, None)), rmse=0.9, promised=0.95
    )


def test_lists_have_intervals_by_their_standard_errors() -> None:
    whole = {"list_users": 9, "list_ndcg": 0.4, "list_ndcg_stderr": 0.1, "list_recall": 0.3, "list_coverage": 0.2,
             "list_gini": 0.5}  # fmt: skip
    evaluation = {
        OVERALL: {"candidate": {RMSE: 0.9, **whole}, "user_title_bias": {RMSE: 1.0},
                  "popularity": {"list_users": 9, "list_ndcg": 0.2}},
        ("user_activity", "200+"): {"candidate": {"list_users": 2, "list_ndcg": 0.6}},
        ("user_activity", "new"): {"candidate": {"list_users": 4, "list_ndcg": 0.1, "list_ndcg_stderr": NAN}},
        ("user_activity", "3-9"): {"candidate": {RMSE: 1.0, "example_count": 3}},
        ("title_popularity", "1-2"): {"candidate": {RMSE: 1.0, "example_count": 3}},
    }  # fmt: skip
    first, *others = of_evaluation(evaluation).listings
    assert (first.name, first.users, first.recall, first.coverage, first.gini) == ("this model", 9, 0.3, 0.2, 0.5)
    assert (first.ndcg.value, first.ndcg.low, first.ndcg.high) == pytest.approx((0.4, 0.204, 0.596))
    unknown = {"recall": None, "coverage": None, "gini": None}
    assert others == [
        Listing(name="most rated titles", users=9, ndcg=Measure(value=0.2), **unknown),
        Listing(name="activity new", users=4, ndcg=Measure(value=0.1), **unknown),
        Listing(name="activity 200+", users=2, ndcg=Measure(value=0.6), **unknown),
    ]


def test_typical_lists_are_those_of_the_most_frequent_activities(tmp_path: pathlib.Path) -> None:
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path)
    frequent = {"200+": 5, "new": 1, "3-9": 7, "unrated": 6}
    lists = {
        activity: TypicalList(order=0, users=users, titles=("Heat", "Alien"), liked=frozenset({"Alien"}))
        for activity, users in frequent.items()
    }
    typical_lists.write(evaluation.uri, lists)
    config = evaluation_files.create_eval_config(["candidate"], rmse_bound=0.95, max_regression=0, baseline=None)
    evaluation_files.write(evaluation.uri, errors(0.9, 1.0), config, data="", locations={"candidate": ""})
    made = facts_of(Outcome(exit_code=ExitCode.PUSHED), evaluation=evaluation)
    titles = (("Heat", False), ("Alien", True))
    assert made.typical == tuple(Typical(activity=each, titles=titles) for each in ("unrated", "3-9", "200+"))
    assert made.bound == 0.95


def test_curves_are_what_was_logged_more_than_once(tmp_path: pathlib.Path) -> None:
    model_run = artifact(standard_artifacts.ModelRun, tmp_path / "logs [1]")
    with training_log.open_log(model_run.uri) as log:
        for step in (1, 2):
            log("loss", 0.5 / step, step)
        log("epochs", 2.0, 1)
    made = facts_of(Outcome(exit_code=ExitCode.PUSHED), model_run=model_run)
    assert made.curves == (Curve(name="loss", points=((1, 0.5), (2, 0.25))),)


def test_anomalies_are_those_of_all_splits(tmp_path: pathlib.Path) -> None:
    anomalies = with_splits(artifact(standard_artifacts.ExampleAnomalies, tmp_path), "train", "test")
    for name, missing in (("train", False), ("test", True)):
        found = anomalies_pb2.Anomalies(data_missing=missing)
        (tmp_path / f"Split-{name}" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    made = facts_of(Outcome(exit_code=ExitCode.ANOMALIES), anomalies=anomalies)
    assert made.anomalies == ("test: whole data set: no examples; expected at least one",)


def schema_in(folder: pathlib.Path) -> types.Artifact:
    schema = artifact(standard_artifacts.Schema, folder)
    (folder / "schema.pbtxt").write_text(text_format.MessageToString(curated_schema.curate(1.0, 5.0, set())))
    return schema


@pytest.mark.parametrize(
    ("splits", "most", "counted"),
    [
        ({"train": [[1.0]], "test": [[2.0, 5.0], [2.0]]}, 100, {"2": 2, "5": 1}),
        ({"train": [[1.0]], "test": [[2.0, 5.0], [4.0]]}, 2, {"2": 1, "5": 1}),
        ({"train": [[1.0]], "eval": [[2.0]]}, 100, {"1": 1, "2": 1}),
        ({"test": [[]]}, 100, {}),
    ],
)
def test_the_histogram_is_of_test_ratings_if_there_are_any(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, splits: dict, most: int, counted: dict[str, int]
) -> None:
    monkeypatch.setattr(report_facts, "_MOST_RATINGS", most)
    examples = with_splits(artifact(standard_artifacts.Examples, tmp_path / "examples"), *splits)
    for name, files in splits.items():
        for number, ratings in enumerate(files):
            path = tmp_path / "examples" / f"Split-{name}" / f"data_tfrecord-{number:05}-of-{len(files):05}.gz"
            support.write_examples(path, [{"user_rating": rating} for rating in ratings])
    outcome = Outcome(exit_code=ExitCode.PUSHED, split_sizes={"test": 3})
    data = facts_of(outcome, examples=examples, schema=schema_in(tmp_path / "schema")).data
    assert (data.histogram, data.scale, data.sizes) == (counted, (1.0, 5.0), {"test": 3})
    # Without a scale there is nothing to count by.
    assert facts_of(outcome, examples=examples).data.histogram == {}
    assert facts_of(outcome, schema=schema_in(tmp_path / "schema")).data.histogram == {}


@pytest.mark.parametrize("split", ["train", "eval"])
def test_ranks_are_of_the_split_that_models_are_fitted_on(tmp_path: pathlib.Path, split: str) -> None:
    statistics = with_splits(artifact(standard_artifacts.ExampleStatistics, tmp_path), split)
    described = text_format.Parse(
        """
        datasets {
          features {
            path { step: "user_id" } type: STRING
            string_stats {
              unique: 40
              rank_histogram {
                buckets { low_rank: 0 high_rank: 0 label: "Ann" sample_count: 7.0 }
                buckets { low_rank: 1 high_rank: 1 label: "Bob" sample_count: 2.6 }
              }
            }
          }
          features { path { step: "movie_title" } type: FLOAT }
        }
        """,
        statistics_pb2.DatasetFeatureStatisticsList(),
    )
    (tmp_path / f"Split-{split}" / "FeatureStats.pb").write_bytes(described.SerializeToString())
    data = facts_of(Outcome(exit_code=ExitCode.PUSHED), statistics=statistics).data
    expected = Ranks(points=((1, 7), (2, 3)), values=40) if split == "train" else None
    assert (data.activity, data.popularity) == (expected, None)


@pytest.mark.parametrize(
    "record",
    [{}, {"source": "us", "licence": "free", "rejected": 3, "reasons": {"a rating": 3}, "columns": ["genres"]}],
)
def test_what_is_recorded_of_the_data_is_told(record: dict) -> None:
    outcome = Outcome(exit_code=ExitCode.PUSHED)
    data = report_facts.facts_of(Results(), outcome, began="", preset="", lineage={}, data=record).data
    assert (data.source, data.licence, data.reasons) == tuple(
        record.get(key, missing) for key, missing in (("source", ""), ("licence", ""), ("reasons", {}))
    )
    assert (data.rejected, data.columns) == ((3, ("genres",)) if record else (None, None))
