"""What Transform computes: ids from full-pass vocabularies of the rated users and titles."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

from modules import features


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Maps raw columns of ratings to model inputs; called by Transform, and baked into the exported model.

    Args:
      inputs: raw features by column name, each [batch].

    Returns:
      user_id: int64 [batch], most frequent user first, out-of-vocabulary buckets last.
      movie_title: int64 [batch], likewise.
      user_rating: float32 [batch].
    """
    ids = {
        column.name: tft.compute_and_apply_vocabulary(
            inputs[column.name], num_oov_buckets=column.oov_buckets, vocab_filename=column.name
        )
        for column in (features.USER_ID, features.MOVIE_TITLE)
    }
    return {**ids, features.USER_RATING.name: inputs[features.USER_RATING.name]}
