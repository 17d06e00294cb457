"""Sums over the ratings of each user, or of each title, as batched products of dense matrices.

Rows are sorted by their number of ratings and dealt out into buckets of about equal ones. Within a bucket every row is
padded to the longest, so that what the ratings need is one gather and one batched product: all cores work, and every
operation has a deterministic kernel on GPUs, which a product with a sparse matrix has not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# A row is padded to at most this multiple of its ratings, but in buckets that are small; the larger, the fewer buckets.
_PADDING = 1.5
_SMALL = 4096  # padded ratings
# Numbers gathered at once: 4 MB, which caches hold; it bounds the memory of a step, too.
_BUCKET_NUMBERS = 1 << 20


# Of the function of a bucket: its columns, targets and rows.
_BUCKET = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)]


class Sums(NamedTuple):
    """Sums over the ratings of each row, with z = [1, q], y = target - b and a, b, q of the rating's column.

    Attributes:
      products: float32 [rows, size + 1, size + 1], in the first rows and columns the sum of a z z^T; the last row and
        column are left over.
      target: float32 [rows, size], sum of a y z.
      square: float32 [rows], sum of a y^2.
    """

    products: tf.Tensor
    target: tf.Tensor
    square: tf.Tensor


class Bucket(NamedTuple):
    """Rows of about equally many ratings.

    Attributes:
      rows: int32 [rows].
      columns: int32 [rows, width]; behind a row's last rating, the number of columns.
      ratings: int32 [rows, width], positions of the ratings; behind the last, the number of ratings.
    """

    rows: np.ndarray
    columns: np.ndarray
    ratings: np.ndarray


class BucketedRatings:
    """The ratings of every row, in buckets.

    Attributes:
      count: int64 [rows], ratings of each.
    """

    def __init__(self, row: np.ndarray, column: np.ndarray, *, rows: int, columns: int, size: int) -> None:
        """Deals the rows out.

        Args:
          row: int [ratings], in any order.
          column: int [ratings].
          rows: their number; some may have no rating.
          columns: their number.
          size: length of z, which bounds the memory of a step.
        """
        self.count = np.bincount(row, minlength=rows)
        self._buckets = deal(row, column, self.count, columns, max(1, _BUCKET_NUMBERS // (size + 1)))
        self._columns = [tf.constant(bucket.columns) for bucket in self._buckets]
        self._targets = [tf.Variable(tf.zeros(bucket.ratings.shape)) for bucket in self._buckets]
        order = np.concatenate([bucket.rows for bucket in self._buckets])
        self._places = tf.constant(np.argsort(order, kind="stable").astype(np.int32))
        self._rows = [tf.constant(bucket.rows) for bucket in self._buckets]

    def set_targets(self, target: np.ndarray) -> None:
        """Sets the target of each rating, float [ratings], in the order in which they were given."""
        padded = np.append(target, 0.0).astype(np.float32)
        for variable, bucket in zip(self._targets, self._buckets, strict=True):
            variable.assign(padded[bucket.ratings])

    def map(
        self, vectors: tf.Tensor, precision: tf.Tensor, function: Callable[[Sums, tf.Tensor], tuple[tf.Tensor, ...]]
    ) -> list[tf.Tensor]:
        """What a function makes of the sums of each bucket.

        Args:
          vectors: float32 [columns, size], [b, q] of each column.
          precision: float32 [columns], a of each.
          function: takes a bucket's sums and its rows, int32 [rows of the bucket]; gives tensors [its rows, ...].

        Returns:
          what it gives, as tensors [rows, ...].
        """
        root = tf.sqrt(precision)[:, tf.newaxis]
        bias, embedding = vectors[:, :1], vectors[:, 1:]
        # The last row is that of the padding.
        weighted = tf.pad(tf.concat([root, root * embedding, root * bias], axis=1), [[0, 1], [0, 0]])

        def of_bucket(columns: tf.Tensor, target: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return function(_sums(tf.gather(weighted, columns), target), rows)

        if not tf.executing_eagerly():
            # Traced and optimised once, and not for every bucket.
            attributes = {"_noinline": True}
            of_bucket = tf.function(
                of_bucket, autograph=False, input_signature=_BUCKET, experimental_attributes=attributes
            )
        parts = [of_bucket(*bucket) for bucket in zip(self._columns, self._targets, self._rows, strict=True)]
        return [tf.gather(tf.concat(each, axis=0), self._places) for each in zip(*parts, strict=True)]


def _sums(weighted: tf.Tensor, target: tf.Tensor) -> Sums:
    """The sums of rows whose ratings have sqrt(a) [z, b], float32 [rows, width, size + 1], multiplied out.

    With t the target, sum of a y z = sum of a t z - sum of a b z: only what has the size of a row is put together.
    """
    products = tf.matmul(weighted, weighted, transpose_a=True)
    rated = weighted[:, :, 0] * target
    # The vector from the left: the other way round takes three times as long.
    with_target = tf.matmul(rated[:, tf.newaxis], weighted)[:, 0]
    with_residual = with_target - products[:, :, -1]
    square = tf.reduce_sum(rated**2, axis=1) - with_target[:, -1] - with_residual[:, -1]
    return Sums(products=products, target=with_residual[:, :-1], square=square)


def deal(row: np.ndarray, column: np.ndarray, count: np.ndarray, columns: int, most: int) -> list[Bucket]:
    """Deals rows out into buckets by falling count.

    Args:
      row: int [ratings], in any order.
      column: int [ratings].
      count: int [rows], ratings of each row.
      columns: their number.
      most: padded ratings of a bucket, unless a single row has more.

    Returns:
      The buckets, which hold each row once.
    """
    by_row = np.argsort(row, kind="stable")
    padded_columns = np.append(column, columns).astype(np.int32)
    start = np.cumsum(count) - count
    order = np.argsort(-count, kind="stable")
    falling = count[order]
    buckets, first = [], 0
    while first < len(order):
        width = int(falling[first])
        # Rows without ratings have a bucket of their own.
        rated_rows = int(np.searchsorted(-falling, 0)) if width else len(order)
        alike = int(np.searchsorted(-falling, -width / _PADDING, side="right"))
        last = min(max(alike, first + _SMALL // max(width, 1), first + 1), rated_rows)
        last = min(last, first + max(1, most // max(width, 1)))
        rows = order[first:last]
        place = np.arange(width)
        rated = place < count[rows][:, np.newaxis]
        ratings = np.full(rated.shape, len(row), np.int32)
        ratings[rated] = by_row[(start[rows][:, np.newaxis] + place)[rated]]
        buckets.append(Bucket(rows.astype(np.int32), padded_columns[ratings], ratings))
        first = last
    return buckets
