"""An evaluation in the files of TensorFlow Model Analysis (TFMA): what it is asked, validated, written and read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format, message
from tensorflow_model_analysis.evaluators import metrics_validator

# TFMA 0.52 exports most of these messages under no other name.
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as tfma_writer
from tfx.dsl.io import fileio

from modules import features, judge, list_judge, paths, recommending, serving, user_bootstrap
from modules.errors import UserError
from modules.list_metrics import LEADS, LIST_LEAD_Z, LIST_NDCG, LIST_PREFIX, LIST_USERS
from modules.sliced_metrics import (
    EXAMPLE_COUNT,
    MAE,
    MSE_DIFFERENCE_Z,
    NDCG,
    OVERALL,
    PAIRED,
    RANKING_DEPTH,
    RMSE,
    USER_COUNT,
    Evaluation,
    SliceKey,
)

# So many standard errors at least must a model be better than its baseline: one-sided, at a level of 95 %.
SIGNIFICANT_Z = 1.645
_CONFIG_FILE = "eval_config.json"


def create_eval_config(
    models: Sequence[str],
    *,
    rmse_bound: float,
    max_regression: float,
    baseline: str | None,
    min_ratings: int = 0,
    min_users: int = 0,
    listing: Sequence[str] = (),
    lists_baseline: str = list_judge.POPULARITY,
    max_ndcg_regression: float = 0.0,
) -> config_pb2.EvalConfig:
    """All metrics of TFMA's that are written, overall and by slice, and the thresholds, which are on all ratings.

    The number of users, the pairwise accuracy, the paired comparisons, how well a model tells its uncertainty and
    how good its lists are, are written too, but TFMA has no such metrics.

    Args:
      models: names of the models that are evaluated.
      rmse_bound: a candidate whose RMSE is above this is not blessed, stars.
      max_regression: how much worse than the blessed model's its RMSE may be, stars; ignored where `models` has no
        blessed model.
      baseline: the model that the candidate must be better than, by the paired test on the same ratings; None: none.
      min_ratings: fewer ratings bless no candidate; 0: any number does.
      min_users: ratings of fewer users bless no candidate; 0: any number does.
      listing: names of the models whose lists are judged; none where the candidate gives none.
      lists_baseline: the one of them that the candidate's lists must not be significantly worse than; `none`: none.
      max_ndcg_regression: how much worse than the blessed model's NDCG that of its lists may be.

    Raises:
      UserError: no RMSE can meet the bound, or the baseline is not among the models.
    """
    if not rmse_bound > 0:
        raise UserError(f"rmse_bound must be above 0 stars; got {rmse_bound}; give the RMSE that is good enough")
    if baseline is not None and baseline not in models:
        raise UserError(f"baseline must be one of {', '.join(models)}; got {baseline!r}")
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(upper_bound={"value": rmse_bound})
    )
    if judge.BLESSED in models:
        threshold.change_threshold.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
        threshold.change_threshold.absolute.value = max_regression
    # A threshold without slices would have to hold in every slice.
    overall = [_overall(threshold)]
    comparisons = [] if baseline is None else [_at_least(baseline, MSE_DIFFERENCE_Z, SIGNIFICANT_Z)]
    ratings = [_overall(_lower_bound(min_ratings))] if min_ratings else []
    users = [_at_least(judge.CANDIDATE, USER_COUNT, min_users)] if min_users else []
    lists = []
    if lists_baseline in listing:
        lists.append(_at_least(lists_baseline, LIST_LEAD_Z, -SIGNIFICANT_Z))
    if judge.BLESSED in listing:
        # A change for the worse is one below zero.
        change = config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -max_ndcg_regression}
        )
        lists.append(_threshold(judge.CANDIDATE, LIST_NDCG, config_pb2.MetricThreshold(change_threshold=change)))
    # Keras metrics are named, since Keras numbers unnamed ones anew in a process that runs twice.
    rmse = {"class_name": "RootMeanSquaredError", "config": f'"name": "{RMSE}"'}
    mae = {"class_name": "MeanAbsoluteError", "config": f'"name": "{MAE}"'}
    count = {"class_name": "ExampleCount", "config": f'"name": "{EXAMPLE_COUNT}"'}
    ranking = f'"gain_key": "{features.USER_RATING.name}", "top_k_list": [{RANKING_DEPTH}], "name": "{NDCG}"'
    others = [name for name in models if name != judge.CANDIDATE]
    return config_pb2.EvalConfig(
        model_specs=[_model_spec(name) for name in dict.fromkeys((*models, *listing))],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[name]) for name in judge.SLICINGS),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                model_names=[judge.CANDIDATE],
                metrics=[
                    config_pb2.MetricConfig(per_slice_thresholds=overall, **rmse),
                    config_pb2.MetricConfig(per_slice_thresholds=ratings, **count),
                ],
            ),
            config_pb2.MetricsSpec(
                model_names=others, metrics=[config_pb2.MetricConfig(**rmse), config_pb2.MetricConfig(**count)]
            ),
            config_pb2.MetricsSpec(model_names=models, metrics=[config_pb2.MetricConfig(**mae)]),
            config_pb2.MetricsSpec(
                model_names=models,
                query_key=features.USER_ID.name,
                metrics=[config_pb2.MetricConfig(class_name="NDCG", config=ranking)],
            ),
            *users,
            *comparisons,
            *lists,
        ],
        # TFMA would re-create the compiled metrics of a Keras model, which a TFRS model does not have.
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )


def _overall(threshold: config_pb2.MetricThreshold) -> config_pb2.PerSliceMetricThreshold:
    """A threshold on all ratings."""
    return config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)


def _lower_bound(value: float) -> config_pb2.MetricThreshold:
    return config_pb2.MetricThreshold(value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": value}))


def _at_least(model: str, metric: str, value: float) -> config_pb2.MetricsSpec:
    """The lowest value of a metric of a model that TFMA does not have."""
    return _threshold(model, metric, _lower_bound(value))


def _threshold(model: str, metric: str, threshold: config_pb2.MetricThreshold) -> config_pb2.MetricsSpec:
    """The threshold on a metric of a model that TFMA does not have."""
    spec = config_pb2.MetricsSpec(model_names=[model])
    spec.per_slice_thresholds[metric].thresholds.append(_overall(threshold))
    return spec


def _model_spec(name: str) -> config_pb2.ModelSpec:
    """How TFMA asks a model; the baselines are outputs of the candidate, and the slices too."""
    spec = config_pb2.ModelSpec(name=name, label_key=features.USER_RATING.name)
    if name == list_judge.POPULARITY:
        spec.signature_name, spec.prediction_key = recommending.EVALUATION_LISTS, features.MOVIE_TITLE.name
    elif name in judge.BASELINES:
        spec.signature_name, spec.prediction_key = serving.EVALUATION_SIGNATURE, name
    else:
        spec.signature_name, spec.prediction_key = judge.PREDICT_SIGNATURE, serving.PREDICTED_RATING
    if name == judge.BLESSED:
        spec.is_baseline = True
    else:
        spec.preprocessing_function_names.append(serving.EVALUATION_SIGNATURE)
    return spec


def write(
    folder: str, evaluation: Evaluation, config: config_pb2.EvalConfig, *, data: str, locations: dict[str, str]
) -> None:
    """Validates an evaluation, and writes all of it the way TFMA does.

    Args:
      folder: where the files go; `tfma.load_eval_result` and its like read it.
      evaluation: the metrics.
      config: what `create_eval_config` made for these models.
      data: what was evaluated on, for display.
      locations: folder of each model by its name, for display.
    """
    metrics = [_keyed(key, by_model) for key, by_model in evaluation.items()]
    combine = tfma_writer.CombineValidations(config)
    combined = combine.create_accumulator()
    for of_slice in metrics:
        # All thresholds are on all ratings; in a slice TFMA would miss the metrics that a slice has not.
        if of_slice[0] == OVERALL:
            combined = combine.add_input(combined, metrics_validator.validate_metrics(of_slice, config))

    run = config_pb2.EvalRun(
        eval_config=config,
        version=tfma.__version__,
        data_location=data,
        file_format="tfrecords",
        model_locations=locations,
    )
    with fileio.open(os.path.join(folder, _CONFIG_FILE), "w") as file:
        file.write(json_format.MessageToJson(run))
    _write_records(
        os.path.join(folder, "metrics-00000-of-00001.tfrecord"),
        (tfma.writers.convert_slice_metrics_to_proto(of_slice, add_metrics_callbacks=None) for of_slice in metrics),
    )
    _write_records(os.path.join(folder, "validations.tfrecord"), [combine.extract_output(combined)])


def _keyed(key: SliceKey, by_model: dict[str, dict[str, float]]) -> tuple[tuple, dict[tfma.metrics.MetricKey, float]]:
    """A slice under TFMA's keys, with the differences from the blessed model, if there is one."""
    values = {_metric_key(name, model): value for model, each in by_model.items() for name, value in each.items()}
    values |= {
        metric.make_diff_key(): value - values[blessed]
        for metric, value in values.items()
        if metric.model_name != judge.BLESSED
        and metric.name not in (*PAIRED, *LEADS, LIST_USERS, *user_bootstrap.NAMES)
        and (blessed := metric.make_baseline_key(judge.BLESSED)) in values
    }
    return ((key,) if key else (), values)


