"""Fits what recommends: the models of who rated what, and the order that weighs them with what else is known.

`choose` finds how they are regularised, and the order, on held-out ratings; `fit` fits them on all ratings. Lists to
learn from hold ratings that none of the models behind them has seen, since their scores of what they have seen say
more than they will say of anything to come.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from scipy import sparse

from modules import dataset, ease, final_order, implicit_als, metrics, order_features, retrieval_input, retrieval_tuning
from modules.final_order import Lists, Order
from modules.implicit_als import AlsConfig, ImplicitAls
from modules.model_configs import RetrievalConfig
from modules.order_features import TitleColumns
from modules.ratings import Ratings
from modules.retrieval_input import RatingWeight
from modules.retrieval_model import RetrievalModel, scores_in_bulk
from modules.retrieval_scorers import AlsScorer, EaseScorer, LowRankEaseScorer, Scorer

# What the ranking model says of users: int [users] to float32 [users, titles], the higher, the better.
RatingScores = Callable[[np.ndarray], np.ndarray]

# Pairs of user and title that are scored at once; of more, some of the users stand for all, but no fewer than these.
_MOST_PAIRS, _ENOUGH_USERS = 1 << 23, 500
_ALS_STEP, _EASE_STEP = 1.6, 2.0
# Times more tries for EASE of low rank, of which another penalty costs little, and is larger, the more is known.
_CHEAP = 3
# Rounds of iALS from one regularisation, or one part of the ratings, to the next.
_NEXT_ROUNDS = 2
# Strength of popularity, over the number of known ratings, among what puts a title on a list to learn from.
_POPULARITY = 2.0
# Share of the users who have fewer known ratings than weights for the most are found at.
_FEW = 0.1
# A high rating lies in the upper quarter of the scale, unless so few do.
_HIGH, _FEWEST = 0.75, 0.05


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What was chosen on held-out ratings.

    Attributes:
      config: how the models are regularised.
      order: what features weigh.
      title_vectors: float32 [titles, dimension], of the iALS that was chosen, to go on from.
    """

    config: RetrievalConfig
    order: Order
    title_vectors: np.ndarray

    def words(self) -> str:
        """The choice in a line, with what features weigh where most ratings are known, in standard deviations."""
        weights = zip(self.order.names, self.order.weights[-1], strict=True)
        return (
            f"iALS regularization {self.config.regularization:.3g}, EASE penalty {self.config.ease_penalty:.4g}, "
            f"order: {', '.join(f'{name} {weight:+.2f}' for name, weight in weights)}"
        )


def choose(
    train: Ratings,
    held_out: Ratings,
    config: RetrievalConfig,
    *,
    seed: int,
    report: Callable[[str], None],
    rating_scores: RatingScores | None = None,
) -> Chosen:
    """Finds regularisation and order on held-out ratings.

    Args:
      train: what to fit on, and what users are known by.
      held_out: other ratings of the same users and titles.
      config: where the search starts.
      seed: of every random choice.
      report: is called with one line a step.
      rating_scores: of a ranking model fitted on `train` alone; None leaves it out of the order.

    Raises:
      ValueError: there is no rating to fit on.
    """
    data = _Data.of(train)
    users = _asked(train, held_out, seed)
    asked = data.weights[users]
    is_known = asked.toarray() > 0
    is_positive = _positives(train, held_out)[users].toarray() > 0

    def values_of(scorer: Scorer) -> np.ndarray:
        return retrieval_tuning.held_out_ndcg(scorer.in_bulk(asked), is_known, is_positive)

    start = implicit_als.first_vectors(train.num_titles, config.dimension, seed)
    als = ImplicitAls(data.weights, train.title_features, start)
    rounds = itertools.chain([config.rounds], itertools.repeat(_NEXT_ROUNDS))

    def als_scorer(strength: float) -> AlsScorer:
        als_config = _als_config(config.model_copy(update={"regularization": strength}))
        return AlsScorer(als.run(als_config, next(rounds)), als_config)

    tell = functools.partial(_tell, report)
    strength, best_als = retrieval_tuning.search(
        config.regularization, _ALS_STEP, config.searches, als_scorer, values_of, functools.partial(tell, "iALS")
    )
    penalty, best_ease = retrieval_tuning.search(
        config.ease_penalty,
        _EASE_STEP,
        config.searches * (1 if ease.is_full(data.weights) else _CHEAP),
        _ease_source(data.weights, config, seed),
        values_of,
        functools.partial(tell, "EASE"),
    )
    config = config.model_copy(update={"regularization": strength, "ease_penalty": penalty})
    scorers = {order_features.ALS: best_als, order_features.EASE: best_ease, **_rated_scorer(data, config)}
    order = _order(data, scorers, users, is_known, is_positive, rating_scores, seed)
    return Chosen(config, order, best_als.vectors.numpy())


