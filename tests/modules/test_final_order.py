"""The order's weights: found again where they are planted, popularity where there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest

from modules import final_order
from modules.final_order import Lists, learn
from modules.order_features import POPULARITY

NAMES = ("iALS", "EASE", POPULARITY)


def planted(rng: np.random.Generator, weights: list[float], lists: int = 4000) -> Lists:
    """One positive a list, drawn by the softmax of the weighted features, the second of which is in another unit."""
    table = rng.standard_normal((lists, 20, 3)).astype(np.float32)
    gumbel = rng.gumbel(size=(lists, 20))
    chosen = np.argmax(table @ weights + gumbel, axis=1)
    is_positive = np.arange(20) == chosen[:, np.newaxis]
    return Lists(table * np.array([1, 100, 1], np.float32) + 5.0, is_positive)


def test_planted_weights_are_found_again(rng) -> None:
    order = learn(NAMES, {7: planted(rng, [1.0, -0.5, 0.3])})
    np.testing.assert_allclose(order.weights[0], [1.0, -0.5, 0.3], atol=0.06)
    np.testing.assert_allclose(order.coefficients[0] * [1, 100, 1], [1.0, -0.5, 0.3], atol=0.06)
    assert order.names == NAMES


def test_lists_without_a_pattern_leave_the_order_to_popularity(rng) -> None:
    """Two lists, whose positives happen to have more of one feature: it does not get more than popularity."""
    few = learn(NAMES, {7: planted(rng, [0.0, 0.0, 0.0], lists=2)}).weights[0]
    assert few[2] > abs(few[:2]).max()


@pytest.mark.parametrize("is_positive", [False, True], ids=["no positives", "nothing else"])
def test_lists_that_tell_nothing_give_popularity(is_positive) -> None:
    lists = Lists(np.zeros((2, 4, 3), np.float32), np.full((2, 4), is_positive))
    np.testing.assert_array_equal(learn(NAMES, {1: lists}).weights, [[0, 0, 1]])
    empty = Lists(np.zeros((0, 4, 3), np.float32), np.zeros((0, 4), bool))
    np.testing.assert_array_equal(learn(NAMES, {1: empty}).coefficients, [[0, 0, 1]])


def test_a_feature_that_never_varies_weighs_nothing(rng) -> None:
    lists = planted(rng, [1.0, 0.0, 0.3], lists=300)
    lists.features[:, :, 1] = 4.0
    assert learn(NAMES, {1: lists}).weights[0, 1] == 0


def test_the_weights_are_the_minimum(rng) -> None:
    """Of the loss written out anew: every step aside makes it larger."""
    lists = planted(rng, [0.8, 0.2, 0.1], lists=60)
    lists.is_positive[:, :3] = True
    weights = learn(NAMES, {1: lists}).weights[0].astype(np.float64)
    table = lists.features.astype(np.float64) - lists.features.mean(axis=1, keepdims=True)
    table /= np.sqrt(np.mean(table**2, axis=(0, 1)))
    root = np.sqrt(lists.is_positive.sum(1))

    def misfit(w: np.ndarray) -> float:
        scores = table @ w
        log_softmax = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        means = [log_softmax[each][lists.is_positive[each]].mean() for each in range(len(root))]
        return -float(root @ means / root.sum())

    def loss(w: np.ndarray) -> float:
        return misfit(w) + 0.5 * 25 / 60 * np.sum((w - [0, 0, 0.1]) ** 2)

    for direction in np.eye(3):
        assert loss(weights + 5e-3 * direction) > loss(weights)
        assert loss(weights - 5e-3 * direction) > loss(weights)


def test_no_lists_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="expected lists for one number of known ratings or more"):
        learn(NAMES, {})


def test_the_numbers_of_known_ratings_rise() -> None:
    assert list(final_order.SHORT) == sorted(set(final_order.SHORT))
