"""The side tables in memory: what is known of titles and users, rated or not, as columns of raw values."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from modules import features, paths

# An exported model's assets `user_id` and `movie_title` list, one a line, what was rated, the most rated first. Those
# with this in front of the name list what else the side tables have; there is none where all was rated.
UNRATED_PREFIX = "unrated_"
_READ_BATCH = 16384
_DTYPES = {"string": tf.string, "int": tf.int64, "float": tf.float32}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideTable:
    """One side table.

    Attributes:
      ids: the table's key column, bytes [rows], each of them once.
      columns: by name, every other column of the table: sparse [rows, values], without values where nothing is known.
    """

    ids: list[bytes]
    columns: dict[str, tf.SparseTensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideTables:
    """Both side tables; either may be without rows."""

    titles: SideTable
    users: SideTable


def column_spec(table: features.Table) -> dict[str, tf.io.VarLenFeature]:
    """How `tf.io.parse_example` reads the columns of a side table beside its key: any of them may be absent."""
    return {column.name: tf.io.VarLenFeature(_DTYPES[column.dtype]) for column in table.columns[1:]}


def parse(table: features.Table, serialized: tf.Tensor) -> SideTable:
    """Reads the rows of a table out of serialized tf.Examples, string [rows]."""
    spec = {table.key.name: tf.io.FixedLenFeature([], tf.string), **column_spec(table)}
    columns = tf.io.parse_example(serialized, spec)
    return SideTable(ids=columns.pop(table.key.name).numpy().tolist(), columns=columns)


def read(folder: str | None) -> SideTables:
    """Reads the tables from gzipped TFRecords of tf.Examples, in the folders `Split-titles` and `Split-users`.

    Memory: the whole tables at once.

    Args:
      folder: that of an artifact of Examples; None reads tables without rows.

    Raises:
      ValueError: a split has no file.
    """
    return SideTables(**{table.name: parse(table, _records(folder, table.name)) for table in features.SIDE_TABLES})


def _records(folder: str | None, split: str) -> tf.Tensor:
    if folder is None:
        return tf.zeros([0], tf.string)
    files = paths.files_of(os.path.join(folder, f"Split-{split}"))
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_READ_BATCH)
    return tf.concat([tf.zeros([0], tf.string), *batches], axis=0)
