from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.columnar_metrics import SliceSums
from components.evaluation_plan import EvaluationPlan
from pipeline.graph import evaluation

SUMS = SliceSums(
    ratings=4,
    squared_error=np.array([16.0, 4.0]),
    absolute_error=np.array([4.0, 2.0]),
    queries=2,
    ndcg=np.array([[1.5, 1.0]]),
)


@pytest.fixture
def config() -> config_pb2.EvalConfig:
    return evaluation.create_eval_config(1.1, 0.01)


def named(values: dict[tfma.metrics.MetricKey, float]) -> dict[tuple[str, str, bool], float]:
    return {(key.name, key.model_name, key.is_diff): value for key, value in values.items()}


def test_the_pipelines_configuration_is_read(config: config_pb2.EvalConfig) -> None:
    plan = EvaluationPlan.of(config, has_baseline=False)
    assert plan.models == ("",)
    assert plan.depths == (10,)
    assert plan.scoring.slicings == (None, "user_activity", "title_popularity")
    assert plan.scoring.query_key == "user_id"
    assert named(plan.metrics(SUMS)) == {
        ("example_count", "", False): 4.0,
        ("root_mean_squared_error", "", False): 2.0,
        ("mean_absolute_error", "", False): 1.0,
        ("ndcg", "", False): 0.75,
    }
    thresholds = tfma.metrics.metric_thresholds_from_metrics_specs(plan.config.metrics_specs, eval_config=plan.config)
    assert [key.is_diff for key in thresholds] == [False]


def test_with_a_baseline_the_difference_is_measured(config: config_pb2.EvalConfig) -> None:
    plan = EvaluationPlan.of(config, has_baseline=True)
    assert plan.models == ("candidate", "baseline")
    values = named(plan.metrics(SUMS))
    rmse = "root_mean_squared_error"
    assert (values[rmse, "candidate", False], values[rmse, "baseline", False]) == (2.0, 1.0)
    assert values[rmse, "candidate", True] == 1.0
    assert values["ndcg", "candidate", True] == 0.25
    assert values["example_count", "candidate", True] == 0.0
    assert (rmse, "baseline", True) not in values
    thresholds = tfma.metrics.metric_thresholds_from_metrics_specs(plan.config.metrics_specs, eval_config=plan.config)
    assert {key for key in thresholds if key.model_name == "candidate"} <= set(plan.metrics(SUMS))


def test_several_numbers_of_ranks(config: config_pb2.EvalConfig) -> None:
    ndcg = config.metrics_specs[1].metrics
    ndcg[0].config = '{"gain_key": "user_rating", "top_k_list": [3, 5, 3]}'
    ndcg.add(class_name="NDCG", config='"gain_key": "user_rating", "top_k_list": [5, 1], "name": "other"')
    plan = EvaluationPlan.of(config, has_baseline=False)
    assert plan.depths == (3, 5, 1)
    found = [(m.key.name, m.key.sub_key.top_k, m.depth) for m in plan.measurements if m.depth is not None]
    assert found == [("ndcg", 3, 0), ("ndcg", 5, 1), ("other", 5, 1), ("other", 1, 2)]


def test_without_slices_all_ratings_are_one(config: config_pb2.EvalConfig) -> None:
    del config.slicing_specs[:]
    del config.metrics_specs[1]
    scoring = EvaluationPlan.of(config, has_baseline=False).scoring
    assert scoring.slicings == (None,)
    assert scoring.query_key is None


def confidence_intervals(config: config_pb2.EvalConfig) -> None:
    config.options.compute_confidence_intervals.value = True


def small_slices(config: config_pb2.EvalConfig) -> None:
    config.options.min_slice_size.value = 5


def disabled_output(config: config_pb2.EvalConfig) -> None:
    config.options.disabled_outputs.values.append("eval_config")


def compiled_metrics(config: config_pb2.EvalConfig) -> None:
    config.options.ClearField("include_default_metrics")


def second_model(config: config_pb2.EvalConfig) -> None:
    config.model_specs.add(name="other")


