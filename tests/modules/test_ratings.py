"""Ratings in memory: columns stay together, and a unit says nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modules.ratings import Ratings, standard_unit, standardize


def columns(ratings: Ratings) -> list[tuple[int, int, float]]:
    return list(zip(ratings.user.tolist(), ratings.title.tolist(), ratings.rating.tolist(), strict=True))


@pytest.mark.parametrize("rows", [np.arange(8) % 3 == 0, np.array([0, 3, 6])], ids=["mask", "positions"])
def test_selected_rows_keep_who_what_and_how(small_ratings: Ratings, rows: np.ndarray) -> None:
    assert columns(small_ratings.select(rows)) == [(0, 0, 5.0), (1, 0, 4.0), (2, 0, 3.0)]
    assert columns(small_ratings.select(np.array([5, 7]))) == [(1, 3, 5.0), (2, 2, 1.0)]


def test_ratings_of_some_users_have_these_users_alone(small_ratings: Ratings) -> None:
    small_ratings.user_features[2, 0] = 7.0
    some = small_ratings.of_users(np.array([0, 2]))
    np.testing.assert_array_equal(some.user, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(some.title, [0, 1, 2, 0, 2])
    np.testing.assert_array_equal(some.rating, [5, 3, 4, 3, 1])
    assert some.user.dtype == np.int32
    assert (some.num_users, some.num_titles) == (2, 4)
    np.testing.assert_array_equal(some.user_features, small_ratings.user_features[[0, 2]])
    # Unknown users are nobody's.
    strangers = dataclasses.replace(small_ratings, user=small_ratings.user + 1)
    np.testing.assert_array_equal(strangers.of_users(np.array([0, 2])).rating, [4, 2, 5])


def test_standard_unit_by_hand() -> None:
    assert standard_unit(np.array([1, 5, 1, 5], np.float32)) == (3.0, 2.0)
    assert standard_unit(np.array([4, 4], np.float32)) == (4.0, 1.0)


def test_standardised_ratings_are_equal_in_every_unit() -> None:
    stars = np.array([1, 2, 4.5, 5], np.float32)
    expected = (stars - 3.125) / np.sqrt(np.mean((stars - 3.125) ** 2))
    np.testing.assert_allclose(standardize(stars), expected, atol=1e-6)
    np.testing.assert_array_equal(standardize(stars), standardize(20 * stars - 7))
