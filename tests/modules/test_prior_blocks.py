"""Blocks of the prior, against dense singular value decompositions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from modules import prior_blocks
from modules.prior_blocks import Block


def pattern(rng: np.random.Generator, rows: int = 40, columns: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of rows and columns that are rated unequally often; the last row and the last column have none."""
    likely = np.outer(rng.uniform(0.1, 1, rows - 1), rng.uniform(0.1, 1, columns - 1))
    return np.nonzero(rng.random(likely.shape) < likely)


def dense(row: np.ndarray, column: np.ndarray, shape: tuple[int, int], exponent: float) -> np.ndarray:
    """Memberships, entry by entry, centred."""
    matrix = np.zeros(shape)
    for r, c in zip(row, column, strict=True):
        matrix[r, c] = 1 / (np.sum(row == r) ** exponent * np.sum(column == c) ** exponent)
    return matrix - matrix.mean(axis=0)


def check(block: Block | None, centred: np.ndarray, rank: int) -> None:
    """U S V^T is the matrix, to a factor; and all that is said of U, S and V."""
    assert block is not None
    singular = np.linalg.svd(centred, compute_uv=False)
    assert len(block.singular) == rank
    assert block.left.shape == (len(centred), rank)
    assert (block.left.dtype, block.singular.dtype) == (np.float32, np.float64)
    kept = np.sqrt(np.sum(singular[:rank] ** 2) / len(centred))
    np.testing.assert_allclose(block.singular, singular[:rank] / kept, rtol=1e-4)
    # U^T X = S V^T, and all of X is in it.
    right = block.left.T @ (centred / kept)
    np.testing.assert_allclose(right @ right.T, np.diag(block.singular**2), atol=1e-3)
    np.testing.assert_allclose(block.left @ right, centred / kept, atol=3e-4)
    np.testing.assert_allclose(block.left.T @ block.left, np.eye(rank), atol=1e-5)
    np.testing.assert_allclose(block.left.sum(axis=0), 0, atol=1e-4)
    assert np.sum(np.square(block.left * block.singular)) / len(centred) == pytest.approx(1.0)


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0])
def test_memberships_of_full_rank(exponent: float, rng) -> None:
    row, column = pattern(rng)
    block = prior_blocks.membership(row, column, shape=(40, 30), exponent=exponent, rank=30, seed=0)
    centred = dense(row, column, (40, 30), exponent)
    check(block, centred, np.linalg.matrix_rank(centred))
    assert (block.name, block.is_shared) == (prior_blocks.MEMBERSHIP, True)


def test_memberships_with_more_columns_than_rows(rng) -> None:
    column, row = pattern(rng)
    block = prior_blocks.membership(row, column, shape=(30, 40), exponent=0.5, rank=1000, seed=0)
    centred = dense(row, column, (30, 40), 0.5)
    check(block, centred, np.linalg.matrix_rank(centred))


@pytest.mark.parametrize("rank", [1, 5])
def test_first_singular_vectors_of_memberships(rank: int, rng) -> None:
    """Of a spectrum that falls, so that random starts find the first vectors to rounding."""
    groups = rng.integers(0, 5, 200)
    row, column = np.nonzero((groups[:, np.newaxis] == np.arange(60) % 5) & (rng.random((200, 60)) < 0.9))
    block = prior_blocks.membership(row, column, shape=(200, 60), exponent=0.5, rank=rank, seed=0)
    centred = dense(row, column, (200, 60), 0.5)
    singular = np.linalg.svd(centred, compute_uv=False)[:rank]
    assert len(block.singular) == rank
    np.testing.assert_allclose(block.singular, np.sqrt(200) * singular / np.linalg.norm(singular), rtol=1e-4)
    right = block.left.T @ centred * (np.sqrt(200) / np.linalg.norm(singular))
    np.testing.assert_allclose(right @ right.T, np.diag(block.singular**2), rtol=1e-3, atol=5e-3)
    np.testing.assert_allclose(block.left.T @ block.left, np.eye(rank), atol=1e-5)


