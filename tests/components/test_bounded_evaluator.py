"""The bound of a submission over Evaluator's configuration."""

from __future__ import annotations

import pytest
import tensorflow_model_analysis as tfma

from components import bounded_evaluator
from pipeline.graph import evaluation


def bounds(config: tfma.EvalConfig) -> list[float]:
    return [
        by_slice.threshold.value_threshold.upper_bound.value
        for spec in config.metrics_specs
        for metric in spec.metrics
        for by_slice in metric.per_slice_thresholds
    ]


def test_the_bound_is_replaced_and_nothing_else() -> None:
    config = evaluation.create_eval_config(1.2, 0.01)
    changed = bounded_evaluator.with_bound(config, 0.9)
    assert bounds(changed) == [0.9]
    assert bounds(config) == [1.2]
    assert changed == evaluation.create_eval_config(0.9, 0.01)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_nothing_meets_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 stars"):
        bounded_evaluator.with_bound(evaluation.create_eval_config(1.2, 0.0), bound)


def test_a_configuration_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="got one without"):
        bounded_evaluator.with_bound(tfma.EvalConfig(), 1.0)
