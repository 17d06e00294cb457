"""What several tests share: rows of the three tables, a Transform graph made of them, tf.Example files."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from modules import dataset, features, side_tables
from modules.preprocessing import preprocessing_fn
from modules.ratings import Ratings
from modules.side_features import SideFeatures

ROWS = [
    {"user_id": "7", "movie_title": "Alien (1979)", "user_rating": 4.0, "timestamp": [978300760]},
    {"user_id": "7", "movie_title": "Heat (1995)", "user_rating": 3.0, "timestamp": [978302109]},
    {"user_id": "07", "movie_title": "Heat (1995)", "user_rating": 5.0, "timestamp": []},
    {"user_id": "7", "movie_title": "Élan vital", "user_rating": 1.0, "timestamp": [978301968]},
]
# The side tables of these ratings, with what nobody rated, and without what is not known.
TITLES = [
    {"movie_title": "Heat (1995)", "genres": ["Crime"], "release_year": [1995]},
    {"movie_title": "Alien (1979)", "genres": ["Horror", "Sci-Fi"], "release_year": [1979]},
    {"movie_title": "Élan vital", "genres": ["Crime"], "release_year": [2031]},
    {"movie_title": "Aliens (1986)", "genres": ["Sci-Fi", "Horror", "Action"], "release_year": [1986]},
    {"movie_title": "Untold", "genres": [], "release_year": []},
]
USERS = [
    {"user_id": "7", "user_age": [24], "user_gender": ["F"], "user_occupation": ["doctor"], "user_zip_code": ["94105"]},
    {"user_id": "8", "user_age": [18], "user_gender": ["M"], "user_occupation": ["none"], "user_zip_code": ["9"]},
]
SCHEMA = """
  feature { name: "user_id" type: BYTES presence { min_fraction: 1 } shape {} }
  feature { name: "movie_title" type: BYTES presence { min_fraction: 1 } shape {} }
  feature { name: "user_rating" type: FLOAT presence { min_fraction: 1 } shape {} }
  feature { name: "timestamp" type: INT }
"""


def analyze(rows: list[dict], schema: str = SCHEMA) -> tft.TFTransformOutput:
    """Builds the Transform graph of rows with Beam."""
    metadata = dataset_metadata.DatasetMetadata(text_format.Parse(schema, schema_pb2.Schema()))
    rows = [{"timestamp": [], **row} for row in rows]
    folder = tempfile.mkdtemp()
    with tft_beam.Context(temp_dir=tempfile.mkdtemp()):
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(folder)
    metadata_io.write_metadata(metadata, os.path.join(folder, tft.TFTransformOutput.RAW_METADATA_DIR))
    return tft.TFTransformOutput(folder)


def write_tables(folder: pathlib.Path, titles: list[dict] = (), users: list[dict] = ()) -> str:
    """Writes side tables the way TablesExampleGen does, and returns the folder."""
    for name, rows in (("titles", titles), ("users", users)):
        (folder / f"Split-{name}").mkdir(parents=True)
        write_examples(folder / f"Split-{name}" / "data_tfrecord-00000-of-00001.gz", rows)
    return str(folder)


def side_features(titles: list[dict] = (), users: list[dict] = ()) -> SideFeatures:
    """The features of side tables with these rows."""
    parts = ((features.TITLES, titles), (features.USERS, users))
    tables = {
        table.name: side_tables.parse(table, tf.constant([serialize(row) for row in rows], tf.string))
        for table, rows in parts
    }
    return SideFeatures(side_tables.SideTables(**tables))


def load(path: str, output: tft.TFTransformOutput, side: SideFeatures, low: float = 1.0, high: float = 5.0) -> Ratings:
    """The ratings of a file of examples."""
    return dataset.load_ratings([path], output, side, low=low, high=high, report=lambda _: None)


def serialize(row: dict) -> bytes:
    def feature(value: object) -> tf.train.Feature:
        values = value if isinstance(value, list) else [value]
        if values and isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        if values and isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(each).encode() for each in values]))

    kept = {key: feature(value) for key, value in row.items() if value != []}
    return tf.train.Example(features=tf.train.Features(feature=kept)).SerializeToString()


def write_examples(path: pathlib.Path, rows: list[dict]) -> str:
    """Writes rows the way ExampleGen does, and returns the path."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            writer.write(serialize(row))
    return str(path)


def operations_of(function: Any) -> set[str]:
    """Types of the operations of a graph and of the functions that it calls."""
    return _operations(function.get_concrete_function().graph.as_graph_def())


def operations_run(action: Callable[[], object], folder: pathlib.Path) -> set[str]:
    """Types of the operations of all graphs that an action runs; the trace of them is left in the folder."""
    tf.summary.trace_on(graph=True, profiler=False)
    with tf.summary.create_file_writer(str(folder)).as_default():
        try:
            action()
        finally:
            tf.summary.trace_export("graphs", step=0)
    traces = [
        tf.compat.v1.RunMetadata.FromString(value.tensor.string_val[0])
        for path in folder.glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    graphs = [graphs.pre_optimization_graph for trace in traces for graphs in trace.function_graphs]
    return set().union(*map(_operations, graphs))


def _operations(graph: tf.compat.v1.GraphDef) -> set[str]:
    called = [node for each in graph.library.function for node in each.node_def]
    return {node.op for node in (*graph.node, *called)}
