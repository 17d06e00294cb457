"""What lists are compared with: popularity, neighbours, EASE, and models of the library implicit where there is one."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from modules import dataset, ease, metrics, retrieval_fit, retrieval_input, retrieval_tuning
from modules.list_metrics import LENGTH
from modules.ratings import Ratings
from pipeline.experiments.accuracy import Answer, Method, Split
from pipeline.experiments.fit_time import timed
from pipeline.graph.fingerprint import fingerprint

IMPLICIT = "implicit"
# Neighbours of a title; where the search for EASE's penalty begins, and how far it goes.
_NEIGHBOURS = 100
_PENALTY, _PENALTY_STEP, _TRIES = 100.0, 2.0, 8
# What is tried with implicit's models.
_ALS: dict[str, Sequence[float]] = {"alpha": (2.0, 5.0), "regularization": (1.0, 5.0, 10.0, 20.0, 40.0)}
_BPR: dict[str, Sequence[float]] = {"iterations": (10, 25, 50, 100, 200), "regularization": (0.01, 0.03)}
_FACTORS = 32

# Scores of all titles for all users, float [users, titles], by training rows and seed.
Scores = Callable[[Ratings, int], np.ndarray]


def methods(seeds: Sequence[int], *, peers: bool) -> list[Method]:
    """All of them.

    Args:
      seeds: to repeat with what the seed changes.
      peers: with models of other libraries, where these are installed.
    """
    ours: dict[str, Scores] = {
        "most rated": _popularity,
        "item neighbours": _neighbours,
        "EASE, tuned": _ease,
        "EASE of graded ratings, tuned": functools.partial(_ease, graded=True),
    }
    version = (fingerprint(__name__), "")
    found = [_method(name, "baseline", scores, seeds[:1], version) for name, scores in ours.items()]
    if peers and importlib.util.find_spec(IMPLICIT) is not None:
        version = (fingerprint(__name__), importlib.metadata.version(IMPLICIT))
        for name, scores in (("implicit, ALS", _implicit_als), ("implicit, BPR", _implicit_bpr)):
            found.append(_method(name, "peer", scores, seeds, version))
    return found


def _method(name: str, kind, scores: Scores, seeds: Sequence[int], version: tuple[str, str]) -> Method:
    return Method(name=name, kind=kind, seeds=tuple(seeds), version=version, answer=functools.partial(_answer, scores))


def _answer(scores: Scores, split: Split, seed: int) -> Answer:
    ratings, users = split.ratings, split.liked.users
    with timed() as spent:
        table = scores(ratings, seed)
    free = np.where(_rated(ratings)[users].toarray() > 0, -np.inf, table[users])
    lists = metrics.first_k(free, LENGTH)
    lists = np.where(np.isfinite(np.take_along_axis(free, lists, axis=1)), lists, -1)
    return Answer(None, spent, np.pad(lists, ((0, 0), (0, LENGTH - lists.shape[1])), constant_values=-1))


def _rated(ratings: Ratings) -> sparse.csr_matrix:
    """Float32 [users, titles]: 1 where there is a training row."""
    return retrieval_input.rated(_graded(ratings))


def _graded(ratings: Ratings) -> sparse.csr_matrix:
    """Float32 [users, titles]: ratings over the highest one."""
    value = (ratings.rating / ratings.high).astype(np.float32)
    return retrieval_input.rows_of(ratings.user, ratings.title, value, ratings.num_users, ratings.num_titles)


def _high(ratings: Ratings, threshold: float) -> sparse.csr_matrix:
    """Float32 [users, titles]: 1 where there is a rating of at least the threshold."""
    high = ratings.select(ratings.rating >= threshold)
    ones = np.ones(len(high), np.float32)
    return retrieval_input.rows_of(high.user, high.title, ones, ratings.num_users, ratings.num_titles)


def _popularity(ratings: Ratings, seed: int) -> np.ndarray:
    count = np.bincount(ratings.title, minlength=ratings.num_titles)
    return np.broadcast_to(count.astype(np.float64), (ratings.num_users, ratings.num_titles))


def _neighbours(ratings: Ratings, seed: int) -> np.ndarray:
    """Sums of cosines of titles, by who rated them, over the nearest titles that a user has rated."""
    rated = _rated(ratings)
    lengths = np.sqrt(np.asarray(rated.sum(axis=0)))[0]
    similar = (rated.T @ rated).toarray() / np.maximum(np.outer(lengths, lengths), 1e-9)
    np.fill_diagonal(similar, 0.0)
    if similar.shape[1] > _NEIGHBOURS:
        least = -np.partition(-similar, _NEIGHBOURS - 1, axis=1)[:, [_NEIGHBOURS - 1]]
        similar = np.where(similar >= least, similar, 0.0)
    return np.asarray(rated @ similar.T)


class _HeldOut(NamedTuple):
    """A part of the training ratings to choose by.

    Attributes:
      train: the other ratings.
      is_known: bool [users, titles], where `train` has a rating.
      is_positive: bool [users, titles], where the part has a high one.
    """

    train: Ratings
    is_known: np.ndarray
    is_positive: np.ndarray

    @classmethod
    def of(cls, ratings: Ratings) -> _HeldOut:
        train, held_out = dataset.carve(ratings)
        high = _high(held_out, retrieval_fit.positive_from(train))
        return cls(train, _rated(train).toarray() > 0, high.toarray() > 0)

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """NDCG@10 of scores, float [users, titles], of each user with a positive."""
        return retrieval_tuning.held_out_ndcg(scores, self.is_known, self.is_positive)


def _ease(ratings: Ratings, seed: int, graded: bool = False) -> np.ndarray:
    """Steck 2019, "Embarrassingly shallow autoencoders for sparse data"; the penalty by held-out NDCG@10."""
    matrix_of = _graded if graded else _rated
    held_out = _HeldOut.of(ratings)
    fitted, everything = matrix_of(held_out.train), matrix_of(ratings)
    gram = ease.EaseGram(fitted)
    penalty, _ = retrieval_tuning.search(
        _PENALTY,
        _PENALTY_STEP,
        _TRIES,
        gram.weights,
        lambda weights: held_out.ndcg(fitted @ weights),
        lambda strength, value: None,
    )
    return np.asarray(everything @ ease.EaseGram(everything).weights(penalty))


def _implicit_als(ratings: Ratings, seed: int) -> np.ndarray:
    from implicit.als import AlternatingLeastSquares

    return _implicit(functools.partial(AlternatingLeastSquares, factors=_FACTORS, random_state=seed), _ALS, ratings)


def _implicit_bpr(ratings: Ratings, seed: int) -> np.ndarray:
    from implicit.bpr import BayesianPersonalizedRanking

    # What several threads update at once is not repeatable.
    make = functools.partial(BayesianPersonalizedRanking, factors=_FACTORS, random_state=seed, num_threads=1)
    return _implicit(make, _BPR, ratings)


def _implicit(make: Callable[..., Any], grid: Mapping[str, Sequence[float]], ratings: Ratings) -> np.ndarray:
    """Scores of a model fitted on who rated what highly; what the grid has is chosen by held-out NDCG@10."""
    from threadpoolctl import threadpool_limits

    threshold = retrieval_fit.positive_from(ratings)

    def scores(fitted_on: Ratings, values: Sequence[float]) -> np.ndarray:
        model = make(**dict(zip(grid, values, strict=True)))
        model.fit(_high(fitted_on, threshold), show_progress=False)
        return np.asarray(model.user_factors) @ np.asarray(model.item_factors).T

    held_out = _HeldOut.of(ratings)
    # The library has threads of its own, which those of BLAS slow down twentyfold.
    with threadpool_limits(1, "blas"):
        every = itertools.product(*grid.values())
        best = max(every, key=lambda values: held_out.ndcg(scores(held_out.train, values)).mean())
        return scores(ratings, best)
