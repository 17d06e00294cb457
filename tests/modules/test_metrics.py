import functools
import itertools
import math

import numpy as np
import pytest

from modules import metrics


def dcg(gains, k):
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains[:k]))


def expected_ndcg(labels, predictions, k):
    """The mean over every order of the rows that is sorted by prediction, by enumeration."""
    orders = [
        order
        for order in itertools.permutations(range(len(labels)))
        if all(predictions[a] >= predictions[b] for a, b in itertools.pairwise(order))
    ]
    values = [dcg([labels[row] for row in order], k) for order in orders]
    return float(np.mean(values)) / dcg(sorted(labels, reverse=True), k)


def accuracy_of_pairs(labels, predictions):
    scores = [
        0.5 if predictions[a] == predictions[b] else float((predictions[a] > predictions[b]) == (labels[a] > labels[b]))
        for a, b in itertools.combinations(range(len(labels)), 2)
        if labels[a] != labels[b]
    ]
    return float(np.mean(scores)) if scores else None


def test_errors_by_hand():
    labels, predictions = np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.0, 3.0])
    assert metrics.rmse(labels, predictions) == pytest.approx(math.sqrt(5 / 3))
    assert metrics.mae(labels, predictions) == pytest.approx(1.0)


def test_errors_keep_precision_of_float32_input():
    labels = np.full(1_000_000, 3.1, np.float32)
    predictions = np.full(1_000_000, 3.0, np.float32)
    assert metrics.rmse(labels, predictions) == pytest.approx(float(np.float32(3.1) - np.float32(3.0)), rel=1e-9)


def test_ndcg_by_hand():
    # Query 7 is ranked 5, 1, 3 (labels), query 2 is perfect.
    queries = np.array([7, 2, 7, 7, 2])
    labels = np.array([1.0, 4.0, 5.0, 3.0, 2.0])
    predictions = np.array([2.0, 9.0, 3.0, 1.0, 8.0])
    first = (5 + 1 / math.log2(3) + 3 / 2) / (5 + 3 / math.log2(3) + 1 / 2)
    assert metrics.ndcg_at_k(queries, labels, predictions) == pytest.approx((first + 1) / 2)
    at_two = (5 + 1 / math.log2(3)) / (5 + 3 / math.log2(3))
    assert metrics.ndcg_at_k(queries, labels, predictions, k=2) == pytest.approx((at_two + 1) / 2)


@pytest.mark.parametrize("k", [1, 2, 4, 10])
def test_ndcg_of_ties_is_the_mean_over_all_orders(k):
    rng = np.random.default_rng(3)
    queries = np.repeat([5, 1, 9], [6, 1, 5])
    labels = rng.integers(1, 6, len(queries)).astype(float)
    predictions = rng.integers(0, 3, len(queries)).astype(float)
    each = [expected_ndcg(labels[queries == q], predictions[queries == q], k) for q in (5, 1, 9)]
    shuffled = rng.permutation(len(queries))
    value = metrics.ndcg_at_k(queries[shuffled], labels[shuffled], predictions[shuffled], k)
    assert value == pytest.approx(np.mean(each))


def test_ndcg_leaves_out_queries_without_a_positive_label():
    queries = np.array([1, 1, 2, 2])
    labels = np.array([0.0, 0.0, 1.0, 2.0])
    predictions = np.array([1.0, 2.0, 1.0, 0.0])
    alone = metrics.ndcg_at_k(queries[2:], labels[2:], predictions[2:])
    assert metrics.ndcg_at_k(queries, labels, predictions) == pytest.approx(alone)
    assert math.isnan(metrics.ndcg_at_k(queries[:2], labels[:2], predictions[:2]))


def test_ndcg_is_that_of_model_analysis():
    ndcg = pytest.importorskip("tensorflow_model_analysis.metrics.ndcg")
    combiner = ndcg._NDCGCombiner([], None, "", "", False, "query", "gain")
    rng = np.random.default_rng(0)
    queries, labels = np.repeat(np.arange(20), 15), rng.integers(1, 6, 300).astype(float)
    predictions = rng.normal(size=300)
    each = []
    for query in range(20):
        rows = queries == query
        ranked = labels[rows][np.argsort(predictions[rows])[::-1]]
        each.append(combiner._calculate_ndcg([(rank + 1, gain) for rank, gain in enumerate(ranked)], 10))
    assert metrics.ndcg_at_k(queries, labels, predictions, 10) == pytest.approx(np.mean(each), abs=1e-12)


