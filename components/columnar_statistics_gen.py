"""ColumnarStatisticsGen: TFX's StatisticsGen, in a Beam pipeline of a few stages for all splits together.

TensorFlow Data Validation (TFDV) sets up some 150 Beam transforms a split, which takes longer than reading MovieLens
100K does, and Beam hands it examples one by one. Here TFDV's statistics generators are given the files in whole
batches, and what they make of the files is merged. The statistics are TFDV's.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow_data_validation as tfdv
from apache_beam.io import filesystem, filesystems
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators import basic_stats_generator as basic
from tensorflow_data_validation.statistics.generators import top_k_uniques_sketch_stats_generator as top_k
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.components.statistics_gen import executor
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.system_executions import Process

from components import example_files

_CODE_FINGERPRINT_KEY = "code_fingerprint"

# Distinct values of a text column up to which their number and the counts of the most frequent ones are exact; of more,
# they are estimated (KMV and Misra-Gries sketches).
EXACT_VALUES = 1 << 16

# One accumulator a statistics generator.
Partial = list[Any]


@functools.cache
def _generators() -> tuple[tfdv.CombinerStatsGenerator, ...]:
    """What TFDV works out by default."""
    options = tfdv.StatsOptions()
    generators = (
        basic.BasicStatsGenerator(
            num_values_histogram_buckets=options.num_values_histogram_buckets,
            num_histogram_buckets=options.num_histogram_buckets,
            num_quantiles_histogram_buckets=options.num_quantiles_histogram_buckets,
            epsilon=options.epsilon,
        ),
        top_k.TopKUniquesSketchStatsGenerator(
            num_top_values=options.num_top_values,
            num_rank_histogram_buckets=options.num_rank_histogram_buckets,
            frequency_threshold=options.frequency_threshold,
            num_misragries_buckets=EXACT_VALUES,
            num_kmv_buckets=EXACT_VALUES,
        ),
    )
    for generator in generators:
        generator.setup()
    return generators


def measure(path: str) -> Partial:
    """What the generators make of a file of tf.Examples."""
    decoder = example_files.Decoder()
    partial = [generator.create_accumulator() for generator in _generators()]
    for serialized in example_files.read_serialized(path):
        batch = decoder.decode(serialized)
        partial = [
            generator.add_input(accumulator, batch)
            for generator, accumulator in zip(_generators(), partial, strict=True)
        ]
    return _compact(partial)


def merge(partials: Iterable[Partial]) -> Partial:
    """What the generators make of several files together."""
    by_generator = zip(*partials, strict=True)
    return _compact(
        [
            generator.merge_accumulators(accumulators)
            for generator, accumulators in zip(_generators(), by_generator, strict=True)
        ]
    )


def _compact(partial: Partial) -> Partial:
    return [generator.compact(accumulator) for generator, accumulator in zip(_generators(), partial, strict=True)]


def extract(partial: Partial) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics, features in the order of their names."""
    statistics = stats_impl.extract_statistics_output(partial, list(_generators()))
    for dataset in statistics.datasets:
        dataset.features.sort(key=lambda feature: tuple(feature.path.step) or (feature.name,))
    return statistics


def _write(partial: Partial, path: str) -> None:
    with filesystems.FileSystems.create(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as file:
        file.write(extract(partial).SerializeToString(deterministic=True))


class Executor(base_beam_executor.BaseBeamExecutor):
    """Describes the splits in one Beam pipeline whose elements are files."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the statistics of each split to the file that TFX's StatisticsGen writes.

        Args:
          input_dict: `examples`, one artifact.
          output_dict: `statistics`, one artifact, which gets the splits and the span of the examples.
          exec_properties: not read.

        Raises:
          ValueError: the examples are no tf.Examples in TFRecord files, or a split has no file.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        statistics = artifact_utils.get_single_instance(output_dict[standard_component_specs.STATISTICS_KEY])
        statistics.split_names, statistics.span = examples.split_names, examples.span
        splits = artifact_utils.decode_split_names(examples.split_names)
        files = [(split, path) for split in splits for path in example_files.split_files(examples, [split])]
        outputs = {
            split: os.path.join(artifact_utils.get_split_uri([statistics], split), executor.DEFAULT_FILE_NAME)
            for split in splits
        }
        with self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Files" >> beam.Create(files)
                | "Measure" >> beam.MapTuple(lambda split, path: (split, measure(path)))
                | "Merge" >> beam.CombinePerKey(merge)
                | "Write" >> beam.MapTuple(lambda split, partial: _write(partial, outputs[split]))
            )


class ColumnarStatisticsGenSpec(component_spec.ComponentSpec):
    """Those inputs and outputs of TFX's StatisticsGen that are supported, and the fingerprint of the code."""

    PARAMETERS = {  # noqa: RUF012
        _CODE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str)
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }
    OUTPUTS = {  # noqa: RUF012
        standard_component_specs.STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        )
    }
    TYPE_ANNOTATION = Process


class ColumnarStatisticsGen(base_beam_component.BaseBeamComponent):
    """Describes every split of tf.Examples, with TFDV's default statistics.

    ```
    statistics_gen = ColumnarStatisticsGen(examples=example_gen.outputs["examples"])
    ```

    Outputs:
      statistics: tfmd.DatasetFeatureStatisticsList of each split, as TFX's StatisticsGen writes them.
    """

    SPEC_CLASS = ColumnarStatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: types.BaseChannel, *, code_fingerprint: str = "") -> None:
        """Builds the component.

        Args:
          examples: tf.Examples.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            ColumnarStatisticsGenSpec(
                examples=examples,
                code_fingerprint=code_fingerprint,
                statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
            )
        )
