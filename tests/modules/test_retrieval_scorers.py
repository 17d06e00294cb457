"""The fitted models' scores of all titles: one user alone, many at once, and rating by rating, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from modules.implicit_als import AlsConfig
from modules.retrieval_scorers import AlsScorer, EaseScorer, LinearScorer, LowRankEaseScorer, Scorer

USERS, TITLES, RANK = 4, 9, 3
CONFIG = AlsConfig(dimension=RANK, unobserved_weight=0.1, regularization=0.3, exponent=0.5)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    """Of what users rated, float32 [users, titles]; the last user has rated nothing."""
    rng = np.random.default_rng(2)
    made = np.where(rng.random((USERS, TITLES)) < 0.5, rng.uniform(0.2, 1.0, (USERS, TITLES)), 0.0)
    made[-1] = 0.0
    return made.astype(np.float32)


def als_scores(vectors: np.ndarray, weights: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """A user's least squares written out: all titles weigh a little, those rated more, and targets are 1."""
    rated = vectors[weights > 0].astype(np.float64)
    known = weights[weights > 0].astype(np.float64)
    penalty = CONFIG.regularization * (len(known) + CONFIG.unobserved_weight * len(vectors)) ** CONFIG.exponent
    gram = CONFIG.unobserved_weight * vectors.T.astype(np.float64) @ vectors + rated.T * known @ rated
    return everything @ np.linalg.solve(gram + penalty * np.eye(RANK), rated.T @ known)


WHOLE, VECTORS, OUTPUTS, UNRATED = (
    numbers(TITLES, TITLES),
    numbers(TITLES, RANK),
    numbers(RANK, TITLES).T,
    numbers(2, RANK),
)
SCORERS = {
    "iALS": lambda: AlsScorer(tf.constant(VECTORS), CONFIG),
    "iALS, with unrated titles": lambda: AlsScorer(tf.constant(VECTORS), CONFIG, tf.constant(UNRATED)),
    "EASE": lambda: EaseScorer(WHOLE),
    "EASE of low rank": lambda: LowRankEaseScorer(VECTORS, np.ascontiguousarray(OUTPUTS)),
}
EXPECTED = {
    "iALS": lambda row: als_scores(VECTORS, row, VECTORS),
    "iALS, with unrated titles": lambda row: als_scores(VECTORS, row, np.concatenate([VECTORS, UNRATED])),
    "EASE": lambda row: row @ WHOLE,
    "EASE of low rank": lambda row: row @ VECTORS @ OUTPUTS.T,
}


@pytest.mark.parametrize("name", SCORERS)
def test_scores_are_the_formula_in_every_way_of_asking(name: str, weights: np.ndarray) -> None:
    scorer: Scorer = SCORERS[name]()
    expected = np.array([EXPECTED[name](row) for row in weights])
    np.testing.assert_allclose(scorer.in_bulk(sparse.csr_matrix(weights)), expected, atol=1e-4)
    for row, scores in zip(weights, expected, strict=True):
        titles = np.flatnonzero(row).astype(np.int32)
        asked = tf.constant(titles), tf.constant(row[titles])
        np.testing.assert_allclose(scorer.scores(*asked), scores, atol=1e-4)
        parts = scorer.parts(*asked)
        assert parts.shape == (len(titles), len(scores))
        np.testing.assert_allclose(tf.reduce_sum(parts, axis=0), scores, atol=1e-4)
    if isinstance(scorer, LinearScorer):
        np.testing.assert_allclose(scorer.of_rows(tf.constant(weights)), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["EASE", "EASE of low rank"])
def test_a_part_is_that_of_one_rating(name: str, weights: np.ndarray) -> None:
    scorer = SCORERS[name]()
    titles = np.flatnonzero(weights[0]).astype(np.int32)
    parts = scorer.parts(tf.constant(titles), tf.constant(weights[0, titles]))
    for title, part in zip(titles, parts, strict=True):
        alone = np.where(np.arange(TITLES) == title, weights[0], 0.0).astype(np.float32)
        np.testing.assert_allclose(part, EXPECTED[name](alone), atol=1e-5)


def test_cosines_of_titles() -> None:
    scorer = AlsScorer(
        tf.constant(VECTORS), CONFIG, tf.constant(np.concatenate([UNRATED, np.zeros((1, RANK), np.float32)]))
    )
    everything = np.concatenate([VECTORS, UNRATED])
    lengths = np.linalg.norm(everything, axis=1)
    for title in (0, TITLES):
        expected = everything @ everything[title] / (lengths * lengths[title])
        # A title of which nothing is known is like no other.
        np.testing.assert_allclose(scorer.cosines(tf.constant(title)), [*expected, 0.0], atol=1e-5)
