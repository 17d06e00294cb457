"""What several tests share: raw rows, a Transform graph made of them, tf.Example files."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from modules.preprocessing import preprocessing_fn

ROWS = [
    {"user_id": "7", "movie_title": "Alien (1979)", "user_rating": 4.0, "genres": ["Horror", "Sci-Fi"],
     "release_year": [1979], "user_age": [24], "user_gender": ["F"], "user_occupation": ["doctor"],
     "user_zip_code": ["94105"]},
    {"user_id": "7", "movie_title": "Heat (1995)", "user_rating": 3.0, "genres": ["Crime"], "release_year": [1995],
     "user_age": [24], "user_gender": ["F"], "user_occupation": ["doctor"], "user_zip_code": ["94105"]},
    {"user_id": "07", "movie_title": "Heat (1995)", "user_rating": 5.0, "genres": [], "release_year": [],
     "user_age": [], "user_gender": [], "user_occupation": [], "user_zip_code": []},
    {"user_id": "7", "movie_title": "Élan vital", "user_rating": 1.0, "genres": ["Crime"], "release_year": [2031],
     "user_age": [18], "user_gender": ["M"], "user_occupation": ["none"], "user_zip_code": ["9"]},
]  # fmt: skip
REQUIRED = """
  feature { name: "user_id" type: BYTES presence { min_fraction: 1 } shape {} }
  feature { name: "movie_title" type: BYTES presence { min_fraction: 1 } shape {} }
  feature { name: "user_rating" type: FLOAT presence { min_fraction: 1 } shape {} }
"""
OPTIONAL = """
  feature { name: "genres" type: BYTES } feature { name: "release_year" type: INT }
  feature { name: "user_age" type: INT } feature { name: "user_gender" type: BYTES }
  feature { name: "user_occupation" type: BYTES } feature { name: "user_zip_code" type: BYTES }
"""


def analyze(rows: list[dict], schema: str) -> tft.TFTransformOutput:
    """Builds the Transform graph of rows with Beam."""
    metadata = dataset_metadata.DatasetMetadata(text_format.Parse(schema, schema_pb2.Schema()))
    names = {feature.name for feature in metadata.schema.feature}
    rows = [{key: value for key, value in row.items() if key in names} for row in rows]
    folder = tempfile.mkdtemp()
    with tft_beam.Context(temp_dir=tempfile.mkdtemp()):
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(folder)
    metadata_io.write_metadata(metadata, os.path.join(folder, tft.TFTransformOutput.RAW_METADATA_DIR))
    return tft.TFTransformOutput(folder)


def transform(rows: list[dict], schema: str) -> tuple[dict[str, np.ndarray], tft.TFTransformOutput]:
    """Builds the Transform graph of rows and applies it to the same rows."""
    output = analyze(rows, schema)
    raw = tf.io.parse_example([serialize(row) for row in rows], output.raw_feature_spec())
    return {name: value.numpy() for name, value in output.transform_raw_features(raw).items()}, output


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
