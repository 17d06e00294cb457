"""ColumnarTransform against TFX's own Transform on the same examples."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.transform import executor as tfx_transform
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import transform_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components import columnar_transform
from tests import support

PREPROCESSING_FN = "modules.preprocessing.preprocessing_fn"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Split `train` of two files, `eval` of one, `test` with a title that must not come into a vocabulary."""
    folder = tmp_path_factory.mktemp("examples")
    new = {**support.ROWS[0], "movie_title": "Only in test"}
    parts = {"train": (support.ROWS[:2], support.ROWS[2:3] * 3), "eval": (support.ROWS[3:],), "test": ([new],)}
    for split, files in parts.items():
        (folder / f"Split-{split}").mkdir()
        for number, rows in enumerate(files):
            support.write_examples(folder / f"Split-{split}" / f"data_tfrecord-{number:05}-of-{len(files):05}.gz", rows)
    examples, schema = standard_artifacts.Examples(), standard_artifacts.Schema()
    examples.uri, examples.split_names = str(folder), artifact_utils.encode_split_names(list(parts))
    schema.uri = str(tmp_path_factory.mktemp("schema"))
    pathlib.Path(schema.uri, "schema.pbtxt").write_text(support.SCHEMA)
    return {"examples": [examples], "schema": [schema]}


def analyze(
    executor: type[base_beam_executor.BaseBeamExecutor],
    inputs: dict[str, list[Any]],
    folder: pathlib.Path,
    **exec_properties: Any,
) -> tft.TFTransformOutput:
    graph = standard_artifacts.TransformGraph()
    graph.uri = str(folder / "graph")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    properties = {"preprocessing_fn": PREPROCESSING_FN, **exec_properties}
    executor(context).Do(inputs, {"transform_graph": [graph]}, properties)
    return tft.TFTransformOutput(graph.uri)


@pytest.fixture(scope="module")
def ours(inputs: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    return analyze(
        columnar_transform.ColumnarTransform.EXECUTOR_SPEC.executor_class,
        inputs,
        tmp_path_factory.mktemp("ours"),
        analyzed_splits='["train", "eval"]',
        code_fingerprint="",
    )


@pytest.fixture(scope="module")
def theirs(inputs: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    splits = transform_pb2.SplitsConfig(analyze=["train", "eval"])
    return analyze(
        tfx_transform.Executor,
        inputs,
        tmp_path_factory.mktemp("theirs"),
        splits_config=proto_utils.proto_to_json(splits),
        custom_config="null",
        disable_statistics=1,
    )


@pytest.mark.parametrize("name", ["user_id", "movie_title"])
def test_vocabularies_are_those_of_tfx(ours: tft.TFTransformOutput, theirs: tft.TFTransformOutput, name: str) -> None:
    assert ours.vocabulary_by_name(name) == theirs.vocabulary_by_name(name)
    assert ours.vocabulary_size_by_name(name) == len(ours.vocabulary_by_name(name)) > 1


def test_splits_that_are_not_analyzed_leave_no_trace(ours: tft.TFTransformOutput) -> None:
    assert ours.vocabulary_by_name("movie_title") == [b"Heat (1995)", "Élan vital".encode(), b"Alien (1979)"]


def test_the_graph_transforms_as_that_of_tfx(ours: tft.TFTransformOutput, theirs: tft.TFTransformOutput) -> None:
    serialized = tf.constant([support.serialize(row) for row in support.ROWS])
    one, other = (
        each.transform_raw_features(tf.io.parse_example(serialized, each.raw_feature_spec())) for each in (ours, theirs)
    )
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())


def test_metadata_are_those_of_tfx(ours: tft.TFTransformOutput, theirs: tft.TFTransformOutput) -> None:
    assert ours.raw_metadata.schema == theirs.raw_metadata.schema
    assert ours.transformed_metadata.schema == theirs.transformed_metadata.schema


def test_nothing_temporary_is_left(ours: tft.TFTransformOutput) -> None:
    folder = pathlib.Path(ours.transform_savedmodel_dir).parent
    assert sorted(path.name for path in folder.iterdir()) == ["metadata", "transform_fn", "transformed_metadata"]


@pytest.mark.parametrize("path", ["modules.preprocessing.nothing", "no.such.module", "preprocessing_fn"])
def test_a_function_that_cannot_be_imported_is_refused(path: str) -> None:
    with pytest.raises(
        ValueError, match=f"expected preprocessing_fn to be the dotted path of a function; got '{path}'"
    ):
        columnar_transform.import_function(path)


def test_an_error_within_the_functions_own_module_is_not_hidden(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_faults.py").write_text("import a_library_that_is_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="No module named 'a_library_that_is_not_installed'"):
        columnar_transform.import_function("module_of_faults.preprocessing_fn")
