"""What Evaluator measures, and what a model must reach to be blessed."""

from __future__ import annotations

# TFMA 0.52 exports most of these messages under no other name.
from tensorflow_model_analysis.proto import config_pb2

from modules import features, serving

RMSE = "root_mean_squared_error"
MAE = "mean_absolute_error"
NDCG = "ndcg"
RANKING_DEPTH = 10
# The name that TFMA gives the model that a candidate is compared with.
BASELINE_NAME = "baseline"


def create_eval_config(rmse_bound: float, max_regression: float) -> config_pb2.EvalConfig:
    """RMSE and MAE over all ratings and by slice, NDCG@10 by user; RMSE decides.

    Args:
      rmse_bound: a model whose RMSE is not below this is not blessed, stars.
      max_regression: how much worse than the latest blessed model the RMSE may be, stars. Evaluator ignores it
        where there is no blessed model yet.
    """
    model = {
        "signature_name": "serving_default",
        "label_key": features.USER_RATING.name,
        "prediction_key": serving.PREDICTED_RATING,
        "preprocessing_function_names": [serving.SLICES_SIGNATURE],
    }
    rmse_threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(upper_bound={"value": rmse_bound}),
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.LOWER_IS_BETTER, absolute={"value": max_regression}
        ),
    )
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(**model)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[serving.USER_ACTIVITY]),
            config_pb2.SlicingSpec(feature_keys=[serving.TITLE_POPULARITY]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    # Keras metrics are named, since Keras numbers unnamed ones anew in a process that runs twice.
                    config_pb2.MetricConfig(
                        class_name="RootMeanSquaredError",
                        config=f'"name": "{RMSE}"',
                        # A threshold without slices would have to hold in every slice.
                        per_slice_thresholds=[
                            config_pb2.PerSliceMetricThreshold(
                                slicing_specs=[config_pb2.SlicingSpec()], threshold=rmse_threshold
                            )
                        ],
                    ),
                    config_pb2.MetricConfig(class_name="MeanAbsoluteError", config=f'"name": "{MAE}"'),
                ]
            ),
            config_pb2.MetricsSpec(
                query_key=features.USER_ID.name,
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="NDCG",
                        config=f'"gain_key": "{features.USER_RATING.name}", "top_k_list": [{RANKING_DEPTH}]',
                    )
                ],
            ),
        ],
        # TFMA would re-create the compiled metrics of a Keras model, which a TFRS model does not have.
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )
