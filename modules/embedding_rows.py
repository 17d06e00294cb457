"""Rows of embedding tables whose last row, and the side features, stand for what training never saw."""

from __future__ import annotations

import tensorflow as tf


def embedding_rows(
    table: tf.Variable, ids: tf.Tensor, feature_table: tf.Variable, features: tf.Tensor | None
) -> tf.Tensor:
    """Looks up rows, and adds the features of unknown ids; those of known ids are in their rows already.

    Args:
      table: float32 [vocabulary + 1, columns]; the last row is that of unknown ids without features.
      ids: integer [batch]; those at and behind the end of the vocabulary are unknown.
      feature_table: float32 [features, columns], what each feature adds.
      features: float32 [batch, features], or None where there are none.

    Returns:
      float32 [batch, columns].
    """
    unknown = table.shape[0] - 1
    ids = tf.minimum(ids, unknown)
    rows = tf.gather(table, ids)
    if features is None:
        return rows
    # Few ids are unknown, and the product is what rating takes longest for.
    positions = tf.where(ids == unknown)
    return tf.tensor_scatter_nd_add(rows, positions, tf.gather(features, positions[:, 0]) @ feature_table)