def _tell(report: Callable[[str], None], name: str, strength: float, value: float) -> None:
    report(f"{name}, strength {strength:.4g}: NDCG@10 {value:.4f} on held-out ratings")


def fit(ratings: Ratings, chosen: Chosen, *, seed: int, unrated: np.ndarray | None = None) -> RetrievalModel:
    """Fits all models on all ratings.

    Args:
      ratings: training rows and side features.
      chosen: by `choose`.
      seed: of every random choice.
      unrated: float32 [titles, features], side features of titles that nobody rated, which can be recommended by them;
        None for none.

    Raises:
      ValueError: there is no rating.
    """
    data = _Data.of(ratings)
    config = _als_config(chosen.config)
    als = ImplicitAls(data.weights, ratings.title_features, chosen.title_vectors)
    others = {
        order_features.EASE: _ease_source(data.weights, chosen.config, seed)(chosen.config.ease_penalty),
        **_rated_scorer(data, chosen.config),
    }
    vectors = als.run(config, _NEXT_ROUNDS)
    best = AlsScorer(vectors, config, None if unrated is None else als.unrated(unrated, config))
    columns = TitleColumns(ratings, data.weights, unrated)
    return RetrievalModel(best, others, columns, chosen.order, data.weight, data.weights)


@dataclasses.dataclass(frozen=True)
class _Data:
    """Training ratings as the models take them."""

    weight: RatingWeight
    weights: sparse.csr_matrix
    columns: TitleColumns

    @classmethod
    def of(cls, ratings: Ratings) -> _Data:
        weight = RatingWeight.of(ratings.rating)
        weights = retrieval_input.weighted(ratings, weight)
        return cls(weight, weights, TitleColumns(ratings, weights))


def _als_config(config: RetrievalConfig) -> AlsConfig:
    return AlsConfig(
        dimension=config.dimension,
        unobserved_weight=config.unobserved_weight,
        regularization=config.regularization,
        exponent=config.exponent,
    )


def _ease_source(weights: sparse.csr_matrix, config: RetrievalConfig, seed: int) -> Callable[[float], Scorer]:
    """EASE by its penalty: the whole matrix, or where it would be too large, one of low rank."""
    if not ease.is_full(weights):
        spectrum = ease.EaseSpectrum(weights, config.ease_rank, seed=seed)
        return lambda penalty: LowRankEaseScorer(*spectrum.weights(penalty))
    gram = ease.EaseGram(weights)
    return lambda penalty: EaseScorer(gram.weights(penalty))


def _rated_scorer(data: _Data, config: RetrievalConfig) -> dict[str, Scorer]:
    """EASE of what was rated, however, where that is something else, and not too large.

    Its penalty is that of the other in proportion to the squares of the ratings' weights.
    """
    squares = float(np.mean(np.square(data.weights.data, dtype=np.float64)))
    if squares >= 1.0 or not ease.is_full(data.weights):
        return {}
    weights = ease.EaseGram(retrieval_input.rated(data.weights)).weights(config.ease_penalty / squares)
    return {order_features.EASE_RATED: EaseScorer(weights, "ease_rated")}


def positive_from(ratings: Ratings) -> float:
    """The lowest rating that makes a title a hit, stars.

    It is where the upper quarter of the scale begins, or if hardly any rating lies there, the middle one.
    """
    high = ratings.low + _HIGH * (ratings.high - ratings.low)
    if np.mean(ratings.rating >= high) >= _FEWEST:
        return high
    return float(np.quantile(ratings.rating, 0.5))


