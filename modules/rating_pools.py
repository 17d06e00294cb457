"""Sums of vectors over what each user has rated, and over who has rated each title, that gradients flow through.

For users, and with the roles exchanged for titles:
  total_u = sum over the visible ratings j of u of (d_uj y_j + z_j),   count_u = their number.

There are two ways, with the same results up to rounding. On CPUs it is a product with a sparse matrix, which does one
multiplication a number and holds nothing else. That product, and its gradient, have no deterministic kernel on GPUs:
they raise an error while operations have to be deterministic. There, as in `rating_sums`, users of about equally many
ratings are padded to the longest and multiplied in batches, and so is the gradient: the gradient of sums over the
ratings of users is a sum over the ratings of titles, so that nothing is added into repeated places. On two cores the
second way takes two to four times as long, since it writes every number down before it is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from modules.rating_sums import deal

# Numbers gathered at once: bounds the memory of a step.
_BUCKET_NUMBERS = 1 << 22


class Pool(NamedTuple):
    """The sums of one side.

    Attributes:
      total: float32 [rows, size].
      count: float32 [rows, 1].
    """

    total: tf.Tensor
    count: tf.Tensor


class Pools(Protocol):
    """A way to add up."""

    def __call__(
        self,
        visible: tf.Tensor,
        rated: Sequence[tf.Variable],
        members: Sequence[tf.Variable],
        replica: tf.distribute.ReplicaContext | None = None,
    ) -> list[Pool]:
        """The sums of users, then of titles.

        Args:
          visible: float32 [ratings], 1 for the ratings that count, else 0.
          rated: y of the titles, float32 [titles, size], then y of the users.
          members: z of the titles, then z of the users.
          replica: the replica that asks, each of which adds up its share of the ratings; None adds up all.

        Returns:
          Sums with gradients with respect to y and z.
        """
        ...


def create(
    user: np.ndarray, title: np.ndarray, deviations: Sequence[np.ndarray], *, users: int, titles: int, size: int
) -> Pools:
    """Makes ready for the sums of these ratings, in the way that suits the devices at hand.

    Args:
      user: int [ratings], below `users`.
      title: int [ratings], below `titles`.
      deviations: d of the users' sums, float [ratings], then that of the titles'.
      users: their number; some may have no rating.
      titles: their number.
      size: length of y and z.
    """
    way = PaddedPools if has_gpu() else SparsePools
    return way(user, title, deviations, users=users, titles=titles, size=size)


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


class SparsePools:
    """Products with the sparse matrix of the ratings, for CPUs; see `create` and `Pools`."""

    def __init__(
        self,
        user: np.ndarray,
        title: np.ndarray,
        deviations: Sequence[np.ndarray],
        *,
        users: int,
        titles: int,
        size: int,
    ) -> None:
        self._indices = tf.constant(np.stack([user, title], axis=1).astype(np.int64))
        self._shape = (users, titles)
        self._deviations = [tf.constant(each, tf.float32) for each in deviations]

    def __call__(
        self,
        visible: tf.Tensor,
        rated: Sequence[tf.Variable],
        members: Sequence[tf.Variable],
        replica: tf.distribute.ReplicaContext | None = None,
    ) -> list[Pool]:
        pools = []
        for side in range(2):
            ones = tf.ones_like(members[side][:, :1])
            with_count = self._sum(side, visible, tf.concat([members[side], ones], axis=1), replica)
            total = self._sum(side, visible * self._deviations[side], rated[side], replica) + with_count[:, :-1]
            pools.append(_whole(total, with_count[:, -1:], replica))
        return pools

    def _sum(
        self, side: int, weights: tf.Tensor, vectors: tf.Tensor, replica: tf.distribute.ReplicaContext | None
    ) -> tf.Tensor:
        matrix = tf.SparseTensor(share(self._indices, replica), share(weights, replica), self._shape)
        return tf.sparse.sparse_dense_matmul(matrix, vectors, adjoint_a=side == 1)


class PaddedPools:
    """Batched products of padded rows, for GPUs; see `create` and `Pools`."""

    def __init__(
        self,
        user: np.ndarray,
        title: np.ndarray,
        deviations: Sequence[np.ndarray],
        *,
        users: int,
        titles: int,
        size: int,
    ) -> None:
        self._by = [
            _Incidence(user, title, rows=users, columns=titles, size=2 * size),
            _Incidence(title, user, rows=titles, columns=users, size=2 * size),
        ]
        # Of each side's sums, and of their gradients: in the buckets of users, then in those of titles.
        self._deviations = [[each.spread(tf.constant(d, tf.float32)) for each in self._by] for d in deviations]

    def __call__(
        self,
        visible: tf.Tensor,
        rated: Sequence[tf.Variable],
        members: Sequence[tf.Variable],
        replica: tf.distribute.ReplicaContext | None = None,
    ) -> list[Pool]:
        counted = [by.spread(visible) for by in self._by]
        pools = []
        for side, by in enumerate(self._by):
            weights = [
                [tf.stack([v * d, v]) for v, d in zip(buckets, deviations, strict=True)]
                for buckets, deviations in zip(counted, self._deviations[side], strict=True)
            ]
            total = _differentiable_sums(by, self._by[1 - side], weights[side], weights[1 - side], replica)
            count = by.join([tf.reduce_sum(_share_of_row(v, replica), axis=1, keepdims=True) for v in counted[side]])
            pools.append(_whole(total(rated[side], members[side]), count, replica))
        return pools


class _Incidence:
    """The ratings of each row, in buckets of rows with about equally many."""

    def __init__(self, row: np.ndarray, column: np.ndarray, *, rows: int, columns: int, size: int) -> None:
        """Deals the rows out; at most `size` numbers are gathered for a rating."""
        count = np.bincount(row, minlength=rows)
        buckets = deal(row, column, count, columns, max(1, _BUCKET_NUMBERS // size))
        self._columns = [tf.constant(bucket.columns) for bucket in buckets]
        self._ratings = [tf.constant(bucket.ratings) for bucket in buckets]
        order = np.concatenate([bucket.rows for bucket in buckets])
        self._places = tf.constant(np.argsort(order, kind="stable").astype(np.int32))

    def spread(self, values: tf.Tensor) -> list[tf.Tensor]:
        """Values of ratings, float32 [ratings], as float32 [rows, width] of each bucket; 0 behind a row's last."""
        padded = tf.pad(values, [[0, 1]])
        return [tf.gather(padded, ratings) for ratings in self._ratings]

    def join(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """What each bucket has, [rows of the bucket, ...], in the order of the rows."""
        return tf.gather(tf.concat(parts, axis=0), self._places)

    def sums(
        self, weights: Sequence[tf.Tensor], vectors: tf.Tensor, replica: tf.distribute.ReplicaContext | None
    ) -> tf.Tensor:
        """Float32 [rows, 2, size]: vectors, float32 [columns, size], of each row's columns, added up under two weights.

        The weights are float32 [2, rows, width] of each bucket, and 0 behind a row's last rating.
        """
        # The last row is that of the padding.
        padded = tf.pad(vectors, [[0, 1], [0, 0]])
        return self.join([
            tf.matmul(
                tf.transpose(_share_of_row(of_bucket, replica), [1, 0, 2]),
                tf.gather(padded, _share_of_row(columns, replica)),
            )
            for columns, of_bucket in zip(self._columns, weights, strict=True)
        ])  # fmt: skip


def _differentiable_sums(
    by_row: _Incidence,
    by_column: _Incidence,
    row_weights: Sequence[tf.Tensor],
    column_weights: Sequence[tf.Tensor],
    replica: tf.distribute.ReplicaContext | None,
) -> Callable[[tf.Variable, tf.Variable], tf.Tensor]:
    """Sums by row of vectors y and z of the columns, whose gradients are sums by column; see `_Incidence.sums`."""

    @tf.custom_gradient
    def total(rated: tf.Tensor, members: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
        sums = by_row.sums(row_weights, tf.concat([rated, members], axis=1), replica)
        size = rated.shape[1]

        def gradients(upstream: tf.Tensor) -> list[tf.Tensor]:
            return tf.unstack(by_column.sums(column_weights, upstream, replica), axis=1)

        return sums[:, 0, :size] + sums[:, 1, size:], gradients

    return lambda rated, members: total(tf.convert_to_tensor(rated), tf.convert_to_tensor(members))


def share(rows: tf.Tensor, replica: tf.distribute.ReplicaContext | None) -> tf.Tensor:
    """What one replica works on: every n-th row; all rows without replicas."""
    return rows if replica is None else rows[replica.replica_id_in_sync_group :: replica.num_replicas_in_sync]


def _share_of_row(values: tf.Tensor, replica: tf.distribute.ReplicaContext | None) -> tf.Tensor:
    """What one replica works on of each row: every n-th along the last axis; all without replicas."""
    return values if replica is None else values[..., replica.replica_id_in_sync_group :: replica.num_replicas_in_sync]


def _whole(total: tf.Tensor, count: tf.Tensor, replica: tf.distribute.ReplicaContext | None) -> Pool:
    """The sums of all replicas."""
    if replica is None:
        return Pool(total, count)
    whole = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat([total, count], axis=1))
    return Pool(whole[:, :-1], whole[:, -1:])
