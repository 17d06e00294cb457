"""NDCG of whole lists, against sums by hand and a loop."""

from __future__ import annotations

import numpy as np
import pytest

from modules.metrics import first_k, list_ndcg


def test_ndcg_of_lists_by_hand() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0], [5.0, 4.0, 3.0, 2.0], [-np.inf, 4.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
    positive = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    found = list_ndcg(scores, positive, 3)
    np.testing.assert_array_equal(found.counted, [True, True, True, False])
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    np.testing.assert_allclose(found.value, [(1 + third) / (1 + second), 0, 1, 0])
    assert found.mean() == pytest.approx(((1 + third) / (1 + second) + 1) / 3)


def test_ndcg_of_lists_is_that_of_a_loop(rng) -> None:
    scores, positive = rng.integers(0, 50, (30, 20)).astype(float), rng.random((30, 20)) < 0.2
    for k in (1, 5, 20, 40):
        found = list_ndcg(scores + np.arange(20) * 1e-6, positive, k)
        for row in range(30):
            order = sorted(range(20), key=lambda title, row=row: -(scores[row, title] + title * 1e-6))[:k]
            gained = sum(1 / np.log2(rank + 2) for rank, title in enumerate(order) if positive[row, title])
            largest = sum(1 / np.log2(rank + 2) for rank in range(min(k, positive[row].sum())))
            assert found.value[row] == pytest.approx(gained / largest if largest else 0)


def test_the_first_k_are_the_highest_best_first(rng) -> None:
    scores = rng.standard_normal((7, 30))
    for k in (1, 4, 30, 99):
        np.testing.assert_array_equal(first_k(scores, k), np.argsort(-scores, axis=1)[:, :k])
    np.testing.assert_array_equal(first_k(np.zeros((1, 5)), 5), [[0, 1, 2, 3, 4]])


@pytest.mark.parametrize(("k", "titles"), [(0, 4), (3, 5)])
def test_what_cannot_be_measured_is_refused(k, titles) -> None:
    with pytest.raises(ValueError, match="expected k of at least 1 and arrays of one shape"):
        list_ndcg(np.zeros((2, 4)), np.zeros((2, titles), bool), k)
