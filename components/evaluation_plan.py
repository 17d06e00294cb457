"""What an EvalConfig of TFMA asks for, as far as RatingsEvaluator can work it out; the rest is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

import tensorflow_model_analysis as tfma
from google.protobuf import message
from tensorflow_model_analysis.proto import config_pb2

from components.columnar_metrics import SliceSums
from modules import features

_EXAMPLE_COUNT, _RMSE, _MAE, _NDCG = "ExampleCount", "RootMeanSquaredError", "MeanAbsoluteError", "NDCG"
# None: Keras numbers what is not named, anew in every process.
_DEFAULT_NAMES = {_EXAMPLE_COUNT: "example_count", _RMSE: None, _MAE: "mean_absolute_error", _NDCG: "ndcg"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scoring:
    """What to ask models about each example.

    Attributes:
      signature: the signature that predicts; its input are serialized tf.Examples.
      prediction_key: its output, float [batch] or [batch, 1].
      label_key: float feature of the examples.
      query_key: string feature of the examples, or None where no metric ranks.
      slice_signatures: signatures of the first model whose outputs, string [batch], are sliced by.
      slicings: an output of these, or None for all ratings as one slice.
    """

    signature: str
    prediction_key: str
    label_key: str
    query_key: str | None
    slice_signatures: tuple[str, ...]
    slicings: tuple[str | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One metric of one model.

    Attributes:
      class_name: the metric as the configuration calls it.
      key: TFMA's key of its value.
      model: position of the model.
      depth: position of the number of ranks in `EvaluationPlan.depths`; None but for NDCG.
    """

    class_name: str
    key: tfma.metrics.MetricKey
    model: int
    depth: int | None = None

    def value(self, sums: SliceSums) -> float:
        """The metric's value in a slice."""
        if self.depth is not None:
            return sums.mean_ndcg(self.depth, self.model)
        return {
            _EXAMPLE_COUNT: float(sums.ratings),
            _RMSE: sums.rmse(self.model),
            _MAE: sums.mae(self.model),
        }[self.class_name]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """An evaluation as its EvalConfig wants it.

    Attributes:
      config: the configuration, completed as TFMA does for the models there are.
      models: names of the models: the candidate first, then the baseline if there is one.
      scoring: what to ask the models.
      measurements: metrics by model.
      depths: the numbers of ranks that NDCG is wanted for.
    """

    config: config_pb2.EvalConfig
    models: tuple[str, ...]
    scoring: Scoring
    measurements: tuple[Measurement, ...]
    depths: tuple[int, ...]

    @classmethod
    def of(cls, config: config_pb2.EvalConfig, *, has_baseline: bool) -> EvaluationPlan:
        """Reads a configuration.

        Args:
          config: as given to the component: one model without a name.
          has_baseline: there is a model to compare with; change thresholds are dropped where there is none.

        Raises:
          ValueError: the configuration is contradictory, or asks for something that is not supported: metrics other
            than ExampleCount, RootMeanSquaredError, MeanAbsoluteError and NDCG, more than one query key, slices by
            anything but one output of the preprocessing functions, example weights, confidence intervals.
        """
        _refuse_others(config, {"model_specs", "slicing_specs", "metrics_specs", "options"})
        _check_options(config.options)
        if len(config.model_specs) != 1:
            raise ValueError(
                f"expected one model in eval_config.model_specs; got {len(config.model_specs)}; "
                "describe the candidate alone, the baseline is asked the same"
            )
        model_keys = {"signature_name", "preprocessing_function_names", "label_key", "prediction_key"}
        _refuse_others(config.model_specs[0], model_keys)
        completed = tfma.utils.update_eval_config_with_defaults(config, has_baseline=has_baseline, rubber_stamp=True)
        tfma.utils.verify_eval_config(completed)

        models = tuple(spec.name for spec in completed.model_specs)
        depths: list[int] = []
        measurements = [
            measurement
            for spec in completed.metrics_specs
            for metric in _checked_metrics(spec, config.model_specs[0].label_key)
            for measurement in _measurements(metric, models, depths)
        ]
        if not measurements:
            raise ValueError("expected metrics in eval_config.metrics_specs; got none; name at least one")
        query_keys = {spec.query_key for spec in completed.metrics_specs if spec.query_key}
        if len(query_keys) > 1:
            raise ValueError(
                f"expected one query_key in eval_config; got {sorted(query_keys)}; rank within one of them"
            )
        return cls(
            config=completed,
            models=models,
            scoring=_scoring(config, query_keys.pop() if query_keys else None),
            measurements=tuple(measurements),
            depths=tuple(depths),
        )

    def metrics(self, sums: SliceSums) -> dict[tfma.metrics.MetricKey, float]:
        """The metrics of each model in a slice, and how the candidate's differ from the baseline's."""
        values = {measurement.key: measurement.value(sums) for measurement in self.measurements}
        if len(self.models) > 1:
            candidate, baseline = self.models
            values |= {
                key.make_diff_key(): value - values[key.make_baseline_key(baseline)]
                for key, value in values.items()
                if key.model_name == candidate
            }
        return values


