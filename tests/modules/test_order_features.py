"""Features of the final order against their formulas, one user after the other."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules import features, order_features, retrieval_input
from modules.order_features import TitleColumns, features_of, standardize_scores
from modules.ratings import Ratings
from modules.retrieval_input import RatingWeight


def with_genres(rng: np.random.Generator) -> Ratings:
    titles, users = 6, 5
    is_rated = rng.random((users, titles)) < 0.6
    is_rated[0] = False
    user, title = np.nonzero(is_rated)
    side = np.zeros((titles, features.TITLE_FEATURES_SIZE), np.float32)
    genres = len(features.YEAR_BOUNDARIES) + 1
    side[:, genres + 2] = [1, 0, 1, 0, 1, 0]
    side[:, genres + 7] = [0, 1, 1, 0, 0, 0]
    # The last two of the years, right before the genres.
    side[0, genres - 2] = side[1:, genres - 1] = side[:, -2] = 1
    return Ratings(
        user=user.astype(np.int32),
        title=title.astype(np.int32),
        rating=rng.integers(1, 6, len(user)).astype(np.float32),
        num_users=users,
        num_titles=titles,
        low=1.0,
        high=5.0,
        user_features=np.zeros((users, features.USER_FEATURES_SIZE), np.float32),
        title_features=side,
    )


def test_scores_are_standardised_over_free_titles(rng) -> None:
    scores, is_free = rng.normal(3, 2, (4, 10)).astype(np.float32), rng.random((4, 10)) < 0.6
    found = standardize_scores(tf.constant(scores), tf.constant(is_free)).numpy()
    for row in range(4):
        free = scores[row][is_free[row]].astype(np.float64)
        np.testing.assert_allclose(found[row], (scores[row] - free.mean()) / free.std(), rtol=1e-4, atol=1e-5)


def test_scores_that_are_all_equal_say_nothing() -> None:
    for is_free in (np.ones((1, 3), bool), np.zeros((1, 3), bool), np.array([[True, False, False]])):
        np.testing.assert_array_equal(standardize_scores(tf.fill([1, 3], 7.0), tf.constant(is_free)), np.zeros((1, 3)))


def test_columns_and_affinity(rng) -> None:
    ratings = with_genres(rng)
    weights = retrieval_input.weighted(ratings, RatingWeight.of(ratings.rating))
    columns, dense = TitleColumns(ratings, weights), weights.toarray().astype(np.float64)
    np.testing.assert_allclose(columns.popularity, np.log1p(dense.sum(0)), rtol=1e-5)
    mean, deviation = ratings.rating.mean(), ratings.rating.std()
    for title in range(6):
        of_title = ratings.rating[ratings.title == title]
        expected = np.sum((of_title - mean) / deviation) / (len(of_title) + 5)
        assert columns.mean_rating[title].numpy() == pytest.approx(expected, abs=1e-5)
    genres = ratings.title_features[:, len(features.YEAR_BOUNDARIES) + 1 :][:, [2, 7]]
    np.testing.assert_array_equal(columns.genres, genres.T)
    typical = dense.sum(0) @ genres / dense.sum()
    bulk = columns.affinity_in_bulk(weights)
    for user in range(5):
        x = dense[user]
        expected = (x @ genres / x.sum() - typical) @ genres.T if x.any() else np.zeros(6)
        np.testing.assert_allclose(bulk[user], expected, atol=1e-6)
        (known,) = np.nonzero(x)
        alone = columns.affinity(tf.constant(known, tf.int32), tf.constant(x[known], tf.float32))
        np.testing.assert_allclose(alone, expected, atol=1e-6)
    np.testing.assert_allclose(columns.affinity_of_rows(tf.constant(dense, tf.float32)), bulk, atol=1e-6)
    # However little it weighs in all.
    little = columns.affinity(tf.constant([2], tf.int32), tf.constant([0.01], tf.float32))
    np.testing.assert_allclose(little, (genres[2] - typical) @ genres.T, atol=1e-6)


def test_titles_without_genres(small_ratings) -> None:
    weights = retrieval_input.weighted(small_ratings, RatingWeight.of(small_ratings.rating))
    columns = TitleColumns(small_ratings, weights)
    np.testing.assert_array_equal(columns.affinity_in_bulk(weights), np.zeros((3, 4)))
    np.testing.assert_array_equal(columns.affinity(tf.constant([1]), tf.constant([0.5])), np.zeros(4))


def test_features_by_name(small_ratings) -> None:
    weights = retrieval_input.weighted(small_ratings, RatingWeight.of(small_ratings.rating))
    columns = TitleColumns(small_ratings, weights)
    scores = {order_features.ALS: tf.random.stateless_normal([3, 4], [1, 2])}
    table = features_of(scores, np.zeros((3, 4), np.float32), columns, weights.toarray() == 0)
    assert list(table) == [order_features.ALS, *order_features.COLUMNS]
