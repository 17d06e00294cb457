"""What several tests share: rows of the three tables, a Transform graph made of them, tf.Example files."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from modules import catalogue, dataset, features, serving, side_tables
from modules.preprocessing import preprocessing_fn
from modules.ratings import Ratings
from modules.recommending import RecommendingModel
from modules.side_features import SideFeatures
from modules.trainer import train, train_retrieval

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


def camps(users: int = 30, titles: int = 24) -> tuple[list[dict], list[dict]]:
    """Ratings and titles of two camps: users of even numbers like films of even numbers, the others the odd ones."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "user_id": f"u{user}",
            "movie_title": f"Film {title:02} ({1980 + title})",
            "user_rating": 5.0 if alike else 2.0,
        }
        for user in range(users)
        for title in range(titles)
        if rng.random() < (0.7 if (alike := user % 2 == title % 2) else 0.15)
    ]
    described = [
        {
            "movie_title": f"Film {title:02} ({1980 + title})",
            "genres": ["Odd" if title % 2 else "Even", *(["Old"] if title < 6 else [])],
            "release_year": [1980 + title],
        }
        for title in range(titles)
    ]
    return rows, described


def export_recommending(
    folder: pathlib.Path,
    users: int = 30,
    titles: int = 24,
    upside_down: bool = False,
    renamed: Mapping[str, str] = MappingProxyType({}),
    preset: str = "notebook",
    values: Mapping[str, Any] = MappingProxyType({"epochs": 1}),
) -> str:
    """Exports a model of `camps` that recommends, or the worst first, with its titles table, and returns its path.

    Titles may have other names than there. The model is of a preset, with values over its defaults.
    """
    rows, described = camps(users, titles)
    for row in (*rows, *described):
        row["movie_title"] = renamed.get(row["movie_title"], row["movie_title"])
    output, side = analyze(rows), side_features(titles=described)
    ratings = load(write_examples(folder / "rows.gz", rows), output, side)
    trained = train(ratings, None, preset=preset, values=dict(values), seed=0)
    retrieval, _ = train_retrieval(ratings, None, trained, preset=preset, seed=0)
    if upside_down:
        # What the product has no use for.
        retrieval._coefficients.assign(-retrieval._coefficients)
    path = str(folder / "model")
    serving.export(RecommendingModel(trained.model, output, trained.fitted_on, side, retrieval), path)
    catalogue.write(side_tables.read(write_tables(folder / "tables", titles=described)).titles, path)
    return path


def export_rating(folder: pathlib.Path) -> str:
    """Exports a model of `camps` that rates titles and recommends none, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, described = camps()
    output, side = analyze(rows), side_features(titles=described)
    ratings = load(write_examples(folder / "rows.gz", rows), output, side)
    trained = train(ratings, None, preset="notebook", values={"epochs": 1}, seed=0)
    path = str(folder / "model")
    serving.export(serving.ServingModel(trained.model, output, trained.fitted_on, side), path)
    return path


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
