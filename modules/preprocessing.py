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
      user_features: float32 [batch, features.USER_FEATURES_SIZE]; blocks age, gender, occupation, postal area.
      title_features: float32 [batch, features.TITLE_FEATURES_SIZE]; blocks release year, genres. Genres are
        divided by the square root of their number, so that a film of five does not weigh more than a film of one.
    """
    batch = tf.shape(inputs[features.USER_ID.name])[0]
    zip_codes = inputs.get(features.USER_ZIP_CODE.name)
    areas = None if zip_codes is None else zip_codes.with_values(tf.strings.substr(zip_codes.values, 0, 1))
    genres = _categories(inputs.get(features.GENRES.name), features.GENRES, batch)
    return {
        features.USER_ID.name: _ids(inputs, features.USER_ID),
        features.MOVIE_TITLE.name: _ids(inputs, features.MOVIE_TITLE),
        features.USER_RATING.name: inputs[features.USER_RATING.name],
        features.USER_FEATURES: tf.concat(
            [
                _bins(inputs.get(features.USER_AGE.name), features.AGE_BOUNDARIES, batch),
                _categories(inputs.get(features.USER_GENDER.name), features.USER_GENDER, batch),
                _categories(inputs.get(features.USER_OCCUPATION.name), features.USER_OCCUPATION, batch),
                _categories(areas, features.USER_ZIP_CODE, batch),
            ],
            axis=1,
        ),
        features.TITLE_FEATURES: tf.concat(
            [
                _bins(inputs.get(features.RELEASE_YEAR.name), features.YEAR_BOUNDARIES, batch),
                genres / tf.sqrt(tf.maximum(tf.reduce_sum(genres, axis=1, keepdims=True), 1.0)),
            ],
            axis=1,
        ),
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


def _categories(values: tf.SparseTensor | None, column: features.Column, batch: tf.Tensor) -> tf.Tensor:
    """Multi-hot float32 [batch, limit] of known categories; rare, unknown and missing ones are zeros."""
    depth = features.VOCABULARY_LIMITS[column.name]
    if values is None:
        return tf.zeros([batch, depth])
    vocabulary = tft.vocabulary(values, top_k=depth, vocab_filename=column.name)
    ids = tft.apply_vocabulary(values, vocabulary, default_value=-1)
    return _rows(values, ids.values, depth, batch)


def _rows(sparse: tf.SparseTensor, positions: tf.Tensor, depth: int, batch: tf.Tensor) -> tf.Tensor:
    """Sums the one-hot vectors of a sparse tensor's values into the rows they belong to."""
    one_hot = tf.one_hot(positions, depth, dtype=tf.float32)
    return tf.reshape(tf.math.unsorted_segment_sum(one_hot, sparse.indices[:, 0], batch), [-1, depth])
