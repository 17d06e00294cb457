"""What Transform computes: ids from full-pass vocabularies, and one feature vector each for user and title."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from modules import features


def preprocessing_fn(inputs: dict[str, tf.Tensor | tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """Maps raw columns to model inputs; called by Transform, and baked into the exported model.

    Args:
      inputs: raw features by column name. Required ones are dense [batch]; optional ones are sparse
        [batch, values] and may be left out altogether.

    Returns:
      user_id: int64 [batch], most frequent user first, out-of-vocabulary buckets last.
      movie_title: int64 [batch], likewise.
      user_rating: float32 [batch].
      user_features: float32 [batch, features.USER_FEATURES_SIZE]: age in bins, then categories.
      title_features: float32 [batch, features.TITLE_FEATURES_SIZE]: release year in bins, then categories, which are
        divided by the square root of their number, so that a film of five genres does not weigh more than one of one.
    """
    batch = tf.shape(inputs[features.USER_ID.name])[0]
    user, title = _categories(inputs, batch)
    ages = _bins(inputs.get(features.USER_AGE.name), features.AGE_BOUNDARIES, batch)
    years = _bins(inputs.get(features.RELEASE_YEAR.name), features.YEAR_BOUNDARIES, batch)
    title /= tf.sqrt(tf.maximum(tf.reduce_sum(title, axis=1, keepdims=True), 1.0))
    return {
        features.USER_ID.name: _ids(inputs, features.USER_ID),
        features.MOVIE_TITLE.name: _ids(inputs, features.MOVIE_TITLE),
        features.USER_RATING.name: inputs[features.USER_RATING.name],
        features.USER_FEATURES: tf.concat([ages, user], axis=1),
        features.TITLE_FEATURES: tf.concat([years, title], axis=1),
    }


def _ids(inputs: dict[str, tf.Tensor], column: features.Column) -> tf.Tensor:
    return tft.compute_and_apply_vocabulary(
        inputs[column.name], num_oov_buckets=column.oov_buckets, vocab_filename=column.name
    )


def _bins(values: tf.SparseTensor | None, boundaries: Sequence[float], batch: tf.Tensor) -> tf.Tensor:
    """One-hot float32 [batch, boundaries + 1] of the bin each value falls into; zeros where there is none."""
    depth = len(boundaries) + 1
    if values is None:
        return tf.zeros([batch, depth])
    bins = tf.searchsorted(list(boundaries), tf.cast(values.values, tf.float32), side="right")
    return _rows(values, bins, depth, batch)


def _categories(inputs: dict[str, tf.Tensor | tf.SparseTensor], batch: tf.Tensor) -> list[tf.Tensor]:
    """Multi-hot float32 [batch, limit] each of the user's and the title's categories; zeros where nothing is known."""
    groups = [_named(inputs, columns) for columns in (features.USER_CATEGORIES, features.TITLE_CATEGORIES)]
    given = [group for group in groups if group is not None]
    if not given:
        return [tf.zeros([batch, features.CATEGORIES_LIMIT]) for _ in groups]
    # One vocabulary for all columns: each more is one more pass of Beam over the data.
    vocabulary = tft.vocabulary(
        tf.sparse.concat(1, given), top_k=features.CATEGORIES_LIMIT, vocab_filename=features.CATEGORIES
    )
    vectors = []
    for group in groups:
        if group is None:
            vectors.append(tf.zeros([batch, features.CATEGORIES_LIMIT]))
        else:
            ids = tft.apply_vocabulary(group, vocabulary, default_value=-1)
            vectors.append(_rows(group, ids.values, features.CATEGORIES_LIMIT, batch))
    return vectors


def _named(
    inputs: dict[str, tf.Tensor | tf.SparseTensor], columns: Sequence[features.Column]
) -> tf.SparseTensor | None:
    """The values of the columns that are there, side by side, each behind its column's name; None without columns."""
    named = []
    for column in columns:
        values = inputs.get(column.name)
        if values is not None:
            # Of a postal code only the first character counts: the area.
            text = tf.strings.substr(values.values, 0, 1) if column is features.USER_ZIP_CODE else values.values
            named.append(values.with_values(tf.strings.join([column.name, text], separator="=")))
    return tf.sparse.concat(1, named) if named else None


def _rows(sparse: tf.SparseTensor, positions: tf.Tensor, depth: int, batch: tf.Tensor) -> tf.Tensor:
    """Sums the one-hot vectors of a sparse tensor's values into the rows they belong to."""
    one_hot = tf.one_hot(positions, depth, dtype=tf.float32)
    return tf.reshape(tf.math.unsorted_segment_sum(one_hot, sparse.indices[:, 0], batch), [-1, depth])
