"""Feature vectors of users and titles, made of the side tables' columns.

The same operations make them of whole tables when a model is fitted, and of the columns that a request carries in the
exported graph.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from modules import features
from modules.side_tables import SideTable, SideTables

# Positions from the end of a feature vector: 1 where any other feature is not zero; 1 for rows of the side tables.
DESCRIBED, LISTED = -2, -1


class SideFeatures:
    """Makes the feature vectors, and holds those of the side tables.

    A user's vector, float32 [features.USER_FEATURES_SIZE], is one-hot for the bin of the age, then multi-hot for the
    categories. A title's, float32 [features.TITLE_FEATURES_SIZE], is likewise made of release year and genres, the
    latter divided by the square root of their number, so that a film of five genres does not weigh more than one of
    one. All is zero where nothing is known. Two flags end each, DESCRIBED and LISTED.

    The categories are the `features.CATEGORIES_LIMIT` values that most rows of the side tables have.

    Memory: the vectors of the whole tables.

    Attributes:
      categories: texts `column=value`, the most frequent first, then in alphabetical order.
      lookup: position of each category; an exported object has to track it.
    """

    def __init__(self, tables: SideTables) -> None:
        """Chooses the categories, and makes the vectors of the tables."""
        self.categories = _most_frequent(tables)
        # TensorFlow takes no table without keys; no category is an empty text.
        positions = {category: position for position, category in enumerate(self.categories)}
        positions[b""] = features.CATEGORIES_LIMIT
        self.lookup = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(list(positions), list(positions.values()), tf.string, tf.int64),
            default_value=features.CATEGORIES_LIMIT,
        )
        self._ids = {
            table.name: {name: row for row, name in enumerate(side.ids)}
            for table, side in ((features.USERS, tables.users), (features.TITLES, tables.titles))
        }
        self._vectors = {
            features.USERS.name: self.users(tables.users.columns, len(tables.users.ids)).numpy(),
            features.TITLES.name: self.titles(tables.titles.columns, len(tables.titles.ids)).numpy(),
        }

    def users(self, columns: Mapping[str, tf.SparseTensor], batch: int | tf.Tensor) -> tf.Tensor:
        """Float32 [batch, features.USER_FEATURES_SIZE] of the users table's columns, sparse [batch, values] by name."""
        ages = _bins(columns[features.USER_AGE.name], features.AGE_BOUNDARIES, batch)
        return _flagged(ages, self._multi_hot(_categories(columns, features.USER_CATEGORIES), batch))

    def titles(self, columns: Mapping[str, tf.SparseTensor], batch: int | tf.Tensor) -> tf.Tensor:
        """Float32 [batch, features.TITLE_FEATURES_SIZE] of the titles table's columns, sparse [batch, values]."""
        years = _bins(columns[features.RELEASE_YEAR.name], features.YEAR_BOUNDARIES, batch)
        genres = self._multi_hot(_categories(columns, features.TITLE_CATEGORIES), batch)
        genres /= tf.sqrt(tf.maximum(tf.reduce_sum(genres, axis=1, keepdims=True), 1.0))
        return _flagged(years, genres)

    def of_ids(self, table: features.Table, ids: Sequence[bytes]) -> np.ndarray:
        """Float32 [ids, size] of what a side table says of users or titles; zeros for ids that it does not have."""
        rows, vectors = self._ids[table.name], self._vectors[table.name]
        found = np.array([rows.get(each, -1) for each in ids], np.int64)
        made = np.zeros((len(found), vectors.shape[1]), np.float32)
        made[found >= 0] = vectors[found[found >= 0]]
        made[found >= 0, LISTED] = 1.0
        return made

    def ids_beside(self, table: features.Table, ids: Iterable[bytes]) -> list[bytes]:
        """A side table's ids other than these, in its order.

        Empty ids and those with a line break are left out, as a vocabulary of tf.Transform leaves them out.
        """
        left_out = {b"", *ids}
        return [
            each for each in self._ids[table.name] if each not in left_out and b"\n" not in each and b"\r" not in each
        ]

    def beside(self, table: features.Table, ids: Iterable[bytes]) -> np.ndarray:
        """Float32 [rows, size] of what a side table says of `ids_beside` these."""
        return self.of_ids(table, self.ids_beside(table, ids))

    def _multi_hot(self, categories: tf.SparseTensor, batch: int | tf.Tensor) -> tf.Tensor:
        # What is no category counts in a column more, which goes. A value that stands twice is there once.
        counts = _count(categories, self.lookup.lookup(categories.values), features.CATEGORIES_LIMIT + 1, batch)
        return tf.minimum(counts[:, :-1], 1.0)


def _flagged(*parts: tf.Tensor) -> tf.Tensor:
    """Float32 [batch, size]: the parts side by side, and behind them DESCRIBED and LISTED, the latter zero."""
    vectors = tf.concat(parts, axis=1)
    is_described = tf.reduce_any(vectors != 0.0, axis=1, keepdims=True)
    return tf.concat([vectors, tf.cast(is_described, tf.float32), tf.zeros_like(vectors[:, :1])], axis=1)


def _most_frequent(tables: SideTables) -> list[bytes]:
    """The categories that most rows have; of equally many the first in alphabetical order."""
    rows: collections.Counter[bytes] = collections.Counter()
    sides: tuple[tuple[SideTable, Sequence[features.Column]], ...] = (
        (tables.users, features.USER_CATEGORIES),
        (tables.titles, features.TITLE_CATEGORIES),
    )
    for side, columns in sides:
        named = _categories(side.columns, columns)
        pairs = set(zip(named.indices[:, 0].numpy().tolist(), named.values.numpy().tolist(), strict=True))
        rows.update(category for _, category in pairs)
    return sorted(rows, key=lambda category: (-rows[category], category))[: features.CATEGORIES_LIMIT]


def _categories(columns: Mapping[str, tf.SparseTensor], names: Sequence[features.Column]) -> tf.SparseTensor:
    """The values of some columns side by side, string [batch, values], each behind its column's name."""
    named = []
    for column in names:
        values = columns[column.name]
        # Of a postal code only the first character counts: the area.
        area = column is features.USER_ZIP_CODE
        text = tf.strings.substr(values.values, 0, 1, unit="UTF8_CHAR") if area else values.values
        named.append(values.with_values(tf.strings.join([column.name, text], separator="=")))
    return tf.sparse.concat(1, named)


def _bins(values: tf.SparseTensor, boundaries: Sequence[float], batch: int | tf.Tensor) -> tf.Tensor:
    """One-hot float32 [batch, boundaries + 1] of the bin each value falls into; zeros where there is none."""
    bins = tf.searchsorted(list(boundaries), tf.cast(values.values, tf.float32), side="right")
    return _count(values, tf.cast(bins, tf.int64), len(boundaries) + 1, batch)


def _count(sparse: tf.SparseTensor, positions: tf.Tensor, depth: int, batch: int | tf.Tensor) -> tf.Tensor:
    """Float32 [batch, depth]: how often each position, int64 [values], occurs among a row's values."""
    indices = tf.stack([sparse.indices[:, 0], positions], axis=1)
    shape = tf.stack([tf.cast(batch, tf.int64), depth])
    return tf.ensure_shape(tf.scatter_nd(indices, tf.ones_like(positions, tf.float32), shape), [None, depth])
