"""Reads tf.Example files through the Transform graph into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from modules import example_shards
from modules.errors import UserError
from modules.features import MOVIE_TITLE, TITLES, USER_ID, USER_RATING, USERS
from modules.ratings import Ratings
from modules.side_features import SideFeatures

READ_BATCH = 16384
# Share of the training ratings that `carve` sets aside, in percent: an eighth of what a 72/8/20 split trains on.
CARVED_PERCENT = 10
# Ratings of which some users stand for all, where a short fit will do.
PLENTY = 2_000_000


def load_ratings(
    files: Sequence[str],
    transform_output: tft.TFTransformOutput,
    side_features: SideFeatures,
    *,
    low: float,
    high: float,
    report: Callable[[str], None],
) -> Ratings:
    """Loads example files into columns sorted by user, then title.

    Args:
      files: gzipped TFRecords of raw tf.Examples.
      transform_output: Transform's graph and vocabularies.
      side_features: what is known of users and titles.
      low: lowest rating of the scale.
      high: highest rating of the scale.
      report: receives progress texts.

    Raises:
      UserError: there is no rating in the files, or there are not as many as their names say.
    """
    batches = []
    rows = 0
    for batch in _read_batches(files, transform_output):
        batches.append([column.numpy() for column in batch])
        rows += len(batches[-1][0])
        report(f"read {rows:,} ratings")
    example_shards.check_rows(files, rows)
    if not rows:
        raise UserError(f"expected ratings in {', '.join(files)}; found none; check the split sizes of ExampleGen")
    user, title, rating = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    users, titles = (transform_output.vocabulary_by_name(table.key.name) for table in (USERS, TITLES))
    return _sorted(
        Ratings(
            user=user,
            title=title,
            rating=rating,
            num_users=len(users),
            num_titles=len(titles),
            low=low,
            high=high,
            user_features=side_features.of_ids(USERS, users),
            title_features=side_features.of_ids(TITLES, titles),
        )
    )


def _read_batches(files: Sequence[str], transform_output: tft.TFTransformOutput) -> Iterator[tuple[tf.Tensor, ...]]:
    """Yields user ids, title ids, int32, and ratings, float32 [batch]; whole batches are parsed at once."""
    raw_spec = transform_output.raw_feature_spec()
    spec = {column.name: raw_spec[column.name] for column in (USER_ID, MOVIE_TITLE, USER_RATING)}
    transform = transform_output.transform_features_layer()

    @tf.autograph.experimental.do_not_convert
    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        batch = transform(tf.io.parse_example(serialized, spec))
        ids = (tf.cast(batch[column.name], tf.int32) for column in (USER_ID, MOVIE_TITLE))
        return *ids, batch[USER_RATING.name]

    yield from (
        tf.data.TFRecordDataset(list(files), compression_type="GZIP")
        .batch(READ_BATCH)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
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


def some_users(ratings: Ratings, *, seed: int) -> np.ndarray:
    """Int [users], rising: at random as many as have `PLENTY` of the ratings; all users where there are no more."""
    order = np.random.default_rng(seed).permutation(ratings.num_users)
    count = np.bincount(ratings.user, minlength=ratings.num_users)[order]
    return np.sort(order[: 1 + np.searchsorted(np.cumsum(count), PLENTY)])


def concatenate(first: Ratings, second: Ratings) -> Ratings:
    """All ratings of two parts that share their ids, sorted by user, then title."""
    user, title, rating = (
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("user", "title", "rating")
    )
    return _sorted(dataclasses.replace(first, user=user, title=title, rating=rating))


def _sorted(ratings: Ratings) -> Ratings:
    return ratings.select(np.lexsort((ratings.title, ratings.user)))