def _refuse_others(given: message.Message, supported: set[str]) -> None:
    others = sorted({field.name for field, _ in given.ListFields()} - supported)
    if others:
        raise ValueError(
            f"expected no more than {', '.join(sorted(supported))} in a {given.DESCRIPTOR.name} of eval_config; "
            f"got {', '.join(others)}; remove it, or use tfx.components.Evaluator"
        )


def _check_options(options: config_pb2.Options) -> None:
    _refuse_others(options, {"include_default_metrics", "compute_confidence_intervals", "min_slice_size"})
    if not options.HasField("include_default_metrics") or options.include_default_metrics.value:
        raise ValueError(
            "expected options.include_default_metrics to be false in eval_config, since metrics that the model was "
            "compiled with are not computed; got true, the default; set it to false"
        )
    if options.compute_confidence_intervals.value or options.min_slice_size.value > 1:
        raise ValueError(
            "expected neither confidence intervals nor a min_slice_size above 1 in eval_config.options; "
            "got one of them; remove it, or use tfx.components.Evaluator"
        )


def _checked_metrics(spec: config_pb2.MetricsSpec, label_key: str) -> Iterator[tuple[str, str, list[int]]]:
    """Class name, name and numbers of ranks of the metrics of a specification."""
    # Model names are what TFMA completed the configuration with.
    _refuse_others(spec, {"metrics", "query_key", "model_names"})
    for metric in spec.metrics:
        _refuse_others(metric, {"class_name", "config", "threshold", "per_slice_thresholds"})
        ranks = metric.class_name == _NDCG
        if metric.class_name not in _DEFAULT_NAMES or ranks != bool(spec.query_key):
            raise ValueError(
                f"expected {_EXAMPLE_COUNT}, {_RMSE} or {_MAE} without a query_key, or {_NDCG} with one; "
                f"got {metric.class_name} with query_key {spec.query_key!r}; remove it from eval_config, or use "
                "tfx.components.Evaluator"
            )
        settings = json.loads(metric.config if metric.config.startswith("{") else f"{{{metric.config}}}")
        name = settings.pop("name", _DEFAULT_NAMES[metric.class_name])
        depths = settings.pop("top_k_list", []) if ranks else []
        gain_key = settings.pop("gain_key", None) if ranks else label_key
        if settings or not name or gain_key != label_key or (ranks and not depths):
            raise ValueError(
                f"expected a name{' and top_k_list, and the label as gain_key,' if ranks else ''} in the config of "
                f"metric {metric.class_name}; got {metric.config!r}; correct eval_config"
            )
        yield metric.class_name, name, list(dict.fromkeys(depths))


def _measurements(
    metric: tuple[str, str, list[int]], models: Sequence[str], all_depths: list[int]
) -> Iterator[Measurement]:
    """The metric's measurements of each model; numbers of ranks that are new are added to `all_depths`."""
    class_name, name, depths = metric
    all_depths.extend(depth for depth in depths if depth not in all_depths)
    for position, model in enumerate(models):
        key = tfma.metrics.MetricKey(name, model_name=model, example_weighted=False)
        if class_name != _NDCG:
            yield Measurement(class_name=class_name, key=key, model=position)
        for depth in depths:
            yield Measurement(
                class_name=class_name,
                key=key._replace(sub_key=tfma.metrics.SubKey(top_k=depth)),
                model=position,
                depth=all_depths.index(depth),
            )


def _scoring(config: config_pb2.EvalConfig, query_key: str | None) -> Scoring:
    spec = config.model_specs[0]
    columns = {column.name: column.dtype for column in features.COLUMNS}
    for key, dtype in ((spec.label_key, "float"), (query_key, "string")):
        if key is not None and columns.get(key) != dtype:
            raise ValueError(
                f"expected a {dtype} column of the ratings in eval_config; got {key!r}; "
                f"choose one of {sorted(name for name in columns if columns[name] == dtype)}"
            )
    if not spec.signature_name or not spec.prediction_key:
        raise ValueError(
            f"expected signature_name and prediction_key in eval_config; got {spec.signature_name!r} and "
            f"{spec.prediction_key!r}; name the signature that predicts and its output"
        )
    slicings: list[str | None] = []
    for slicing in config.slicing_specs or [config_pb2.SlicingSpec()]:
        _refuse_others(slicing, {"feature_keys"})
        if len(slicing.feature_keys) > 1:
            raise ValueError(
                f"expected slices by one feature in eval_config; got {list(slicing.feature_keys)}; "
                "slice by each of them, or have a preprocessing function combine them"
            )
        slicings.append(slicing.feature_keys[0] if slicing.feature_keys else None)
    return Scoring(
        signature=spec.signature_name,
        prediction_key=spec.prediction_key,
        label_key=spec.label_key,
        query_key=query_key,
        slice_signatures=tuple(spec.preprocessing_function_names),
        slicings=tuple(dict.fromkeys(slicings)),
    )
