"""ColumnarTransform: TFX's Transform for a graph alone, over whole batches of examples.

TFX's component traces the preprocessing function several times more than tf.Transform itself does, to find out what
need not be read, cached or materialised, and lets Beam handle examples one by one. Here tf.Transform's analysis is run
on columns as they are decoded; the graph and the vocabularies are those of TFX's component.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata
from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.system_executions import Transform as TransformExecution
from tfx.utils import io_utils, json_utils
from tfx_bsl.tfxio import tf_example_record

from components import example_files

_ANALYZED_SPLITS_KEY = "analyzed_splits"
_CODE_FINGERPRINT_KEY = "code_fingerprint"
_TEMPORARY_FOLDER = ".temp_path"

PreprocessingFn = Callable[[dict[str, Any]], dict[str, Any]]


class _DecodeFiles(beam.DoFn):
    """Turns paths of files of examples into batches of columns."""

    def __init__(self, schema: schema_pb2.Schema) -> None:
        self._schema = schema

    def setup(self) -> None:
        self._decoder = example_files.Decoder(self._schema)

    def process(self, path: str) -> Iterator[pa.RecordBatch]:
        for serialized in example_files.read_serialized(path):
            yield self._decoder.decode(serialized)


def import_function(path: str) -> PreprocessingFn:
    """The function that a dotted path such as `modules.preprocessing.preprocessing_fn` names.

    Raises:
      ValueError: there is no such function.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ValueError, ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"expected preprocessing_fn to be the dotted path of a function; got {path!r}, which cannot be imported: "
            f"{error}; name it as package.module.function"
        ) from error


class Executor(base_beam_executor.BaseBeamExecutor):
    """Analyzes the examples in a Beam pipeline that starts from files."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the function's graph, its vocabularies, and the metadata of what it takes and gives.

        Args:
          input_dict: `examples` and `schema`, one artifact each.
          output_dict: `transform_graph`, one artifact, which `tft.TFTransformOutput` reads.
          exec_properties: `preprocessing_fn` and `analyzed_splits`.

        Raises:
          ValueError: the function cannot be imported, the examples are no tf.Examples in TFRecord files, or a split
            has no file.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        schema_uri = artifact_utils.get_single_uri(input_dict[standard_component_specs.SCHEMA_KEY])
        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema_uri))
        output = artifact_utils.get_single_uri(output_dict[standard_component_specs.TRANSFORM_GRAPH_KEY])
        preprocessing_fn = import_function(exec_properties[standard_component_specs.PREPROCESSING_FN_KEY])
        files = example_files.split_files(examples, json_utils.loads(exec_properties[_ANALYZED_SPLITS_KEY]))
        tensors = tf_example_record.TFExampleRecord(files, schema=schema).TensorAdapterConfig()
        temporary = os.path.join(output, _TEMPORARY_FOLDER)
        with (
            self._make_beam_pipeline() as pipeline,
            tft_beam.Context(temp_dir=temporary, use_deep_copy_optimization=True),
        ):
            columns = pipeline | "Files" >> beam.Create(files) | "Decode" >> beam.ParDo(_DecodeFiles(schema))
            graph = (columns, tensors) | "Analyze" >> tft_beam.AnalyzeDataset(preprocessing_fn)
            _ = graph | "WriteGraph" >> tft_beam.WriteTransformFn(output)
            _ = dataset_metadata.DatasetMetadata(schema) | "WriteInputMetadata" >> tft_beam.WriteMetadata(
                os.path.join(output, tft.TFTransformOutput.RAW_METADATA_DIR), pipeline
            )
        io_utils.delete_dir(temporary)


class ColumnarTransformSpec(component_spec.ComponentSpec):
    """Those inputs, outputs and parameters of TFX's Transform that are supported, and the fingerprint of the code."""

    PARAMETERS = {  # noqa: RUF012
        standard_component_specs.PREPROCESSING_FN_KEY: component_spec.ExecutionParameter(type=str),
        _ANALYZED_SPLITS_KEY: component_spec.ExecutionParameter(type=str),
        _CODE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        standard_component_specs.SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {  # noqa: RUF012
        standard_component_specs.TRANSFORM_GRAPH_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.TransformGraph
        )
    }
    TYPE_ANNOTATION = TransformExecution


class ColumnarTransform(base_beam_component.BaseBeamComponent):
    """Works out a preprocessing function's graph on splits of tf.Examples; transforms none.

    ```
    transform = ColumnarTransform(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"],
        preprocessing_fn="modules.preprocessing.preprocessing_fn", analyzed_splits=["train"],
    )
    ```

    Outputs:
      transform_graph: as TFX's Transform writes it; `tft.TFTransformOutput` reads it.
    """

    SPEC_CLASS = ColumnarTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        *,
        preprocessing_fn: str,
        analyzed_splits: list[str],
        code_fingerprint: str = "",
    ) -> None:
        """Builds the component.

        Args:
          examples: tf.Examples.
          schema: of the examples.
          preprocessing_fn: dotted path of the function, which takes and gives dicts of tensors by name.
          analyzed_splits: the splits that vocabularies and the like are worked out on.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            ColumnarTransformSpec(
                examples=examples,
                schema=schema,
                preprocessing_fn=preprocessing_fn,
                analyzed_splits=json_utils.dumps(analyzed_splits),
                code_fingerprint=code_fingerprint,
                transform_graph=types.Channel(type=standard_artifacts.TransformGraph),
            )
        )
