"""The order's weights: found again where they are planted, popularity where there is nothing to learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modules import final_order, metrics
from modules.final_order import Lists, learn
from modules.order_features import POPULARITY

NAMES = ("iALS", "EASE", POPULARITY)


def lists_of(features: np.ndarray, is_positive: np.ndarray, by_popularity: float | None = None) -> Lists:
    """Lists that hold all positives; popularity, the last feature, orders them unless its NDCG is given."""
    popular = metrics.list_ndcg(features[:, :, -1], is_positive, 10).value
    popular = popular if by_popularity is None else np.full(len(is_positive), by_popularity)
    return Lists(features, is_positive, is_positive.sum(axis=1), popular)


def planted(rng: np.random.Generator, weights: list[float], lists: int = 4000) -> Lists:
    """One positive a list, drawn by the softmax of the weighted features, the second of which is in another unit."""
    table = rng.standard_normal((lists, 20, 3)).astype(np.float32)
    gumbel = rng.gumbel(size=(lists, 20))
    chosen = np.argmax(table @ weights + gumbel, axis=1)
    is_positive = np.arange(20) == chosen[:, np.newaxis]
    return lists_of(table * np.array([1, 100, 1], np.float32) + 5.0, is_positive)


def test_planted_weights_are_found_again(rng) -> None:
    order = learn(NAMES, {7: planted(rng, [1.0, -0.5, 0.3])})
    np.testing.assert_allclose(order.weights[0], [1.0, -0.5, 0.3], atol=0.06)
    np.testing.assert_allclose(order.coefficients[0] * [1, 100, 1], [1.0, -0.5, 0.3], atol=0.06)
    assert order.names == NAMES


def test_lists_without_a_pattern_leave_the_order_to_popularity(rng) -> None:
    """Two lists, whose positives happen to have more of one feature: it does not get more than popularity."""
    few = learn(NAMES, {7: planted(rng, [0.0, 0.0, 0.0], lists=2)}).weights[0]
    assert few[2] > abs(few[:2]).max()


def test_what_does_not_hold_on_other_lists_leaves_the_order_to_popularity(rng) -> None:
    """Positives that by turns have the most and the least of a feature: what is learned of some harms the others."""
    features = rng.standard_normal((40, 20, 3)).astype(np.float32)
    sign = np.where(np.arange(40) % 4 < 2, 1, -1)[:, np.newaxis]
    is_positive = np.arange(20) == np.argmax(features[:, :, 0] * sign, axis=1)[:, np.newaxis]
    np.testing.assert_array_equal(learn(NAMES, {5: lists_of(features, is_positive)}).weights, [[0, 0, 1]])


@pytest.mark.parametrize(("by_popularity", "is_kept"), [(0.3, True), (0.99, False)])
def test_an_order_that_the_most_popular_titles_of_all_beat_is_dropped(rng, by_popularity, is_kept) -> None:
    lists = planted(rng, [3.0, 0.0, 0.0], lists=200)
    lists = lists_of(lists.features, lists.is_positive, by_popularity)
    weights = learn(NAMES, {7: lists}).weights[0]
    assert (weights[0] > 1.0) == is_kept
    assert weights.tolist() == [0, 0, 1] or is_kept


def test_positives_outside_of_a_list_count_as_missed(rng) -> None:
    """The same lists, of users with many more positives that no list holds: popularity is better."""
    lists = planted(rng, [3.0, 0.0, 0.0], lists=200)
    lists = lists_of(lists.features, lists.is_positive, 0.3)
    assert learn(NAMES, {7: lists}).weights[0, 0] > 1.0
    many = dataclasses.replace(lists, positives=lists.positives + 9)
    assert learn(NAMES, {7: many}).weights[0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("is_positive", [False, True], ids=["no positives", "nothing else"])
def test_lists_that_tell_nothing_give_popularity(is_positive) -> None:
    lists = lists_of(np.zeros((8, 4, 3), np.float32), np.full((8, 4), is_positive))
    np.testing.assert_array_equal(learn(NAMES, {1: lists}).weights, [[0, 0, 1]])
    none = final_order.no_lists(3)
    np.testing.assert_array_equal(learn(NAMES, {1: none}).coefficients, [[0, 0, 1]])
    assert [len(each) for each in (none.features, none.is_positive, none.positives, none.by_popularity)] == [0] * 4


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
        assert loss(weights + 5e-4 * direction) > loss(weights)
        assert loss(weights - 5e-4 * direction) > loss(weights)


def test_no_lists_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="expected lists for one number of known ratings or more"):
        learn(NAMES, {})


def test_the_numbers_of_known_ratings_rise() -> None:
    assert list(final_order.SHORT) == sorted(set(final_order.SHORT))
