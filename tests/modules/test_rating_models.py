"""Lookups of rows, and what a model of embeddings says of everybody and everything, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules import features
from modules.rating_models import EmbeddingModel, embedding_rows

USERS, TITLES, RANK, MEAN = 5, 6, 3, 3.5

TABLE = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
FEATURE_TABLE = np.array([[10, 20], [100, 200]], np.float32)


def rows(ids, features):
    features = None if features is None else tf.constant(features, tf.float32)
    return embedding_rows(tf.Variable(TABLE), ids, tf.Variable(FEATURE_TABLE), features).numpy()


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_features_count_for_unknown_ids_alone(dtype):
    ids = tf.constant([0, 1, 2, 2, 7], dtype)
    features = [[1, 1], [1, 0], [0, 0], [1, 0], [0.5, 1]]
    np.testing.assert_array_equal(rows(ids, features), [[1, 2], [3, 4], [5, 6], [15, 26], [110, 216]])
    np.testing.assert_array_equal(rows(ids, None), [[1, 2], [3, 4], [5, 6], [5, 6], [5, 6]])


def test_empty_batch():
    assert rows(tf.zeros([0], tf.int64), np.zeros((0, 2))).shape == (0, 2)


class Fixture:
    """An embedding model with deviations, and what it was made of, float64."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.user, self.title = rng.normal(size=(USERS + 1, 1 + RANK)), rng.normal(size=(TITLES + 1, 1 + RANK))
        self.of_user, self.of_title = rng.uniform(0.5, 1.5, USERS + 1), rng.uniform(0.5, 1.5, TITLES + 1)
        self.title_feature = rng.normal(size=(2, 1 + RANK))
        self.model = EmbeddingModel(
            MEAN, self.user, self.title, np.zeros((0, 1 + RANK)), self.title_feature,
            deviations=(self.of_user, self.of_title),
        )  # fmt: skip

    def score(self, user: int, title: int) -> float:
        u, t = self.user[user], self.title[title]
        return MEAN + u[0] + t[0] + u[1:] @ t[1:]


@pytest.fixture(scope="module")
def made() -> Fixture:
    return Fixture()


def test_every_title_is_rated_for_some_users(made) -> None:
    asked = [4, 0, 9]
    scores, deviations = made.model.rate_all(*made.model.user_rows(tf.constant(asked, tf.int64)))
    assert scores.shape == deviations.shape == (3, TITLES)
    for row, user in enumerate([4, 0, USERS]):
        np.testing.assert_allclose(scores[row], [made.score(user, t) for t in range(TITLES)], rtol=1e-5)
        np.testing.assert_allclose(deviations[row], made.of_user[user] * made.of_title[:-1], rtol=1e-6)


def test_pairs_are_rated_as_whole_rows_are(made) -> None:
    pairs = {features.USER_ID.name: tf.constant([1, 7]), features.MOVIE_TITLE.name: tf.constant([2, 8])}
    np.testing.assert_allclose(made.model(pairs)[:, 0], [made.score(1, 2), made.score(USERS, TITLES)], rtol=1e-5)
    expected = [made.of_user[1] * made.of_title[2], made.of_user[-1] * made.of_title[-1]]
    np.testing.assert_allclose(made.model.deviation(pairs)[:, 0], expected, rtol=1e-6)


def test_unrated_titles_come_behind_those_of_the_vocabulary(made) -> None:
    unrated = np.array([[1.0, 0.0], [0.5, 2.0]])
    rows, deviations = made.model.title_rows(tf.constant(unrated, tf.float32))
    np.testing.assert_allclose(rows[:TITLES], made.title[:-1], rtol=1e-6)
    np.testing.assert_allclose(rows[TITLES:], made.title[-1] + unrated @ made.title_feature, rtol=1e-5)
    np.testing.assert_allclose(deviations, [*made.of_title[:-1], made.of_title[-1], made.of_title[-1]], rtol=1e-6)
    rows, user = np.array(rows), made.model.user_rows(tf.constant([2], tf.int64))
    scores, of_pairs = made.model.rate_all(*user, (rows, deviations))
    expected = MEAN + made.user[2, 0] + rows[:, 0] + rows[:, 1:] @ made.user[2, 1:]
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)
    np.testing.assert_allclose(of_pairs[0], made.of_user[2] * deviations, rtol=1e-6)


def test_somebody_new_has_the_row_that_is_expected_given_what_was_rated(made) -> None:
    """By the normal distribution of the row and the ratings together, in the form of precisions."""
    titles, ratings = np.array([3, 0, 5]), np.array([5.0, 2.0, 4.5])
    fitted = made.user[:-1]
    mean, covariance = fitted.mean(axis=0), np.cov(fitted.T, bias=True) + 1e-9 * np.eye(1 + RANK)
    design = np.column_stack([np.ones(3), made.title[titles, 1:]])
    precision = 1.0 / (np.mean(made.of_user**2) * made.of_title[titles] ** 2)
    left = np.linalg.inv(covariance) + design.T * precision @ design
    right = np.linalg.solve(covariance, mean) + design.T * precision @ (ratings - MEAN - made.title[titles, 0])
    found = made.model.fold_in(tf.constant(titles, tf.int64), tf.constant(ratings, tf.float32))
    np.testing.assert_allclose(found, np.linalg.solve(left, right), rtol=1e-3, atol=1e-4)
    # Titles of no vocabulary, and what is no number, count for nothing.
    more = [*titles, TITLES, 2], [*ratings, 1.0, np.nan]
    again = made.model.fold_in(tf.constant(more[0], tf.int64), tf.constant(more[1], tf.float32))
    np.testing.assert_allclose(again, found, rtol=1e-5)
    nothing = made.model.fold_in(tf.zeros([0], tf.int64), tf.zeros([0]))
    np.testing.assert_allclose(nothing, mean, rtol=1e-5, atol=1e-6)
