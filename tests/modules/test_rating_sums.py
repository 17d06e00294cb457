"""Sums over the ratings of rows, against a loop over the ratings."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules import rating_sums
from modules.rating_sums import BucketedRatings, Sums

LIMITS = {
    "one bucket": {},
    "many buckets": {"_SMALL": 8, "_PADDING": 1.01},
    "few numbers at once": {"_BUCKET_NUMBERS": 20},
    "one row at once": {"_BUCKET_NUMBERS": 1},
}


def whole(sums: Sums, rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return sums.products[:, :-1, :-1], sums.target, sums.square, rows


def looped(row, column, target, vectors, precision, rows) -> tuple[np.ndarray, ...]:
    """The same sums, rating by rating."""
    size = vectors.shape[1]
    gram, weighted, square = np.zeros((rows, size, size)), np.zeros((rows, size)), np.zeros(rows)
    for r, c, value in zip(row, column, target, strict=True):
        bias, *embedding = vectors[c].astype(np.float64)
        known = np.array([1.0, *embedding])
        gram[r] += precision[c] * np.outer(known, known)
        weighted[r] += precision[c] * (value - bias) * known
        square[r] += precision[c] * (value - bias) ** 2
    return gram, weighted, square


def skewed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 0 to 29 ratings, in random order; row 0 and others have none."""
    count = np.array([0, 29, 3, 3, 2, 1, 0, 13, 14, 1, 5, 0, 1, 8, 2, 1])
    row = np.repeat(np.arange(len(count)), count)
    column = np.concatenate([rng.choice(30, size, replace=False) for size in count])
    order = rng.permutation(len(row))
    return row[order], column[order]


def check(row, column, *, rows: int, columns: int, size: int, rng: np.random.Generator) -> BucketedRatings:
    """Compares all sums; the ratings for more tests."""
    vectors = rng.normal(size=(columns, size)).astype(np.float32)
    precision = rng.uniform(0.2, 3, columns).astype(np.float32)
    ratings = BucketedRatings(row, column, rows=rows, columns=columns, size=size)
    for _ in range(2):  # New targets replace those before.
        target = rng.normal(size=len(row))
        ratings.set_targets(target)
        *found, order = ratings.map(tf.constant(vectors), tf.constant(precision), whole)
        np.testing.assert_array_equal(order, np.arange(rows))
        for one, other in zip(found, looped(row, column, target, vectors, precision, rows), strict=True):
            assert one.dtype == tf.float32
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ratings.count, [np.sum(row == each) for each in range(rows)])
    return ratings


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_sums_are_those_of_a_loop_over_the_ratings(limits, rng, monkeypatch) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(rating_sums, name, value)
    check(*skewed(rng), rows=16, columns=30, size=4, rng=rng)


@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    [
        ([0], [0], 1, 1),
        ([0], [2], 1, 3),
        ([2], [0], 4, 1),
        ([0, 0, 0], [2, 0, 1], 1, 3),
        ([3, 1, 0], [0, 0, 0], 4, 1),
        ([0, 1, 2], [2, 1, 0], 3, 3),
    ],
    ids=["one rating", "an unrated column", "rows without ratings", "one row", "one column", "one rating each"],
)
def test_sums_of_hardly_any_ratings(row, column, rows, columns, rng) -> None:
    for size in (1, 3):
        check(np.array(row), np.array(column), rows=rows, columns=columns, size=size, rng=rng)


def test_no_rating_at_all(rng) -> None:
    none = np.zeros(0, np.int64)
    check(none, none, rows=3, columns=2, size=2, rng=rng)


def test_rows_of_a_bucket_are_padded_by_half_at_most_unless_it_is_small(rng, monkeypatch) -> None:
    monkeypatch.setattr(rating_sums, "_SMALL", 0)
    row, column = skewed(rng)
    buckets = BucketedRatings(row, column, rows=16, columns=30, size=4)._buckets
    counts = np.bincount(row, minlength=16)
    widths = [bucket.ratings.shape[1] for bucket in buckets]
    assert widths == [29, 14, 8, 5, 3, 1, 0]
    for bucket, width in zip(buckets, widths, strict=True):
        assert (counts[bucket.rows] * rating_sums._PADDING >= width).all()
    # Together in one bucket where that is small enough, but for rows without ratings.
    monkeypatch.setattr(rating_sums, "_SMALL", 29 * 13)
    buckets = BucketedRatings(row, column, rows=16, columns=30, size=4)._buckets
    assert [bucket.ratings.shape for bucket in buckets] == [(13, 29), (3, 0)]
    # One row less fits in.
    monkeypatch.setattr(rating_sums, "_SMALL", 29 * 13 - 1)
    buckets = BucketedRatings(row, column, rows=16, columns=30, size=4)._buckets
    assert [bucket.ratings.shape for bucket in buckets] == [(12, 29), (1, 1), (3, 0)]


def test_numbers_gathered_at_once_are_bounded(monkeypatch) -> None:
    row = np.repeat(np.arange(40), 5)
    column = np.tile(np.arange(5), 40)
    monkeypatch.setattr(rating_sums, "_BUCKET_NUMBERS", 16 * 5 * (3 + 1))
    buckets = BucketedRatings(row, column, rows=40, columns=5, size=3)._buckets
    assert [len(bucket.rows) for bucket in buckets] == [16, 16, 8]
    # A single row may have more.
    monkeypatch.setattr(rating_sums, "_BUCKET_NUMBERS", 1)
    for rows, columns in ((row, column), (column, row)):
        buckets = BucketedRatings(rows, columns, rows=rows.max() + 1, columns=40, size=3)._buckets
        assert [len(bucket.rows) for bucket in buckets] == [1] * (rows.max() + 1)
    once = BucketedRatings(np.arange(3), np.arange(3), rows=3, columns=3, size=3)._buckets
    assert [len(bucket.rows) for bucket in once] == [1, 1, 1]


def test_columns_and_ratings_of_a_bucket_lie_side_by_side(rng) -> None:
    row, column = skewed(rng)
    for bucket in BucketedRatings(row, column, rows=16, columns=30, size=4)._buckets:
        for r, columns, ratings in zip(*bucket, strict=True):
            (of_row,) = np.nonzero(row == r)
            np.testing.assert_array_equal(ratings[: len(of_row)], of_row)
            np.testing.assert_array_equal(columns[: len(of_row)], column[of_row])
            assert (ratings[len(of_row) :] == len(row)).all()
            assert (columns[len(of_row) :] == 30).all()


def test_targets_of_other_ratings_are_refused(rng) -> None:
    ratings = check(*skewed(rng), rows=16, columns=30, size=2, rng=rng)
    with pytest.raises(IndexError):
        ratings.set_targets(np.zeros(3))
