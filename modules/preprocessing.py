"""What Transform computes: ids from full-pass vocabularies of the rated users and titles, each in its one spelling."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

# The module, not its function: Beam pickles what is named here, and a traced function cannot be pickled.
from modules import features, normalization_ops


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Maps raw columns of ratings to model inputs; called by Transform, and baked into the exported model.

    Args:
      inputs: raw features by column name, each [batch]; users and titles in any spelling.

    Returns:
      user_id: int64 [batch], most frequent user first, out-of-vocabulary buckets last.
      movie_title: int64 [batch], likewise.
      user_rating: float32 [batch].
    """
    ids = {column.name: _ids(inputs[column.name], column) for column in (features.USER_ID, features.MOVIE_TITLE)}
    return {**ids, features.USER_RATING.name: inputs[features.USER_RATING.name]}


def _ids(names: tf.Tensor, column: features.Column) -> tf.Tensor:
    """Ids, int64 [batch], of names, string [batch]."""
    vocabulary = tft.vocabulary(normalization_ops.normalize_tensor(names), vocab_filename=column.name)
    # What is in the vocabulary as it was given is normalized already, and of most batches that is all.
    ids = tft.apply_vocabulary(names, vocabulary)
    others = tf.where(ids < 0)
    normalized = normalization_ops.normalize_tensor(tf.gather_nd(names, others))
    found = tft.apply_vocabulary(normalized, vocabulary, num_oov_buckets=column.oov_buckets)
    return tf.tensor_scatter_nd_update(ids, others, found)
