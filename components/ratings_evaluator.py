"""RatingsEvaluator: TFX's Evaluator for models of ratings, whose metrics are worked out by whole columns.

TensorFlow Model Analysis (TFMA) handles each example, metric and slice in Python, about a millisecond an example. Here
its configuration, thresholds, validation and result files are kept, so that all that reads them goes on working, and
metrics come from sums over arrays (`components.columnar_metrics`).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from absl import logging
from apache_beam.io import filesystem, filesystems
from apache_beam.utils import shared
from google.protobuf import json_format, message
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as tfma_writer
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.system_executions import Evaluate
from tfx.utils import io_utils, json_utils, path_utils, proto_utils

from components import columnar_metrics, example_files
from components.columnar_metrics import OVERALL, ScoredRatings, SliceKey, SliceSums
from components.evaluation_plan import EvaluationPlan, Scoring

# Ratings that are collected before they are handed on, about 30 bytes each.
BLOCK_ROWS = 1 << 18
# Queries are shared out among so many parts, each of which is measured in memory, by one worker.
BUCKETS = 64

_CODE_FINGERPRINT_KEY = "code_fingerprint"
_SUMS_FILE = "sums.pickle"


class Scorer:
    """Models, loaded, that are asked about whole batches of examples."""

    def __init__(self, paths: Sequence[str], scoring: Scoring):
        """Loads the models.

        Args:
          paths: folders of the SavedModels; the first one tells the slices.
          scoring: what to ask them.

        Raises:
          ValueError: a signature or an output is missing, or takes something other than serialized examples.
        """
        self._scoring = scoring
        # Kept, since signatures do not keep their model alive.
        self._models = [tf.saved_model.load(path) for path in paths]
        self._predict = [
            _signature(model, path, scoring.signature) for model, path in zip(self._models, paths, strict=True)
        ]
        self._slice = [_signature(self._models[0], paths[0], name) for name in scoring.slice_signatures]
        known = {name for function in self._slice for name in function.structured_outputs}
        for path, function in zip(paths, self._predict, strict=True):
            _check_outputs({scoring.prediction_key}, set(function.structured_outputs), f"{scoring.signature} of {path}")
        _check_outputs(set(scoring.slicings) - {None}, known, f"{', '.join(scoring.slice_signatures)} of {paths[0]}")
        self._spec = {scoring.label_key: tf.io.FixedLenFeature([], tf.float32)}
        if scoring.query_key:
            self._spec[scoring.query_key] = tf.io.FixedLenFeature([], tf.string)

    def score(self, examples: tf.Tensor) -> ScoredRatings:
        """Asks the models about serialized tf.Examples, string [batch].

        Raises:
          ValueError: an output does not have one value an example.
        """
        batch = len(examples)
        parsed = tf.io.parse_example(examples, self._spec)
        query = np.arange(batch)
        if self._scoring.query_key:
            # 63 bits, so that two of a hundred million users fall together once in a thousand evaluations.
            query = tf.strings.to_hash_bucket_fast(parsed[self._scoring.query_key], 2**63 - 1).numpy()
        predictions = [self._call(function, examples)[self._scoring.prediction_key] for function in self._predict]
        values = {name: value for function in self._slice for name, value in self._call(function, examples).items()}
        slices = [_slices(name, values, batch) for name in self._scoring.slicings]
        return ScoredRatings(
            query=query,
            label=parsed[self._scoring.label_key].numpy(),
            prediction=np.stack([_column(self._scoring.prediction_key, each, batch).numpy() for each in predictions]),
            slice_code=np.stack([codes for codes, _ in slices]),
            slice_keys=tuple(keys for _, keys in slices),
        )

    @staticmethod
    def _call(function: Any, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        (name,) = function.structured_input_signature[1]
        return function(**{name: examples})


def _signature(model: Any, path: str, name: str) -> Any:
    if name not in model.signatures:
        raise ValueError(
            f"expected a signature {name!r} in {path}; got {sorted(model.signatures)}; "
            "export the model with it, or correct eval_config"
        )
    inputs = model.signatures[name].structured_input_signature[1]
    if [spec.dtype for spec in inputs.values()] != [tf.string]:
        raise ValueError(
            f"expected signature {name!r} of {path} to take serialized tf.Examples alone; got {inputs}; "
            "export it so, or name another one in eval_config"
        )
    return model.signatures[name]


def _check_outputs(wanted: set[Any], known: set[str], where: str) -> None:
    if not wanted <= known:
        raise ValueError(
            f"expected {sorted(wanted)} among the outputs of {where}; got {sorted(known)}; "
            "export the model with it, or correct eval_config"
        )


def _column(name: str, values: tf.Tensor, batch: int) -> tf.Tensor:
    """The values as [batch]."""
    if values.shape.num_elements() != batch:
        raise ValueError(
            f"expected one value of {name!r} for each of {batch} examples; got the shape {values.shape}; "
            "have the model's signature answer each example once"
        )
    return tf.reshape(values, [batch])


def _slices(name: str | None, values: dict[str, tf.Tensor], batch: int) -> tuple[np.ndarray, tuple[SliceKey, ...]]:
    """Int32 [batch], and the slices that these are positions in."""
    if name is None:
        return np.zeros(batch, np.int32), (OVERALL,)
    found, codes = tf.unique(_column(name, values[name], batch))
    return codes.numpy(), tuple(((name, tf.compat.as_text(value)),) for value in found.numpy())


def read_scored(
    scorer: Scorer, path: str, *, batch_rows: int = example_files.BATCH, block_rows: int = BLOCK_ROWS
) -> Iterator[ScoredRatings]:
    """Scores a TFRecord file of tf.Examples, gzipped if its name says so.

    Args:
      scorer: the models.
      path: the file.
      batch_rows: examples that the models are asked about at once.
      block_rows: a block is full with the batch that reaches this number.

    Yields:
      blocks of rows, in the order of the file.
    """
    parts: list[ScoredRatings] = []
    for examples in example_files.read_serialized(path, batch_rows):
        parts.append(scorer.score(examples))
        if sum(map(len, parts)) >= block_rows:
            yield columnar_metrics.concatenate(parts)
            parts = []
    if parts:
        yield columnar_metrics.concatenate(parts)


class _ScoreFiles(beam.DoFn):
    """Turns paths of files of examples into scored ratings, keyed by bucket of queries."""

    def __init__(self, model_paths: Sequence[str], scoring: Scoring) -> None:
        self._model_paths = model_paths
        self._scoring = scoring
        self._loaded = shared.Shared()

    def setup(self) -> None:
        # A process may have many instances of this class, one a thread; they share the models.
        self._scorer = self._loaded.acquire(lambda: Scorer(self._model_paths, self._scoring))

    def process(self, path: str) -> Iterator[tuple[int, ScoredRatings]]:
        for block in read_scored(self._scorer, path):
            yield from columnar_metrics.split_by_query(block, BUCKETS)


def _measure(bucket: tuple[int, Any], depths: Sequence[int]) -> dict[SliceKey, SliceSums]:
    return columnar_metrics.sum_by_slice(columnar_metrics.concatenate(list(bucket[1])), depths)


def _write_sums(sums: dict[SliceKey, SliceSums], path: str) -> None:
    with filesystems.FileSystems.create(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as file:
        file.write(pickle.dumps(sums))


def write_results(
    plan: EvaluationPlan, sums: dict[SliceKey, SliceSums], folder: str, *, data: str, models: dict[str, str]
) -> tfma.ValidationResult:
    """Validates metrics, and writes them the way TFMA does.

    Args:
      plan: which metrics, and their thresholds.
      sums: of each slice.
      folder: where the files go; `tfma.load_eval_result` and its like read it.
      data: what was evaluated, for display.
      models: folder of each model by its name, for display.

    Returns:
      whether the candidate met the thresholds.
    """
    metrics = [(key, plan.metrics(sums[key])) for key in sorted(sums)]
    combine = tfma_writer.CombineValidations(plan.config)
    combined = combine.create_accumulator()
    for slice_metrics in metrics:
        combined = combine.add_input(combined, metrics_validator.validate_metrics(slice_metrics, plan.config))
    validation = combine.extract_output(combined)

    run = config_pb2.EvalRun(
        eval_config=plan.config,
        version=tfma.__version__,
        data_location=data,
        file_format="tfrecords",
        model_locations=models,
    )
    with fileio.open(os.path.join(folder, "eval_config.json"), "w") as file:
        file.write(json_format.MessageToJson(run))
    _write_records(
        os.path.join(folder, "metrics-00000-of-00001.tfrecord"),
        [tfma.writers.convert_slice_metrics_to_proto(each, add_metrics_callbacks=None) for each in metrics],
    )
    _write_records(os.path.join(folder, "validations.tfrecord"), [validation])
    return validation


def _write_records(path: str, records: Sequence[message.Message]) -> None:
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record.SerializeToString())


class Executor(base_beam_executor.BaseBeamExecutor):
    """Scores and measures in a Beam pipeline whose elements are files, then parts of the queries."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates the model, and blesses it if it meets the thresholds.

        Without any threshold in the configuration, nothing is said about the blessing, as with TFX's Evaluator.

        Args:
          input_dict: `examples`, `model` and perhaps `baseline_model`, one artifact each.
          output_dict: `evaluation` and `blessing`.
          exec_properties: `eval_config` and `example_splits`.

        Raises:
          ValueError: the splits hold no example, the examples are no tf.Examples, or the configuration does not fit
            the model or asks for what is not supported.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], config)
        splits = json_utils.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        baseline = None
        if input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
            baseline = artifact_utils.get_single_instance(input_dict[standard_component_specs.BASELINE_MODEL_KEY])
        folder = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])

        plan = EvaluationPlan.of(config, has_baseline=baseline is not None)
        paths = [path_utils.serving_model_path(each.uri) for each in (model, baseline) if each is not None]
        sums = self._evaluate(plan, example_files.split_files(examples, splits), paths, folder)
        validation = write_results(
            plan, sums, folder, data=examples.uri, models=dict(zip(plan.models, paths, strict=True))
        )
        if tfma.metrics.metric_thresholds_from_metrics_specs(plan.config.metrics_specs, eval_config=plan.config):
            blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
            _bless(blessing, model, baseline, blessed=validation.validation_ok)
            if "current_component_id" in exec_properties:
                blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])
        else:
            logging.info("No threshold is configured, so the model is not validated.")

    def _evaluate(
        self, plan: EvaluationPlan, files: list[str], model_paths: list[str], folder: str
    ) -> dict[SliceKey, SliceSums]:
        path = os.path.join(folder, _SUMS_FILE)
        with self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Files" >> beam.Create(files)
                | "Score" >> beam.ParDo(_ScoreFiles(model_paths, plan.scoring))
                | "Buckets" >> beam.GroupByKey()
                | "Measure" >> beam.Map(_measure, plan.depths)
                | "Merge" >> beam.CombineGlobally(columnar_metrics.merge).without_defaults()
                | "WriteSums" >> beam.Map(_write_sums, path)
            )
        if not fileio.exists(path):
            raise ValueError(
                f"expected at least one example to evaluate on; got none in {', '.join(files)}; "
                "give the split ratings, or evaluate on another one"
            )
        with fileio.open(path, "rb") as file:
            sums = pickle.loads(file.read())
        fileio.remove(path)
        return sums