def weights(config: config_pb2.EvalConfig) -> None:
    config.model_specs[0].example_weight_key = "timestamp"


def no_signature(config: config_pb2.EvalConfig) -> None:
    config.model_specs[0].signature_name = ""


def label_of_text(config: config_pb2.EvalConfig) -> None:
    del config.metrics_specs[1]
    config.model_specs[0].label_key = "movie_title"


def cross_slices(config: config_pb2.EvalConfig) -> None:
    config.cross_slicing_specs.add()


def two_features(config: config_pb2.EvalConfig) -> None:
    config.slicing_specs.add(feature_keys=["user_activity", "title_popularity"])


def feature_value(config: config_pb2.EvalConfig) -> None:
    config.slicing_specs.add(feature_values={"user_activity": "3-9"})


def other_metric(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].metrics.add(class_name="AUC")


def metric_of_a_module(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].metrics[0].module = "somewhere"


def no_metric(config: config_pb2.EvalConfig) -> None:
    del config.metrics_specs[:]


def binarized(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[1].binarize.top_k_list.values.append(3)


def thresholds_by_name(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].thresholds["root_mean_squared_error"].value_threshold.upper_bound.value = 1


def cross_slice_threshold(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].metrics[1].cross_slice_thresholds.add()


def unnamed_keras_metric(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].metrics[1].config = ""


def unknown_setting(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].metrics[2].config = '"name": "mae", "dtype": "float16"'


def rank_without_query(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[1].query_key = ""


def error_within_queries(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[0].query_key = "user_id"


def second_query(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs.add().CopyFrom(config.metrics_specs[1])
    config.metrics_specs[2].query_key = "movie_title"


def query_of_numbers(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[1].query_key = "user_age"


def all_ranks(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[1].metrics[0].config = '"gain_key": "user_rating"'


def other_gain(config: config_pb2.EvalConfig) -> None:
    config.metrics_specs[1].metrics[0].config = '"gain_key": "timestamp", "top_k_list": [10]'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (confidence_intervals, "neither confidence intervals nor a min_slice_size"),
        (small_slices, "neither confidence intervals nor a min_slice_size"),
        (disabled_output, "got disabled_outputs"),
        (compiled_metrics, "include_default_metrics to be false"),
        (second_model, "expected one model in eval_config.model_specs; got 2"),
        (weights, "got example_weight_key"),
        (no_signature, "expected signature_name and prediction_key"),
        (label_of_text, "expected a float column of the ratings in eval_config; got 'movie_title'"),
        (cross_slices, "got cross_slicing_specs"),
        (two_features, "expected slices by one feature"),
        (feature_value, "got feature_values"),
        (other_metric, "got AUC with query_key ''"),
        (metric_of_a_module, "got module"),
        (no_metric, "expected metrics in eval_config.metrics_specs; got none"),
        (binarized, "got binarize"),
        (thresholds_by_name, "got thresholds"),
        (cross_slice_threshold, "got cross_slice_thresholds"),
        (unnamed_keras_metric, "expected a name in the config of metric RootMeanSquaredError; got ''"),
        (unknown_setting, 'metric MeanAbsoluteError; got \'"name": "mae", "dtype"'),
        (rank_without_query, "got NDCG with query_key ''"),
        (error_within_queries, "got ExampleCount with query_key 'user_id'"),
        (second_query, "expected one query_key"),
        (query_of_numbers, "expected a string column of the ratings in eval_config; got 'user_age'"),
        (all_ranks, "top_k_list, and the label as gain_key, in the config of metric NDCG"),
        (other_gain, "top_k_list, and the label as gain_key, in the config of metric NDCG"),
    ],
)
def test_what_is_not_supported_is_refused(
    config: config_pb2.EvalConfig, change: Callable[[config_pb2.EvalConfig], None], said: str
) -> None:
    change(config)
    with pytest.raises(ValueError, match=said):
        EvaluationPlan.of(config, has_baseline=False)
