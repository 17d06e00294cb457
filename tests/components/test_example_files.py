"""Files of examples: which ones there are, and what their columns hold, against tf.io.parse_example."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components import example_files
from modules import example_shards
from tests import support


@pytest.fixture
def examples(tmp_path: pathlib.Path) -> standard_artifacts.Examples:
    """Split `train` of two files, `eval` of one, `none` without any."""
    for split, parts in (("train", 2), ("eval", 1), ("none", 0)):
        folder = tmp_path / f"Split-{split}"
        folder.mkdir()
        for part in range(parts):
            support.write_examples(folder / f"data_tfrecord-{part:05}-of-{parts:05}.gz", support.ROWS[part::parts])
    made = standard_artifacts.Examples()
    made.uri, made.split_names = str(tmp_path), artifact_utils.encode_split_names(["train", "eval", "none"])
    return made


def test_files_come_split_by_split_in_the_order_of_their_names(examples: standard_artifacts.Examples) -> None:
    found = [
        str(pathlib.Path(path).relative_to(examples.uri))
        for path in example_files.split_files(examples, ["eval", "train"])
    ]
    assert found == [
        "Split-eval/data_tfrecord-00000-of-00001.gz",
        "Split-train/data_tfrecord-00000-of-00002.gz",
        "Split-train/data_tfrecord-00001-of-00002.gz",
    ]


def test_a_split_without_files_is_refused(examples: standard_artifacts.Examples) -> None:
    with pytest.raises(ValueError, match=r"example files in .*Split-none; got none; run the pipeline again"):
        example_files.split_files(examples, ["train", "none"])


def test_other_payloads_are_refused(examples: standard_artifacts.Examples) -> None:
    examples.set_string_custom_property(
        "payload_format", example_gen_pb2.PayloadFormat.Name(example_gen_pb2.FORMAT_PARQUET)
    )
    with pytest.raises(ValueError, match=r"expected tf\.Examples in TFRecord files; got FORMAT_PARQUET"):
        example_files.split_files(examples, ["train"])


def test_records_come_in_batches_whether_or_not_they_are_compressed(tmp_path: pathlib.Path) -> None:
    records = [support.serialize(row) for row in support.ROWS]
    for name, compression in (("a.gz", "GZIP"), ("a.tfrecord", "")):
        with tf.io.TFRecordWriter(str(tmp_path / name), compression) as writer:
            for record in records:
                writer.write(record)
        batches = [batch.numpy().tolist() for batch in example_files.read_serialized(str(tmp_path / name), 3)]
        assert batches == [records[:3], records[3:]]


def test_a_file_that_lacks_rows_is_noticed_at_its_end(tmp_path: pathlib.Path) -> None:
    whole, cut = (str(tmp_path / example_shards.name_of(0, 1, rows)) for rows in (3, 4))
    for path in (whole, cut):
        with example_files.open_writer(path) as writer:
            for row in support.ROWS[:3]:
                writer.write(support.serialize(row))
    assert [len(batch) for batch in example_files.read_serialized(whole, 2)] == [2, 1]
    batches = example_files.read_serialized(cut, 2)
    assert [len(next(batches)), len(next(batches))] == [2, 1]
    with pytest.raises(ValueError, match=r"expected 4 examples in .*, as the names say; got 3"):
        next(batches)


def test_files_are_written_by_the_fastest_way_of_gzip(tmp_path: pathlib.Path) -> None:
    with example_files.open_writer(str(tmp_path / "a.gz")) as writer:
        writer.write(b"record")
    # RFC 1952, 2.3.1: the magic number, deflate, and as extra flags "compressor used fastest algorithm".
    header = (tmp_path / "a.gz").read_bytes()[:10]
    assert (header[:3], header[8]) == (b"\x1f\x8b\x08", 4)


def test_decoded_columns_hold_what_the_examples_hold() -> None:
    rows = support.ROWS
    decoded = example_files.Decoder().decode(tf.constant([support.serialize(row) for row in rows])).to_pydict()
    assert set(decoded) == set(rows[0])
    for name, column in decoded.items():
        values = [row[name] if isinstance(row[name], list) else [row[name]] for row in rows]
        encoded = [[each.encode() if isinstance(each, str) else each for each in value] for value in values]
        assert column == [value or None for value in encoded]


def test_a_schema_names_the_columns_and_their_types() -> None:
    schema = text_format.Parse(
        'feature { name: "user_age" type: INT } feature { name: "genres" type: BYTES } '
        'feature { name: "user_zip_code" type: BYTES }',
        schema_pb2.Schema(),
    )
    batch = example_files.Decoder(schema).decode(tf.constant([support.serialize({"user_age": [24], "user_id": "7"})]))
    assert batch.to_pydict() == {"user_age": [[24]], "genres": [None], "user_zip_code": [None]}