def _bless(blessing: types.Artifact, model: types.Artifact, baseline: types.Artifact | None, *, blessed: bool) -> None:
    """Says whether the model is blessed, and beside which one, as TFX's Evaluator does."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    value = constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


class RatingsEvaluatorSpec(component_spec.ComponentSpec):
    """Those inputs, outputs and parameters of TFX's Evaluator that are supported, and the fingerprint of the code."""

    PARAMETERS = {  # noqa: RUF012
        standard_component_specs.EVAL_CONFIG_KEY: component_spec.ExecutionParameter(type=config_pb2.EvalConfig),
        standard_component_specs.EXAMPLE_SPLITS_KEY: component_spec.ExecutionParameter(type=str),
        _CODE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        standard_component_specs.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        standard_component_specs.BASELINE_MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        standard_component_specs.EVALUATION_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
        standard_component_specs.BLESSING_KEY: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    TYPE_ANNOTATION = Evaluate


class RatingsEvaluator(base_beam_component.BaseBeamComponent):
    """Measures a model of ratings on whole splits by slice, and blesses it if it meets the thresholds.

    A stand-in for TFX's Evaluator that takes a part of what tfma.EvalConfig can say, and refuses the rest: the metrics
    ExampleCount, RootMeanSquaredError, MeanAbsoluteError and, within queries, NDCG; slices by outputs of signatures
    that are named as preprocessing functions; thresholds of any kind. Results are those of TFMA, but for three things:

    - Rows of equal prediction count for NDCG as the mean over all their orders, not in an arbitrary one.
    - A NaN among the predictions makes the NDCG NaN, as it does the other metrics.
    - With a baseline, slices are the candidate's, not the candidate's and the baseline's together.

    ```
    evaluator = RatingsEvaluator(
        examples=examples.outputs["examples"], model=trainer.outputs["model"], example_splits=["test"],
        eval_config=config_pb2.EvalConfig(...),
    )
    ```

    Outputs:
      evaluation: metrics, validation and configuration, as `tfma.load_eval_result` and its like read them.
      blessing: whether the model met the thresholds, in the properties and the file that TFX's Evaluator writes.
    """

    SPEC_CLASS = RatingsEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        *,
        eval_config: config_pb2.EvalConfig,
        baseline_model: types.BaseChannel | None = None,
        example_splits: Sequence[str] = ("eval",),
        code_fingerprint: str = "",
    ) -> None:
        """Builds the component.

        Args:
          examples: tf.Examples.
          model: the candidate, a SavedModel with the signatures that the configuration names.
          eval_config: metrics, slices and thresholds.
          baseline_model: the model to compare with; change thresholds do not count without one.
          example_splits: what to evaluate on.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.

        Raises:
          ValueError: the configuration asks for what is not supported; see `EvaluationPlan.of`.
        """
        EvaluationPlan.of(eval_config, has_baseline=baseline_model is not None)
        super().__init__(
            RatingsEvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                eval_config=eval_config,
                example_splits=json_utils.dumps(list(example_splits)),
                code_fingerprint=code_fingerprint,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