def test_pairwise_accuracy_by_hand():
    # Pairs (1, 3) right, (1, 2) tied, (3, 2) wrong.
    labels, predictions = np.array([1.0, 3.0, 2.0]), np.array([0.0, 5.0, 0.0])
    assert metrics.pairwise_accuracy(np.zeros(3, int), labels, predictions) == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_pairwise_accuracy_against_enumeration(levels):
    rng = np.random.default_rng(levels)
    queries = rng.choice([3, 8, 11, 40], size=200, p=[0.05, 0.15, 0.3, 0.5])
    labels = rng.integers(1, 6, 200) / 2
    predictions = rng.integers(0, levels, 200).astype(float)
    each = [accuracy_of_pairs(labels[queries == q], predictions[queries == q]) for q in np.unique(queries)]
    expected = np.mean([value for value in each if value is not None])
    assert metrics.pairwise_accuracy(queries, labels, predictions) == pytest.approx(expected, abs=1e-12)


def test_pairwise_accuracy_of_extremes():
    queries, labels = np.repeat([0, 1], 4), np.tile([1.0, 2.0, 3.0, 4.0], 2)
    assert metrics.pairwise_accuracy(queries, labels, labels) == 1.0
    assert metrics.pairwise_accuracy(queries, labels, -labels) == 0.0
    assert metrics.pairwise_accuracy(queries, labels, np.full(8, 3.3)) == 0.5
    assert math.isnan(metrics.pairwise_accuracy(np.arange(4), labels[:4], labels[:4]))
    assert math.isnan(metrics.pairwise_accuracy(np.zeros(4, int), np.ones(4), labels[:4]))


@pytest.mark.parametrize("metric", [functools.partial(metrics.ndcg_by_query, k=10), metrics.pairwise_accuracy_by_query])
def test_a_nan_prediction_spoils_its_query_alone(metric):
    queries, labels = np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 3.0, 4.0])
    by_query = metric(queries, labels, np.array([1.0, 2.0, np.nan, 3.0]))
    assert np.isnan(by_query.value).tolist() == [True, False]
    assert by_query.counted.all()
    assert math.isnan(by_query.mean())


@pytest.mark.parametrize("metric", [metrics.rmse, metrics.mae])
@pytest.mark.parametrize("shape", [(3, 1), (2,), (0,)])
def test_errors_refuse_other_shapes(metric, shape):
    labels = np.zeros(3) if shape != (0,) else np.zeros(0)
    with pytest.raises(ValueError, match="expected arrays of one shape"):
        metric(labels, np.zeros(shape))


@pytest.mark.parametrize("metric", [metrics.ndcg_at_k, metrics.pairwise_accuracy])
def test_order_refuses_other_shapes(metric):
    with pytest.raises(ValueError, match="expected arrays of one shape"):
        metric(np.zeros(3, int), np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="expected arrays of one shape"):
        metric(np.zeros(0, int), np.zeros(0), np.zeros(0))


def test_ndcg_refuses_no_ranks():
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        metrics.ndcg_at_k(np.zeros(1, int), np.ones(1), np.ones(1), k=0)


def test_the_first_of_many_scores_are_those_of_a_whole_sort():
    scores = np.random.default_rng(1).integers(0, 40, (30, 50)).astype(float)
    for k in (1, 7, 50, 60):
        best = metrics.first_k(scores, k)
        assert best.shape == (30, min(k, 50))
        for row, found in zip(scores, best, strict=True):
            assert len(set(found.tolist())) == len(found)
            np.testing.assert_array_equal(row[found], np.sort(row)[::-1][:k])
            # Of equal ones the first comes first.
            assert all(a < b or row[a] != row[b] for a, b in itertools.pairwise(found))


def test_ndcg_of_lists_by_hand():
    scores = np.array([[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [-np.inf, 2.0, 1.0, -np.inf]])
    is_positive = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]], bool)
    by_query = metrics.list_ndcg(scores, is_positive, 3)
    largest = 1 + 1 / math.log2(3) + 1 / 2
    expected = [(1 + 1 / 2) / largest, 1.0, 0.0, 1 / math.log2(3)]
    np.testing.assert_allclose(by_query.value, expected)
    assert by_query.counted.tolist() == [True, True, False, True]
    np.testing.assert_allclose(metrics.list_ndcg(scores, is_positive, 1).value, [1, 1, 0, 0])


def test_positives_that_no_rank_holds_count_as_missed():
    is_positive = np.array([[True, False], [False, False], [False, True]])
    by_query = metrics.ranked_ndcg(is_positive, np.array([5, 3, 0]))
    np.testing.assert_allclose(by_query.value, [1 / (1 + 1 / math.log2(3)), 0.0, 0.0])
    assert by_query.counted.tolist() == [True, True, False]
