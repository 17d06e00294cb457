"""How good predicted ratings are: error in stars, and the order of each user's titles.

NumPy alone, without a Python loop over users. All functions take arrays of one length, row by row the same rating.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ByQuery(NamedTuple):
    """A metric of each query.

    Attributes:
      value: float64 [queries]; NaN where a prediction of the query is NaN, whatever where the query does not count.
      counted: bool [queries]: the query counts, whatever is predicted.
    """

    value: np.ndarray
    counted: np.ndarray

    def mean(self) -> float:
        """The mean over the queries that count; NaN if none does."""
        return float(np.mean(self.value[self.counted])) if self.counted.any() else float("nan")


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Root mean squared error.

    Args:
      labels: float [ratings], stars.
      predictions: float [ratings], stars.

    Returns:
      sqrt(mean((predictions - labels)^2)), stars.

    Raises:
      ValueError: no ratings, or arrays that are not one-dimensional and of one length.
    """
    labels, predictions = _columns(labels=labels, predictions=predictions)
    return float(np.sqrt(np.mean(np.square(predictions - labels, dtype=np.float64))))


def mae(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean absolute error, stars; arguments and errors as in `rmse`."""
    labels, predictions = _columns(labels=labels, predictions=predictions)
    return float(np.mean(np.abs(predictions - labels, dtype=np.float64)))


def ndcg_at_k(queries: np.ndarray, labels: np.ndarray, predictions: np.ndarray, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k, averaged over queries.

    DCG@k = sum over ranks i = 1..k of gain_i / log2(i + 1), NDCG@k = DCG@k / (largest DCG@k of any order), with the
    label itself as the gain: the form that TensorFlow Model Analysis computes (`tfma.metrics.NDCG`). As there, a query
    without a positive label is left out. Unlike there, rows of equal prediction do not keep an arbitrary order: the
    value is the expectation over all orders of them, so every rank of a tied run counts its run's mean discount.

    Args:
      queries: integer [ratings], what to rank within: user ids.
      labels: float [ratings], stars.
      predictions: float [ratings], anything that orders the titles of a query, highest first.
      k: ranks that count.

    Returns:
      The mean over queries, in (0, 1] for labels > 0; NaN if no query has a positive label.

    Raises:
      ValueError: k below 1, no ratings, or arrays that are not one-dimensional and of one length.
    """
    queries, labels, predictions = _columns(queries=queries, labels=labels, predictions=predictions)
    _, query = np.unique(queries, return_inverse=True)
    return ndcg_by_query(query, labels, predictions, k).mean()


def ndcg_by_query(query: np.ndarray, labels: np.ndarray, predictions: np.ndarray, k: int) -> ByQuery:
    """NDCG of each query, defined as in `ndcg_at_k`; queries with a positive label count.

    Args:
      query: int [ratings], 0 <= query < queries, each of them used.
      labels: float [ratings], stars.
      predictions: float [ratings].
      k: ranks that count.

    Raises:
      ValueError: k below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}; pass the number of ranks that count")
    labels = np.asarray(labels, np.float64)
    sizes = np.bincount(query)
    rank = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # Once rows are sorted by query.
    by_prediction, by_label = np.lexsort((-predictions, query)), np.lexsort((-labels, query))
    sorted_query = query[by_prediction]
    run = np.cumsum(_changes(sorted_query, predictions[by_prediction])) - 1
    discount = np.where(rank < k, 1.0 / np.log2(rank + 2.0), 0.0)
    tied_discount = (np.bincount(run, weights=discount) / np.bincount(run))[run]
    gained = np.bincount(sorted_query, weights=labels[by_prediction] * tied_discount)
    largest = np.bincount(sorted_query, weights=labels[by_label] * discount)
    # Negative labels may sink the largest DCG to zero or below; Model Analysis gives such a query a zero.
    ndcg = np.divide(gained, largest, out=np.zeros_like(gained), where=largest > 0)
    ndcg[query[np.isnan(predictions)]] = np.nan
    return ByQuery(ndcg, np.bincount(query, weights=labels > 0) > 0)


def pairwise_accuracy(queries: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> float:
    """How often the better of two titles is predicted higher, within a query, averaged over queries.

    Of a query's pairs with different labels: the share that the predictions put in the labels' order, where an equal
    prediction counts one half. Pairs in the wrong order are the inversions of the predictions in label order, counted
    by merge sort as in Knight 1966 ("A computer method for calculating Kendall's tau"), all queries at once:
    O(ratings x log(ratings) x log(largest query)).

    Args:
      queries: integer [ratings], what to rank within: user ids.
      labels: float [ratings], stars.
      predictions: float [ratings], anything that orders the titles of a query, highest first.

    Returns:
      The mean over the queries that have such a pair, in [0, 1]; NaN if none has.

    Raises:
      ValueError: no ratings, or arrays that are not one-dimensional and of one length.
    """
    queries, labels, predictions = _columns(queries=queries, labels=labels, predictions=predictions)
    _, query = np.unique(queries, return_inverse=True)
    return pairwise_accuracy_by_query(query, labels, predictions).mean()


def pairwise_accuracy_by_query(query: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> ByQuery:
    """Pairwise accuracy of each query, defined as in `pairwise_accuracy`; queries with two different labels count.

    Args:
      query: int [ratings], 0 <= query < queries, each of them used.
      labels: float [ratings], stars.
      predictions: float [ratings].
    """
    count = int(query.max()) + 1
    _, prediction = np.unique(predictions, return_inverse=True)

    # Within equal labels predictions ascend, so that inversions come from different labels alone.
    order = np.lexsort((prediction, labels, query))
    sorted_query, label, prediction = query[order], labels[order], prediction[order]
    inverted = _inversions(sorted_query, prediction, count)

    ordered = _pairs(sorted_query, count) - _pairs_within(sorted_query, _changes(sorted_query, label), count)
    joint = _pairs_within(sorted_query, _changes(sorted_query, label, prediction), count)
    by_prediction = np.lexsort((prediction, sorted_query))
    tied = _pairs_within(sorted_query, _changes(sorted_query, prediction[by_prediction]), count) - joint

    counted = ordered > 0
    accuracy = np.divide(ordered - inverted - 0.5 * tied, ordered, out=np.zeros(count), where=counted)
    accuracy[query[np.isnan(predictions)]] = np.nan
    return ByQuery(accuracy, counted)


def _columns(**columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arguments as arrays; ValueError unless all have the shape [ratings], ratings > 0."""
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(array.ndim != 1 or not len(array) for array in arrays.values()):
        raise ValueError(
            f"expected arrays of one shape [ratings], ratings > 0; got {shapes}; "
            "pass one label and one prediction a rating, without a second dimension"
        )
    return tuple(arrays.values())


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Bool [rows]: the row is the first, or differs from the row before it in any of the columns."""
    changes = np.zeros(len(columns[0]), dtype=bool)
    changes[0] = True
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    return changes


def _pairs(group: np.ndarray, groups: int) -> np.ndarray:
    """Float [groups]: n (n - 1) / 2 for the n rows of each group."""
    sizes = np.bincount(group, minlength=groups).astype(np.float64)
    return sizes * (sizes - 1) / 2


def _pairs_within(group: np.ndarray, new_run: np.ndarray, groups: int) -> np.ndarray:
    """Float [groups]: pairs of rows of one run, summed by the group that the run lies in."""
    run = np.cumsum(new_run) - 1
    return np.bincount(group[new_run], weights=_pairs(run, int(run[-1]) + 1), minlength=groups)


def _inversions(group: np.ndarray, value: np.ndarray, groups: int) -> np.ndarray:
    """Float [groups]: pairs of rows of a group of which the earlier has the larger value.

    Bottom-up merge sort: blocks of width 1, 2, 4, ... are merged two by two, and each row of a right block counts the
    rows of its left block with larger values.

    Args:
      group: int [rows], ascending.
      value: int [rows], 0 <= value.
      groups: number of groups.
    """
    sizes = np.bincount(group, minlength=groups)
    position = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    inversions = np.zeros(groups)
    width = 1
    while width < sizes.max():
        right = (position // width) % 2 == 1
        merged = np.cumsum(_changes(group, position // (2 * width))) - 1
        # A stable sort keeps left rows before right rows of equal value, so that ties do not count.
        order = np.argsort(merged * (int(value.max()) + 1) + value, kind="stable")
        left_seen = np.cumsum(~right[order])
        left_end = np.cumsum(np.bincount(merged, weights=~right))  # Left rows up to the end of each merged block.
        larger = left_end[merged[order]] - left_seen
        inversions += np.bincount(group[order], weights=larger * right[order], minlength=groups)
        width *= 2
    return inversions


def list_ndcg(scores: np.ndarray, is_positive: np.ndarray, k: int) -> ByQuery:
    """NDCG of each query's first k of all titles, with a gain of 1 for positives; queries with a positive count.

    DCG@k = sum over the positives' ranks i <= k of 1 / log2(i + 1), over the largest that the number of positives
    allows. Equal scores keep the order of the titles.

    Args:
      scores: float [queries, titles]; -inf for those that a list leaves out.
      is_positive: bool [queries, titles], none of them left out.
      k: ranks that count.

    Raises:
      ValueError: k below 1, or arrays of different shapes.
    """
    if k < 1 or scores.shape != is_positive.shape:
        raise ValueError(
            f"expected k of at least 1 and arrays of one shape [queries, titles]; got {k}, {scores.shape} and "
            f"{is_positive.shape}; pass the number of ranks that count, and a label a score"
        )
    best = first_k(scores, k)
    return ranked_ndcg(np.take_along_axis(is_positive, best, axis=1), is_positive.sum(axis=1))


def ranked_ndcg(is_positive: np.ndarray, positives: np.ndarray) -> ByQuery:
    """The same of lists as they stand; queries with a positive count.

    Args:
      is_positive: bool [queries, ranks], best first.
      positives: int [queries], how many there are in all.
    """
    discount = 1.0 / np.log2(np.arange(is_positive.shape[1]) + 2.0)
    gained = is_positive @ discount
    largest = np.append(0.0, np.cumsum(discount))[np.minimum(positives, len(discount))]
    return ByQuery(np.divide(gained, largest, out=np.zeros(len(gained)), where=positives > 0), positives > 0)


def first_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Int [queries, min(k, titles)]: positions of the highest of scores, float [queries, titles], best first.

    Of equal scores those that stand first come first, but for which of those at rank k are in.
    """
    k = min(k, scores.shape[1])
    candidates = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(scores, candidates, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)
