"""Ratings as weights: the map from any scale, and the sparse rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modules import retrieval_input
from modules.retrieval_input import RatingWeight


def test_a_weight_is_the_share_of_ratings_that_are_not_higher() -> None:
    weight = RatingWeight.of(np.array([1, 2, 2, 3, 3, 3, 5, 5, 5, 5]))
    np.testing.assert_allclose(weight(np.array([1, 2, 3, 5])), [0.1, 0.3, 0.6, 1.0], rtol=1e-6)
    # Linear in between, constant beyond.
    np.testing.assert_allclose(weight(np.array([4, 0, 9])), [0.8, 0.1, 1.0], rtol=1e-6)


def test_another_unit_gives_the_same_weights(rng) -> None:
    stars = rng.integers(1, 6, 1000).astype(np.float32)
    np.testing.assert_array_equal(RatingWeight.of(stars)(stars), RatingWeight.of(stars * 20 - 7)(stars * 20 - 7))


@pytest.mark.parametrize("value", [0.0, 1.0, 5.0])
def test_ratings_that_are_all_equal_weigh_one(value) -> None:
    ratings = np.full(4, value)
    np.testing.assert_array_equal(RatingWeight.of(ratings)(ratings), np.ones(4))


def test_many_values_are_kept_as_few_knots(rng) -> None:
    counts = rng.lognormal(2, 2, 20_000)
    weight = RatingWeight.of(counts)
    assert len(weight.rating) <= 101
    exact = np.searchsorted(np.sort(counts), counts, side="right") / len(counts)
    np.testing.assert_allclose(weight(counts), exact, atol=0.011)
    assert weight(counts).min() > 0
    assert weight(counts.max()) == 1


def test_the_lowest_of_many_values_weighs_its_share() -> None:
    weight = RatingWeight.of(np.append(np.zeros(150), np.arange(150) + 1.0))
    assert weight(np.zeros(1)) == pytest.approx(0.5, rel=1e-6)


def test_no_rating_is_refused() -> None:
    with pytest.raises(ValueError, match="expected ratings to weigh; got none"):
        RatingWeight.of(np.zeros(0))


def test_rows_hold_the_weights_of_ratings(small_ratings) -> None:
    weights = retrieval_input.weighted(small_ratings, RatingWeight.of(small_ratings.rating))
    assert weights.shape == (3, 4)
    assert weights.dtype == np.float32
    expected = np.zeros((3, 4))
    share = {1: 1 / 8, 2: 2 / 8, 3: 4 / 8, 4: 6 / 8, 5: 1}
    for user, title, rating in zip(small_ratings.user, small_ratings.title, small_ratings.rating, strict=True):
        expected[user, title] = share[int(rating)]
    np.testing.assert_allclose(weights.toarray(), expected)
    np.testing.assert_array_equal(retrieval_input.rated(weights).toarray(), expected > 0)


def test_ids_beyond_the_vocabulary_are_left_out(small_ratings) -> None:
    fewer = dataclasses.replace(small_ratings, num_users=2, num_titles=2)
    weights = retrieval_input.weighted(fewer, RatingWeight.of(fewer.rating))
    np.testing.assert_array_equal(weights.toarray() > 0, [[True, True], [True, True]])
