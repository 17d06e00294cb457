"""Evaluation metrics by slice from columns of scored ratings: sums that are merged, and what comes of them.

NumPy alone, without a Python loop over ratings or users. What is worked out per slice are sums, so that any part of
the ratings can be measured on its own, as long as all ratings of a query are in the same part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from modules import metrics

# As TensorFlow Model Analysis has it: pairs of feature and value, none for the slice of all ratings.
SliceKey = tuple[tuple[str, str], ...]
OVERALL: SliceKey = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredRatings:
    """Ratings as columns, with what each model predicts and the slices that they lie in.

    A slicing shares all ratings out among slices: one for the ratings at large, or one a value of a feature.

    Attributes:
      query: int64 [ratings], what titles are ranked within.
      label: float32 [ratings], stars.
      prediction: float32 [models, ratings], stars.
      slice_code: int32 [slicings, ratings], position in `slice_keys`.
      slice_keys: the slices of each slicing.
    """

    query: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    slice_code: np.ndarray
    slice_keys: tuple[tuple[SliceKey, ...], ...]

    def __len__(self) -> int:
        return len(self.label)

    def select(self, rows: np.ndarray) -> ScoredRatings:
        """The ratings at these positions."""
        return dataclasses.replace(
            self,
            query=self.query[rows],
            label=self.label[rows],
            prediction=self.prediction[:, rows],
            slice_code=self.slice_code[:, rows],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceSums:
    """What is summed over the ratings of a slice, and over the queries that have a rating in it.

    Attributes:
      ratings: how many.
      squared_error: float64 [models], sum of (prediction - label)^2, stars squared.
      absolute_error: float64 [models], sum of |prediction - label|, stars.
      queries: how many have a positive label.
      ndcg: float64 [depths, models], sum over those queries.
    """

    ratings: int
    squared_error: np.ndarray
    absolute_error: np.ndarray
    queries: int
    ndcg: np.ndarray

    def __add__(self, other: SliceSums) -> SliceSums:
        return SliceSums(
            ratings=self.ratings + other.ratings,
            squared_error=self.squared_error + other.squared_error,
            absolute_error=self.absolute_error + other.absolute_error,
            queries=self.queries + other.queries,
            ndcg=self.ndcg + other.ndcg,
        )

    def rmse(self, model: int) -> float:
        """sqrt(mean((prediction - label)^2)) of a model, stars."""
        return float(np.sqrt(self.squared_error[model] / self.ratings))

    def mae(self, model: int) -> float:
        """mean(|prediction - label|) of a model, stars."""
        return float(self.absolute_error[model] / self.ratings)

    def mean_ndcg(self, depth: int, model: int) -> float:
        """NDCG of a model at the depth of that position, averaged over queries; NaN if none has a positive label."""
        return float(self.ndcg[depth, model] / self.queries) if self.queries else float("nan")


def concatenate(parts: Sequence[ScoredRatings]) -> ScoredRatings:
    """The ratings of all parts, which have the same models and slicings, in their order.

    Raises:
      ValueError: there is no part.
    """
    if not parts:
        raise ValueError("expected at least one part; got none; leave out what has no ratings")
    codes, keys = zip(*(_join_codes(parts, slicing) for slicing in range(len(parts[0].slice_keys))), strict=True)
    return ScoredRatings(
        query=np.concatenate([part.query for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        prediction=np.concatenate([part.prediction for part in parts], axis=1),
        slice_code=np.stack(codes),
        slice_keys=keys,
    )


def _join_codes(parts: Sequence[ScoredRatings], slicing: int) -> tuple[np.ndarray, tuple[SliceKey, ...]]:
    """Codes and keys of one slicing, where each part may number its slices differently."""
    position: dict[SliceKey, int] = {}
    codes = []
    for part in parts:
        renumbered = [position.setdefault(key, len(position)) for key in part.slice_keys[slicing]]
        codes.append(np.array(renumbered, np.int32)[part.slice_code[slicing]])
    return np.concatenate(codes), tuple(position)


def split_by_query(ratings: ScoredRatings, buckets: int) -> Iterator[tuple[int, ScoredRatings]]:
    """Shares ratings out among buckets, all ratings of a query in the same one; empty buckets are left out."""
    bucket = ratings.query % buckets
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(np.bincount(bucket, minlength=buckets))
    for number, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            yield number, ratings.select(rows)


def sum_by_slice(ratings: ScoredRatings, depths: Sequence[int]) -> dict[SliceKey, SliceSums]:
    """Sums up ratings, of which there is at least one.

    NDCG is that of whole queries, in every slice that one of the query's ratings lies in: so does TensorFlow Model
    Analysis, where a slice does not change what is ranked.

    Args:
      ratings: all ratings of each query that has any here.
      depths: the numbers of ranks that count for NDCG.

    Returns:
      the sums of each slice that has a rating.
    """
    error = ratings.prediction.astype(np.float64) - ratings.label
    squared, absolute = np.square(error), np.abs(error)
    _, query = np.unique(ratings.query, return_inverse=True)
    ranked = _has_positive(query, ratings.label)
    ndcg = np.array(
        [metrics.ndcg_by_query(query, ratings.label, prediction, depths) for prediction in ratings.prediction]
    )
    ndcg[..., ~ranked] = 0

    sums: dict[SliceKey, SliceSums] = {}
    for codes, keys in zip(ratings.slice_code, ratings.slice_keys, strict=True):
        counts = np.bincount(codes, minlength=len(keys))
        query_in_slice, code_of_query = np.divmod(np.unique(query * len(keys) + codes), len(keys))
        queries = _sum_by(code_of_query, ranked[query_in_slice], len(keys))
        squared_sums, absolute_sums = (_sum_by(codes, values, len(keys)) for values in (squared, absolute))
        ndcg_sums = _sum_by(code_of_query, ndcg[..., query_in_slice], len(keys))
        for code, key in enumerate(keys):
            if counts[code]:
                sums[key] = SliceSums(
                    ratings=int(counts[code]),
                    squared_error=squared_sums[:, code],
                    absolute_error=absolute_sums[:, code],
                    queries=int(queries[code]),
                    ndcg=ndcg_sums[..., code].T,
                )
    return sums


def merge(parts: Iterable[dict[SliceKey, SliceSums]]) -> dict[SliceKey, SliceSums]:
    """The sums of all parts; none of no parts."""
    merged: dict[SliceKey, SliceSums] = {}
    for part in parts:
        for key, sums in part.items():
            merged[key] = merged[key] + sums if key in merged else sums
    return merged


def _sum_by(code: np.ndarray, values: np.ndarray, codes: int) -> np.ndarray:
    """Float64 [..., codes]: the sums of values [..., rows] by code."""
    flat = values.reshape(-1, len(code))
    sums = [np.bincount(code, weights=row, minlength=codes) for row in flat]
    return np.reshape(sums, (*values.shape[:-1], codes))


def _has_positive(query: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Bool [queries]: one of the query's labels is above zero."""
    return np.bincount(query, weights=label > 0) > 0
