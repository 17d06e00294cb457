"""EASE against the closed form, over either Gram matrix; low rank against it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from modules import ease
from modules.ease import EaseGram, EaseSpectrum


def closed_form(ratings: np.ndarray, penalty: float) -> np.ndarray:
    inverse = np.linalg.inv(ratings.T @ ratings + penalty * np.eye(ratings.shape[1]))
    weights = np.eye(ratings.shape[1]) - inverse / np.diagonal(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def some(rng: np.random.Generator, users: int, titles: int) -> sparse.csr_matrix:
    dense = rng.uniform(0.1, 1, (users, titles)) * (rng.random((users, titles)) < 0.4)
    return sparse.csr_matrix(dense.astype(np.float32))


@pytest.mark.parametrize("bound", [0.0, 1e5], ids=["in float64", "in float32"])
@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (9, 9), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("penalty", [0.3, 50.0])
def test_weights_are_those_of_the_closed_form(shape, penalty, bound, rng, monkeypatch) -> None:
    monkeypatch.setattr(ease, "_WELL_CONDITIONED", bound)
    monkeypatch.setattr(ease, "_PART", 3)
    ratings = some(rng, *shape)
    found = EaseGram(ratings).weights(penalty)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, closed_form(ratings.toarray().astype(np.float64), penalty), atol=1e-6)


def test_weights_are_exact_where_the_penalty_is_small_beside_what_was_rated(rng) -> None:
    """Beside eigenvalues of thousands, of which float32 keeps too little."""
    ratings = sparse.csr_matrix(rng.uniform(0.1, 1, (3000, 8)).astype(np.float32))
    found = EaseGram(ratings).weights(1e-3)
    np.testing.assert_allclose(found, closed_form(ratings.toarray().astype(np.float64), 1e-3), atol=1e-6)


def test_both_gram_matrices_give_the_same(rng) -> None:
    """Users without ratings change nothing, but which of the two is smaller."""
    few = some(rng, 8, 20)
    many = sparse.vstack([few, sparse.csr_matrix((30, 20), dtype=np.float32)]).tocsr()
    np.testing.assert_allclose(EaseGram(few).weights(2.0), EaseGram(many).weights(2.0), atol=1e-6)


def test_a_title_without_ratings_has_no_weights(rng) -> None:
    ratings = some(rng, 8, 20).toarray()
    ratings[:, 3] = 0
    found = EaseGram(sparse.csr_matrix(ratings)).weights(2.0)
    assert not found[3].any()
    assert not found[:, 3].any()


def test_the_smaller_gram_matrix_is_made(rng) -> None:
    """Of 4 users and 2000 titles that is one of 128 bytes, beside one of 32 million."""
    ratings = some(rng, 4, 2000)
    tracemalloc.start()
    try:
        EaseGram(ratings)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "is_full"),
    [
        ((5, ease.FULL_SIZE), True),
        ((5, ease.FULL_SIZE + 1), False),
        ((ease.GRAM_SIZE, ease.GRAM_SIZE + 1), True),
        ((ease.GRAM_SIZE + 1, ease.GRAM_SIZE), True),
        ((ease.GRAM_SIZE + 1, ease.GRAM_SIZE + 1), False),
    ],
)
def test_the_whole_matrix_is_made_where_it_and_a_gram_matrix_are_small(shape, is_full) -> None:
    assert ease.is_full(sparse.csr_matrix(shape, dtype=np.float32)) == is_full


@pytest.mark.parametrize("size", [1.0, 0.1])
@pytest.mark.parametrize("shape", [(8, 20), (30, 8)])
def test_low_rank_is_exact_where_the_rank_is_full(shape, size, rng) -> None:
    ratings = (some(rng, *shape) * np.float32(size)).tocsr()
    vectors, outputs = EaseSpectrum(ratings, 100, seed=0).weights(2.0)
    product = vectors @ outputs.T
    np.fill_diagonal(product, 0)
    np.testing.assert_allclose(product, EaseGram(ratings).weights(2.0), atol=2e-5)


def test_low_rank_keeps_what_is_of_low_rank(rng) -> None:
    """Ten groups of titles that are rated together: ten eigenvectors are all there is."""
    group = np.arange(200) % 10
    ratings = sparse.csr_matrix((rng.integers(0, 10, 500)[:, None] == group).astype(np.float32))
    spectrum = EaseSpectrum(ratings, 10, seed=0)
    vectors, outputs = spectrum.weights(3.0)
    assert vectors.shape == (200, 10)
    product = vectors @ outputs.T
    np.fill_diagonal(product, 0)
    np.testing.assert_allclose(product, EaseGram(ratings).weights(3.0), atol=1e-4)


def test_a_penalty_that_leaves_no_inverse_is_refused() -> None:
    with pytest.raises(ValueError, match="penalty must be large enough"):
        EaseGram(sparse.csr_matrix(np.ones((4, 3), np.float32))).weights(-5.0)
