"""iALS against its equations, written out in NumPy; fixed points, features, determinism."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from modules import features, implicit_als
from modules.implicit_als import AlsConfig, ImplicitAls, first_vectors, fold_in

CONFIG = AlsConfig(dimension=3, unobserved_weight=0.2, regularization=0.15, exponent=0.7)


def some_weights(rng: np.random.Generator, users: int = 12, titles: int = 9) -> sparse.csr_matrix:
    dense = rng.uniform(0.1, 1, (users, titles)) * (rng.random((users, titles)) < 0.4)
    dense[:, -1] = 0  # A title without ratings.
    return sparse.csr_matrix(dense.astype(np.float32))


def some_features(rng: np.random.Generator, titles: int) -> np.ndarray:
    made = np.zeros((titles, features.TITLE_FEATURES_SIZE), np.float32)
    made[np.arange(titles), rng.integers(0, 3, titles)] = 1
    made[:, -2:] = 1
    return made


def solved(weights: np.ndarray, vectors: np.ndarray, penalty: np.ndarray, prior: np.ndarray, a0: float) -> np.ndarray:
    """The least-squares solution, row by row, in float64."""
    made = []
    for row in range(len(weights)):
        gram = a0 * vectors.T @ vectors + penalty[row] * np.eye(vectors.shape[1])
        target = penalty[row] * prior[row]
        for column in np.nonzero(weights[row])[0]:
            gram += weights[row, column] * np.outer(vectors[column], vectors[column])
            target = target + weights[row, column] * vectors[column]
        made.append(np.linalg.solve(gram, target))
    return np.array(made)


def one_round(weights: np.ndarray, titles: np.ndarray, design: np.ndarray, config: AlsConfig) -> np.ndarray:
    """Titles' vectors after a round, by the formulas."""
    users, count = len(weights), len(titles)
    of_user = config.regularization * ((weights > 0).sum(1) + config.unobserved_weight * count) ** config.exponent
    of_title = config.regularization * ((weights > 0).sum(0) + config.unobserved_weight * users) ** config.exponent
    w = solved(weights, titles, of_user, np.zeros((users, titles.shape[1])), config.unobserved_weight)
    damping = 60 * of_title.mean() * np.eye(design.shape[1])
    beta = np.linalg.solve(design.T @ np.diag(of_title) @ design + damping, design.T @ np.diag(of_title) @ titles)
    return solved(weights.T, w, of_title, design @ beta, config.unobserved_weight)


def test_rounds_are_those_of_the_equations(rng) -> None:
    weights, side = some_weights(rng), some_features(rng, 9)
    als = ImplicitAls(weights, side, first_vectors(weights.shape[1], 3, 4))
    design = implicit_als.design(side, side[:, :-2].any(axis=0))
    expected = als.titles.numpy().astype(np.float64)
    dense = weights.toarray().astype(np.float64)
    for _ in range(3):
        expected = one_round(dense, expected, design, CONFIG)
        np.testing.assert_allclose(als.run(CONFIG, 1), expected, atol=1e-5)


def test_a_user_of_the_fit_is_folded_in_to_the_vector_that_was_fitted(rng) -> None:
    weights, side = some_weights(rng), some_features(rng, 9)
    als = ImplicitAls(weights, side, first_vectors(weights.shape[1], 3, 4))
    titles = als.run(CONFIG, 300)
    # At the fixed point another round from the folded vectors changes nothing.
    np.testing.assert_allclose(als.run(CONFIG, 1), titles, atol=2e-5)
    folded = fold_in(weights, titles, CONFIG)
    alone = fold_in(weights[[5]], titles, CONFIG)
    np.testing.assert_allclose(alone[0], folded[5], atol=1e-6)


def test_titles_that_nobody_rated_get_the_vectors_of_columns_without_ratings(rng) -> None:
    weights, side = some_weights(rng), some_features(rng, 9)
    rated = weights[:, :7]
    beside = ImplicitAls(rated, side[:7], first_vectors(7, 3, 4))
    titles = beside.run(CONFIG, 300)
    users = fold_in(rated, titles, CONFIG).numpy().astype(np.float64)
    of_title = CONFIG.penalty(np.diff(rated.tocsc().indptr), len(users))
    design = implicit_als.design(side, implicit_als.described(side[:7]).any(axis=0))
    damping = 60 * of_title.mean() * np.eye(design.shape[1])
    known = design[:7].astype(np.float64)
    beta = np.linalg.solve(known.T @ np.diag(of_title) @ known + damping, known.T @ np.diag(of_title) @ titles.numpy())
    penalty = CONFIG.penalty(np.zeros(2), len(users))
    expected = solved(np.zeros((2, len(users))), users, penalty, design[7:] @ beta, CONFIG.unobserved_weight)
    np.testing.assert_allclose(beside.unrated(side[7:], CONFIG), expected, atol=1e-5)


def test_a_title_without_ratings_lies_where_its_features_say(rng) -> None:
    """Titles of one feature are liked by one half of the users, those of the other by the other."""
    dense = np.zeros((40, 401), np.float32)
    dense[:20, :200] = rng.random((20, 200)) < 0.3
    dense[20:, 200:400] = rng.random((20, 200)) < 0.3
    side = np.zeros((401, features.TITLE_FEATURES_SIZE), np.float32)
    side[:200, 0] = side[200:400, 1] = side[400, 0] = 1
    weights = sparse.csr_matrix(dense)
    titles = ImplicitAls(weights, side, first_vectors(weights.shape[1], 3, 0)).run(CONFIG, 20)
    scores = (fold_in(weights, titles, CONFIG).numpy() @ titles.numpy().T)[:, 400]
    assert scores[:20].min() > scores[20:].max()


def test_the_same_seed_gives_the_same_vectors(rng) -> None:
    weights, side = some_weights(rng), some_features(rng, 9)
    first, second = (
        ImplicitAls(weights, side, first_vectors(weights.shape[1], 3, 4)).run(CONFIG, 3).numpy() for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    other = ImplicitAls(weights, side, first_vectors(weights.shape[1], 3, 5)).run(CONFIG, 3).numpy()
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
def test_a_single_user_or_title(shape) -> None:
    weights = sparse.csr_matrix(np.ones(shape, np.float32))
    none = np.zeros((shape[1], features.TITLE_FEATURES_SIZE), np.float32)
    titles = ImplicitAls(weights, none, first_vectors(weights.shape[1], 2, 0)).run(AlsConfig(dimension=2), 3)
    assert titles.shape == (shape[1], 2)
    assert tf.reduce_all(tf.math.is_finite(fold_in(weights, titles, AlsConfig(dimension=2))))


def test_flags_are_no_features(rng) -> None:
    side = some_features(rng, 5)
    has_any = implicit_als.described(side).any(axis=0)
    assert implicit_als.design(side, has_any).shape == (5, 1 + side[:, :-2].any(axis=0).sum())
    assert implicit_als.design(np.zeros_like(side), np.zeros_like(has_any)).tolist() == [[1]] * 5


@pytest.mark.parametrize("dimension", [4, 64])
def test_vectors_to_start_from_are_a_tenth_long_whatever_their_dimension(dimension: int) -> None:
    start = first_vectors(4000, dimension, 0)
    assert start.dtype == np.float32
    # A root mean square of 16,000 numbers or more: a hundredth is three standard deviations and a half.
    assert np.sqrt(np.mean(np.sum(np.square(start), axis=1))) == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(start, first_vectors(4000, dimension, 0))
