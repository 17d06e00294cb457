"""Reads tf.Example files through the Transform graph into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from modules import features
from modules.ratings import Ratings

READ_BATCH = 16384
# Share of the training ratings that `carve` sets aside, in percent: an eighth of what a 72/8/20 split trains on.
CARVED_PERCENT = 10

Batches = Iterator[dict[str, tf.Tensor]]


def read_batches(
    patterns: Sequence[str], transform_output: tft.TFTransformOutput, batch_size: int = READ_BATCH
) -> Batches:
    """Yields transformed batches of the examples in gzipped TFRecord files, whole batches parsed at once.

    Raises:
      ValueError: no file matches a pattern.
    """
    files: list[str] = []
    for pattern in patterns:
        matched = sorted(tf.io.gfile.glob(pattern))
        if not matched:
            raise ValueError(f"expected example files at {pattern}; found none; run the pipeline from ExampleGen again")
        files.extend(matched)
    raw_spec = transform_output.raw_feature_spec()

    @tf.autograph.experimental.do_not_convert
    def transform(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return transform_output.transform_raw_features(tf.io.parse_example(serialized, raw_spec))

    yield from (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(batch_size)
        .map(transform, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
    )


def load_ratings(
    patterns: Sequence[str],
    transform_output: tft.TFTransformOutput,
    *,
    low: float,
    high: float,
    report: Callable[[str], None],
) -> Ratings:
    """Loads example files into columns sorted by user, then title.

    Args:
      patterns: file patterns of gzipped TFRecords of raw tf.Examples.
      transform_output: Transform's graph and vocabularies.
      low: lowest rating of the scale.
      high: highest rating of the scale.
      report: receives progress texts.

    Raises:
      ValueError: no file matches, or there is no rating in the files.
    """
    num_users = transform_output.vocabulary_size_by_name(features.USER_ID.name)
    num_titles = transform_output.vocabulary_size_by_name(features.MOVIE_TITLE.name)
    columns: list[tuple[np.ndarray, ...]] = []
    # One row more than there are ids, so that out-of-vocabulary rows have somewhere to go.
    user_features = np.zeros((num_users + 1, features.USER_FEATURES_SIZE), np.float32)
    title_features = np.zeros((num_titles + 1, features.TITLE_FEATURES_SIZE), np.float32)
    rows = 0
    for batch in read_batches(patterns, transform_output):
        users = batch[features.USER_ID.name].numpy()
        titles = batch[features.MOVIE_TITLE.name].numpy()
        columns.append(
            (users.astype(np.int32), titles.astype(np.int32), batch[features.USER_RATING.name].numpy().ravel())
        )
        _keep_largest(user_features, np.minimum(users, num_users), batch[features.USER_FEATURES].numpy())
        _keep_largest(title_features, np.minimum(titles, num_titles), batch[features.TITLE_FEATURES].numpy())
        rows += len(users)
        report(f"read {rows:,} ratings")
    if not rows:
        raise ValueError(f"expected ratings in {', '.join(patterns)}; found none; check the split sizes of ExampleGen")
    user, title, rating = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.lexsort((title, user))
    return Ratings(
        user=user[order],
        title=title[order],
        rating=rating[order],
        num_users=num_users,
        num_titles=num_titles,
        low=low,
        high=high,
        user_features=user_features[:num_users],
        title_features=title_features[:num_titles],
    )


def carve(ratings: Ratings, percent: int = CARVED_PERCENT) -> tuple[Ratings, Ratings]:
    """Splits ratings in two by a hash of user and title: the rest, and about `percent` of a hundred.

    The choice of a rating depends on its pair of ids alone, not on what other ratings there are.
    """
    keys = ratings.user.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys ^= ratings.title.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    # The finaliser of splitmix64 (Steele, Lea and Flood, 2014): spreads every input bit over the word.
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    carved = (keys ^ (keys >> np.uint64(31))) % np.uint64(100) < percent
    return ratings.select(~carved), ratings.select(carved)


def concatenate(first: Ratings, second: Ratings) -> Ratings:
    """All ratings of two parts that share their ids, sorted by user, then title."""
    user, title, rating = (
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("user", "title", "rating")
    )
    order = np.lexsort((title, user))
    return Ratings(
        user=user[order],
        title=title[order],
        rating=rating[order],
        num_users=first.num_users,
        num_titles=first.num_titles,
        low=first.low,
        high=first.high,
        user_features=np.maximum(first.user_features, second.user_features),
        title_features=np.maximum(first.title_features, second.title_features),
    )


def _keep_largest(table: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """Raises the table's rows to those given, element by element, so that their order does not matter."""
    # What a user or title is like is said in every rating; only what is new is worth sorting.
    new = (rows > table[ids]).any(axis=1)
    if not new.any():
        return
    ids, rows = ids[new], rows[new]
    order = np.argsort(ids, kind="stable")
    known, starts = np.unique(ids[order], return_index=True)
    table[known] = np.maximum(table[known], np.maximum.reduceat(rows[order], starts, axis=0))