def test_a_slowly_falling_spectrum_is_found_too(rng) -> None:
    row, column = np.nonzero(rng.random((300, 200)) < 0.2)
    block = prior_blocks.membership(row, column, shape=(300, 200), exponent=0.5, rank=10, seed=0)
    best = np.linalg.svd(dense(row, column, (300, 200), 0.5), compute_uv=False)[:10]
    kept = np.linalg.norm(block.left.T @ dense(row, column, (300, 200), 0.5))
    # Without power iterations four fifths are found; the start itself is far from it.
    assert kept > 0.97 * np.linalg.norm(best)


def test_same_seed_same_bytes(rng) -> None:
    row, column = np.nonzero(rng.random((300, 200)) < 0.2)
    blocks = [
        prior_blocks.membership(row, column, shape=(300, 200), exponent=0.5, rank=4, seed=seed) for seed in (3, 3, 4)
    ]
    one, same, other = ([part.tobytes() for part in (b.left, b.singular)] for b in blocks)
    assert one == same
    assert one[0] != other[0]


def test_side_features_are_centred_over_described_rows(rng) -> None:
    features = (rng.random((50, 4)) < 0.4).astype(np.float32)
    features[[3, 10, 49]] = 0
    described = features.any(axis=1)
    centred = np.zeros((50, 4))
    centred[described] = features[described] - features[described].mean(axis=0)
    block = prior_blocks.side_features(features, seed=0)
    check(block, centred, 4)
    assert (block.name, block.is_shared) == (prior_blocks.SIDE_FEATURES, True)
    np.testing.assert_allclose(block.left[~described], 0, atol=1e-6)
    assert (np.abs(block.left[described]).sum(axis=1) > 1e-3).all()


def test_columns_that_repeat_others_have_no_singular_value(rng) -> None:
    features = rng.random((50, 3)).astype(np.float32)
    doubled = np.concatenate([features, features, np.ones((50, 1), np.float32)], axis=1)
    block = prior_blocks.side_features(doubled, seed=0)
    check(block, doubled - doubled.mean(axis=0), 3)


def test_singular_values_of_rounding_are_left_out(rng, monkeypatch) -> None:
    features = rng.normal(size=(50, 2)).astype(np.float32) * np.float32([1, 1e-3])
    assert len(prior_blocks.side_features(features, seed=0).singular) == 2
    assert len(prior_blocks.side_features(features * np.float32([1, 1e-2]), seed=0).singular) == 1


def test_counts_are_normal_scores_of_ranks_and_their_squares(rng) -> None:
    count = rng.integers(0, 20, 60)
    level = stats.norm.ppf((stats.rankdata(count) - 0.5) / 60)
    powers = np.stack([level, level**2 - 1], axis=1)
    block = prior_blocks.counts(count, seed=0)
    check(block, powers - powers.mean(axis=0), 2)
    assert (block.name, block.is_shared) == (prior_blocks.COUNTS, False)


def test_two_kinds_of_counts_have_one_coefficient() -> None:
    block = prior_blocks.counts(np.array([1, 1, 7, 7]), seed=0)
    assert block.left.shape == (4, 1)
    np.testing.assert_allclose(np.abs(block.left[:, 0]), 0.5, atol=1e-6)
    assert block.left[0, 0] * block.left[3, 0] < 0


@pytest.mark.parametrize("count", [[5], [2, 2, 2], [0, 0]])
def test_equal_counts_say_nothing(count: list[int]) -> None:
    assert prior_blocks.counts(np.array(count), seed=0) is None


@pytest.mark.parametrize(
    "features",
    [np.zeros((4, 3)), np.zeros((4, 0)), np.ones((4, 2)), np.eye(4, 3)[[0, 3, 3, 3]], np.ones((1, 2))],
    ids=["none described", "no features", "all alike", "one described", "one row"],
)
def test_features_that_say_nothing_have_no_block(features: np.ndarray) -> None:
    assert prior_blocks.side_features(features.astype(np.float32), seed=0) is None


def test_memberships_that_say_nothing_have_no_block() -> None:
    """Of one row, or of rows that all rated the same."""
    for row, column, shape in (([0, 0], [0, 1], (1, 2)), ([0, 0, 1, 1], [0, 1, 0, 1], (2, 2))):
        made = prior_blocks.membership(np.array(row), np.array(column), shape=shape, exponent=0.5, rank=5, seed=0)
        assert made is None


def test_blocks_cannot_be_changed() -> None:
    block = prior_blocks.counts(np.array([1, 2]), seed=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.name = ""  # type: ignore[misc]
