"""BoundedEvaluator: RatingsEvaluator, with the bound on the RMSE as a parameter of its own.

`eval_config` is one JSON text, and a cluster substitutes whole parameters only. So a bound that a compiled pipeline
leaves open is a parameter beside it, which the executor writes into it.
"""

from __future__ import annotations

from typing import Any

from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import executor
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.types.channel import BaseChannel, Channel
from tfx.utils import json_utils, proto_utils

from components import ratings_evaluator
from components.evaluation_plan import EvaluationPlan

RMSE_BOUND_KEY = "rmse_bound"


def with_bound(eval_config: config_pb2.EvalConfig, bound: float) -> config_pb2.EvalConfig:
    """A copy whose upper bounds are all `bound`.

    Raises:
      ValueError: the bound is not above 0, or there is no upper bound to replace.
    """
    if not bound > 0:
        raise ValueError(f"rmse_bound must be above 0 stars; got {bound}; leave it out for the compiled one")
    changed = config_pb2.EvalConfig()
    changed.CopyFrom(eval_config)
    thresholds = [
        by_slice.threshold.value_threshold
        for spec in changed.metrics_specs
        for metric in spec.metrics
        for by_slice in metric.per_slice_thresholds
        if by_slice.threshold.value_threshold.HasField("upper_bound")
    ]
    if not thresholds:
        raise ValueError("expected an eval_config with an upper bound for rmse_bound to replace; got one without")
    for threshold in thresholds:
        threshold.upper_bound.value = bound
    return changed


# TFX's entry point on a cluster writes the names of models into the blessing, by which the next run finds the blessed
# one, only for executors that are TFX's own.
class Executor(ratings_evaluator.Executor, executor.Executor):
    """RatingsEvaluator's executor on the configuration with the bound put in."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates; see `ratings_evaluator.Executor`."""
        bound = exec_properties.get(RMSE_BOUND_KEY)
        if bound is not None:
            key = standard_component_specs.EVAL_CONFIG_KEY
            eval_config = config_pb2.EvalConfig()
            proto_utils.json_to_proto(exec_properties[key], eval_config)
            changed = proto_utils.proto_to_json(with_bound(eval_config, bound))
            exec_properties = {**exec_properties, key: changed}
        super().Do(input_dict, output_dict, exec_properties)


class BoundedEvaluatorSpec(ratings_evaluator.RatingsEvaluatorSpec):
    """RatingsEvaluator's interface and the bound that a submission may set."""

    PARAMETERS = {  # noqa: RUF012
        **ratings_evaluator.RatingsEvaluatorSpec.PARAMETERS,
        RMSE_BOUND_KEY: component_spec.ExecutionParameter(type=float, optional=True),
    }


class BoundedEvaluator(base_beam_component.BaseBeamComponent):
    """Measures a model of ratings and blesses it if it meets the thresholds; see `RatingsEvaluator`.

    Outputs:
      evaluation: metrics, validation and configuration.
      blessing: whether the model met the thresholds.
    """

    SPEC_CLASS = BoundedEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: BaseChannel,
        model: BaseChannel,
        baseline_model: BaseChannel | None,
        example_splits: list[str],
        eval_config: config_pb2.EvalConfig,
        code_fingerprint: str,
        rmse_bound: float | RuntimeParameter | None = None,
    ) -> None:
        """Builds the component.

        Args:
          examples: with the splits to measure on.
          model: the candidate.
          baseline_model: the model to compare with.
          example_splits: the splits to measure on.
          eval_config: metrics, slices and thresholds.
          code_fingerprint: of this component's code, so that an edit invalidates the cache.
          rmse_bound: overrules the upper bound in `eval_config`, stars.

        Raises:
          ValueError: the configuration asks for what is not supported; see `EvaluationPlan.of`.
        """
        EvaluationPlan.of(eval_config, has_baseline=baseline_model is not None)
        spec = BoundedEvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            example_splits=json_utils.dumps(example_splits),
            eval_config=eval_config,
            code_fingerprint=code_fingerprint,
            rmse_bound=rmse_bound,
            evaluation=Channel(type=standard_artifacts.ModelEvaluation),
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