def _metric_key(name: str, model: str) -> tfma.metrics.MetricKey:
    sub_key = tfma.metrics.SubKey(top_k=RANKING_DEPTH) if name == NDCG else None
    # TFMA takes a metric that it does not compute for one that may be weighted or not.
    weighted = None if name in (*PAIRED, USER_COUNT, *user_bootstrap.NAMES) or name.startswith(LIST_PREFIX) else False
    return tfma.metrics.MetricKey(name, model_name=model, sub_key=sub_key, example_weighted=weighted)


def _write_records(path: str, records: Iterable[message.Message]) -> None:
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def read(folder: str) -> Evaluation:
    """The metrics of each slice and model; differences from the blessed model are left out."""
    evaluation: Evaluation = {}
    for record in tfma.load_metrics(paths.plain(folder)):
        keys = record.slice_key.single_slice_keys
        by_model = evaluation.setdefault((keys[0].column, keys[0].bytes_value.decode()) if keys else (), {})
        for item in record.metric_keys_and_values:
            if not item.key.is_diff:
                by_model.setdefault(item.key.model_name, {})[item.key.name] = item.value.double_value.value
    return evaluation


def rmse_bound(folder: str) -> float:
    """The highest RMSE that was allowed, stars."""
    with fileio.open(os.path.join(folder, _CONFIG_FILE)) as file:
        config = json_format.Parse(file.read(), config_pb2.EvalRun()).eval_config
    (bound,) = (
        each.threshold.value_threshold.upper_bound.value
        for spec in config.metrics_specs
        for metric in spec.metrics
        for each in metric.per_slice_thresholds
        if each.threshold.value_threshold.HasField("upper_bound")
    )
    return bound