def _positives(train: Ratings, held_out: Ratings) -> sparse.csr_matrix:
    high = held_out.select(held_out.rating >= positive_from(train))
    ones = np.ones(len(high), np.float32)
    return retrieval_input.rows_of(high.user, high.title, ones, train.num_users, train.num_titles)


def _asked(train: Ratings, held_out: Ratings, seed: int) -> np.ndarray:
    """Int [users], rising: of `some_users` those with held-out ratings, as many as there is room for."""
    users = np.intersect1d(held_out.user, dataset.some_users(train, seed=seed))
    most = max(_ENOUGH_USERS, _MOST_PAIRS // train.num_titles)
    return np.sort(np.random.default_rng(seed).permutation(users)[:most])


def _order(
    data: _Data,
    scorers: Mapping[str, Scorer],
    users: np.ndarray,
    is_known: np.ndarray,
    is_positive: np.ndarray,
    rating_scores: RatingScores | None,
    seed: int,
) -> Order:
    """Learns the order on whole histories, and on some cut short."""
    ratings = data.weights[users]
    count = np.diff(ratings.indptr)
    names = [*scorers, *([order_features.RATING] if rating_scores else []), *order_features.COLUMNS]
    most = int(np.quantile(count, _FEW, method="inverted_cdf")) if len(count) else 1
    rng = np.random.default_rng(seed)
    # Where nothing is known, there is nothing to learn either.
    lists = {0: final_order.no_lists(len(names))}
    for number in (*(short for short in final_order.SHORT if short < most), max(most, 1)):
        known, rating = ratings, None
        if number == max(most, 1):
            rating = rating_scores(users) if rating_scores else None
        else:
            known = _cut_short(ratings, number, rng)
        scores = scores_in_bulk(scorers, known)
        if rating_scores:
            scores[order_features.RATING] = np.zeros_like(is_known, np.float32) if rating is None else rating
        lists[number] = _lists(names, scores, known, data.columns, is_known, is_positive)
    return final_order.learn(names, lists)


def _cut_short(ratings: sparse.csr_matrix, number: int, rng: np.random.Generator) -> sparse.csr_matrix:
    """The same users with a random `number` of their ratings, or all where they have no more."""
    count = np.diff(ratings.indptr)
    row = np.repeat(np.arange(len(count)), count)
    order = np.lexsort((rng.random(len(row)), row))
    place = np.arange(len(row)) - np.repeat(ratings.indptr[:-1], count)
    kept = np.sort(order[place < number])
    return retrieval_input.rows_of(row[kept], ratings.indices[kept], ratings.data[kept], *ratings.shape)


def _lists(
    names: list[str],
    scores: dict[str, np.ndarray],
    known: sparse.csr_matrix,
    columns: TitleColumns,
    is_known: np.ndarray,
    is_positive: np.ndarray,
) -> Lists:
    """The lists of users, given what is known of them; what they rated beside that is on none of them."""
    is_free = known.toarray() == 0
    table = order_features.features_of(scores, columns.affinity_in_bulk(known), columns, is_free)
    popularity = order_features.standardize_scores(
        table[order_features.POPULARITY], tf.ones([1, is_free.shape[1]], bool)
    )
    strength = _POPULARITY / np.maximum(np.diff(known.indptr), 1)[:, np.newaxis]
    first = table[order_features.ALS] + table[order_features.EASE] + strength * popularity
    best = tf.math.top_k(tf.where(is_known, -np.inf, first), min(final_order.DEPTH, is_free.shape[1])).indices.numpy()
    found = np.stack(
        [np.take_along_axis(np.broadcast_to(np.asarray(table[name]), is_free.shape), best, axis=1) for name in names],
        axis=2,
    )
    is_positive = is_positive & ~is_known
    popular = metrics.list_ndcg(np.where(is_known, -np.inf, columns.popularity), is_positive, retrieval_tuning.RANKS)
    return Lists(found, np.take_along_axis(is_positive, best, axis=1), is_positive.sum(axis=1), popular.value)
