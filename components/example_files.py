"""Files of tf.Examples, and what is in them a batch at a time.

TFX's own sources hand each example to Beam on its own, which costs some microseconds a row several times over. Here a
file is an element, tf.data reads its records, and tfx_bsl decodes whole batches of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx_bsl.coders import example_coder

from modules import example_shards, paths
from modules.errors import UserError

BATCH = 8192


def split_files(examples: types.Artifact, splits: Sequence[str]) -> list[str]:
    """The files of the splits, each in the order of paths.

    Raises:
      UserError: the examples are no tf.Examples in TFRecord files, or a split has no file.
    """
    payload, file_format = examples_utils.get_payload_format(examples), examples_utils.get_file_format(examples)
    if payload != example_gen_pb2.FORMAT_TF_EXAMPLE or not file_format.startswith("tfrecords"):
        raise UserError(
            f"expected tf.Examples in TFRecord files; got {example_gen_pb2.PayloadFormat.Name(payload)} in "
            f"{file_format} of {examples.uri}; have ExampleGen write them so"
        )
    files = []
    for split in splits:
        files += paths.files_of(artifact_utils.get_split_uri([examples], split))
    return files


def read_serialized(path: str, batch_rows: int = BATCH) -> Iterator[tf.Tensor]:
    """Yields the records of a TFRecord file, string [batch]; it is gzipped if its name says so.

    Raises:
      UserError: at the end, the file does not have the rows that its name says.
    """
    compression = "GZIP" if path.endswith(".gz") else ""
    rows = 0
    for batch in tf.data.TFRecordDataset(path, compression_type=compression).batch(batch_rows).prefetch(1):
        rows += len(batch)
        yield batch
    example_shards.check_rows([path], rows)


def open_writer(path: str) -> tf.io.TFRecordWriter:
    """Opens a new gzipped TFRecord file on any file system that TensorFlow knows, local or `gs://`.

    Inflating takes about the same time at any level; deflating takes three times as long at zlib's default, 6, as at
    1, for files that are smaller by three tenths.
    """
    return tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1))


class Decoder:
    """Turns serialized tf.Examples into columns."""

    def __init__(self, schema: schema_pb2.Schema | None = None):
        """Builds a decoder.

        Args:
          schema: the features to decode, and their types; None for those that a batch has.
        """
        text = [] if schema is None else [schema.SerializeToString()]
        self._decoder = example_coder.ExamplesToRecordBatchDecoder(*text)

    def decode(self, serialized: tf.Tensor) -> pa.RecordBatch:
        """A list column for each feature, [batch] of lists of int64, float32 or bytes; null where it is missing."""
        return self._decoder.DecodeBatch(serialized.numpy().tolist())
