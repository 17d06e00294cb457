"""What recommends, as a graph: all titles scored given what somebody rated, and the best of those allowed.

Titles are positions in the vocabulary. A user is what they rated: the training ratings of known users are kept, those
of somebody new come with the request, and both are folded in by the same formulas.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy import sparse

from modules import order_features
from modules.final_order import Order
from modules.order_features import TitleColumns
from modules.retrieval_input import RatingWeight, rated
from modules.retrieval_scorers import AlsScorer, LinearScorer, Scorer


class RetrievalModel(tf.Module):
    """The models of who rated what, the final order, and the training ratings.

    Attributes:
      order: names and weights of the features.
      num_titles: titles that can be recommended, those that nobody has rated behind the others.
      user_vectors: float32 [users + 1, dimension], iALS's of known users, and zeros for an unknown one.
      title_vectors: float32 [titles, dimension], iALS's.
      genres: float32 [genres, titles].
    """

    def __init__(
        self,
        als: AlsScorer,
        others: Mapping[str, LinearScorer],
        columns: TitleColumns,
        order: Order,
        weight: RatingWeight,
        weights: sparse.csr_matrix,
    ) -> None:
        """Holds everything.

        Args:
          als: the feature `order_features.ALS`.
          others: by the names of their features.
          columns: what is known of titles, with those that `als` scores behind the others.
          order: weights of the features.
          weight: the map of ratings onto weights.
          weights: float32 [users, titles], X, of the training ratings.
        """
        super().__init__(name="retrieval")
        self.order, self._num_rated = order, weights.shape[1]
        self.num_titles = columns.popularity.shape[0]
        self._als, self._others, self._columns = als, dict(others), columns
        self._scorers: dict[str, Scorer] = {order_features.ALS: als, **others}
        self._nodes = np.log1p(order.known).astype(np.float32)
        self._coefficients = _kept("coefficients", order.coefficients)
        self._knots, self._levels = _kept("knots", weight.rating), _kept("levels", weight.weight)
        self.user_vectors = _kept("als_users", np.pad(als.user_vectors(weights), ((0, 1), (0, 0))))
        self.title_vectors = als.vectors
        self.genres = columns.genres
        self._splits = _kept("splits", weights.indptr.astype(np.int64))
        self._titles = _kept("history", weights.indices.astype(np.int32))
        self._weights = _kept("history_weights", weights.data)

    @property
    def rated_rows(self) -> tuple[tf.Variable, tf.Variable, tf.Variable]:
        """The training ratings by user.

        Returns:
          where those of each user begin, int64 [users + 1], their titles, int32 [ratings], and their weights, float32
          [ratings].
        """
        return self._splits, self._titles, self._weights

    @property
    def weight_knots(self) -> tuple[tf.Variable, tf.Variable]:
        """Ratings, stars, and the weights that they are mapped onto, float32 [knots] each, both rising."""
        return self._knots, self._levels

    def history(self, user: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Titles, int32 [known], and weights, float32 [known], of a user's training ratings; none of an unknown user.

        Args:
          user: int64 [], id by the vocabulary.
        """
        begin, end = self._range(user)
        return self._titles[begin:end], self._weights[begin:end]

    def _range(self, users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Where the training ratings of users, int64 [...], begin and end; both int64 [...]."""
        last = tf.constant(self._splits.shape[0] - 1, tf.int64)
        return tf.gather(self._splits, tf.minimum(users, last)), tf.gather(self._splits, tf.minimum(users + 1, last))

    def fold(self, titles: tf.Tensor, ratings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same of ratings that come with a request.

        Args:
          titles: int64 [ratings]; those that nobody has rated are left out, and of one that stands twice, the last
            counts.
          ratings: float32 [ratings], stars; those that are no numbers are left out.
        """
        place = tf.range(tf.size(titles))
        known = (titles >= 0) & (titles < self._num_rated) & tf.math.is_finite(ratings)
        slot = tf.where(known, titles, self._num_rated)
        last = tf.tensor_scatter_nd_max(tf.fill([self._num_rated + 1], -1), slot[:, tf.newaxis], place)
        kept = tf.where(known & (tf.gather(last, slot) == place))[:, 0]
        return tf.cast(tf.gather(titles, kept), tf.int32), self._weigh(tf.gather(ratings, kept))

    def _weigh(self, ratings: tf.Tensor) -> tf.Tensor:
        """Weights of ratings, float32 [ratings]: linear between knots, constant beyond them."""
        last = self._knots.shape[0] - 1
        upper = tf.clip_by_value(tf.searchsorted(self._knots, ratings), min(1, last), last)
        lower = tf.maximum(upper - 1, 0)
        low, high = tf.gather(self._knots, lower), tf.gather(self._knots, upper)
        share = tf.clip_by_value(tf.math.divide_no_nan(ratings - low, high - low), 0.0, 1.0)
        return tf.gather(self._levels, lower) * (1.0 - share) + tf.gather(self._levels, upper) * share

    def scores(self, titles: tf.Tensor, weights: tf.Tensor, rating: tf.Tensor | None = None) -> tf.Tensor:
        """Float32 [titles]: the final order of all titles by one user, known ones too.

        Args:
          titles: int32 [known], each once.
          weights: float32 [known].
          rating: float32 [1, titles], what the ranking model says, in any unit: it is standardised over the titles
            that are not known; needed where the order weighs it. All zeros where the ranking model cannot tell.
        """
        return self._ordered(self._features(titles, weights, rating), tf.size(titles)[tf.newaxis])[0]

    def scores_of(self, users: tf.Tensor, rating: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The scores of many known users at once, and which titles these have not rated.

        Args:
          users: int64 [users], ids by the vocabulary; at and behind its end they are of unknown users.
          rating: float32 [users, titles], as in `scores`.

        Returns:
          float32 [users, titles] and bool [users, titles].
        """
        weights = self._rows_of(users)
        is_free = weights <= 0.0
        known = tf.minimum(users, self.user_vectors.shape[0] - 1)
        scores = {order_features.ALS: self._als.of_vectors(tf.gather(self.user_vectors, known))}
        for name, scorer in self._others.items():
            of_rated = scorer.of_rows(tf.cast(~is_free, tf.float32) if _takes_ones(name) else weights)
            scores[name] = self._with_unrated(of_rated, 0.0)
        if order_features.RATING in self.order.names:
            scores[order_features.RATING] = _required(rating)
        affinity = self._columns.affinity_of_rows(weights)
        table = order_features.features_of(scores, affinity, self._columns, self._with_unrated(is_free, False))
        begin, end = self._range(users)
        return self._ordered(table, tf.cast(end - begin, tf.int32)), self._with_unrated(is_free, True)

    def _with_unrated(self, of_rated: tf.Tensor, value: float | bool) -> tf.Tensor:
        """Values of titles, [users, rated titles], with this one behind them for each title that nobody has rated."""
        return tf.pad(of_rated, [[0, 0], [0, self.num_titles - self._num_rated]], constant_values=value)

    def _rows_of(self, users: tf.Tensor) -> tf.Tensor:
        """Float32 [users, rated titles]: weights of the training ratings of users, int64 [users]; 0 where unrated."""
        places = tf.ragged.range(*self._range(users))
        entries = tf.stack([tf.cast(places.value_rowids(), tf.int32), tf.gather(self._titles, places.values)], axis=1)
        shape = tf.stack([tf.size(users), self._num_rated])
        # Not summed: a user has rated a title once.
        return tf.tensor_scatter_nd_update(tf.zeros(shape), entries, tf.gather(self._weights, places.values))

    def _ordered(self, table: Mapping[str, tf.Tensor], count: tf.Tensor) -> tf.Tensor:
        """Float32 [users, titles]: the final order by all features, where int32 [users] ratings are known."""
        coefficients = self._at(count)
        return tf.add_n(
            [coefficients[:, place, tf.newaxis] * table[name] for place, name in enumerate(self.order.names)]
        )

    def recommend(
        self,
        titles: tf.Tensor,
        weights: tf.Tensor,
        is_allowed: tf.Tensor,
        k: tf.Tensor,
        rating: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best titles, best first; of equal ones those that stand first in the vocabulary.

        Args:
          titles: int32 [known], each once; none of them is recommended.
          weights: float32 [known].
          is_allowed: bool [titles].
          k: int32 [], how many are wanted.
          rating: as in `scores`.

        Returns:
          Titles, int32 [min(k, allowed)], and their scores, float32.
        """
        return self._best(self.scores(titles, weights, rating), self._free(titles) & is_allowed, k)

    def recommend_users(
        self, users: tf.Tensor, is_allowed: tf.Tensor, k: tf.Tensor, rating: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The same for many known users at once.

        Args:
          users: int64 [users], as in `scores_of`.
          is_allowed: bool [titles].
          k: int32 [].
          rating: float32 [users, titles], as in `scores`.

        Returns:
          Titles, int32 [users, min(k, allowed)], and their scores, float32. Where a user has rated so much that fewer
          are left, the last titles are -1, and their scores 0.
        """
        scores, is_free = self.scores_of(users, rating)
        (allowed,) = tf.unstack(tf.cast(tf.where(is_allowed), tf.int32), axis=1)
        places, values = _best_of_rows(tf.gather(scores, allowed, axis=1), tf.gather(is_free, allowed, axis=1), k)
        return tf.where(places >= 0, tf.gather(allowed, tf.maximum(places, 0)), -1), values

    def most_rated(self, users: tf.Tensor, count: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        """Titles, int32 [users, min(k, titles)]: the most rated ones that each user has not rated; -1 behind the end.

        Args:
          users: int64 [users], as in `scores_of`.
          count: int32 [titles], training ratings.
          k: int32 [].
        """
        is_free = self._with_unrated(self._rows_of(users) <= 0.0, True)
        places, _ = _best_of_rows(tf.broadcast_to(tf.cast(count, tf.float32), tf.shape(is_free)), is_free, k)
        return places

    def similar(self, title: tf.Tensor, is_allowed: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The titles whose iALS vectors have the largest cosine with that of a title; the popular for an unknown one.

        Args:
          title: int32 [], which is not in the list itself; at and behind the end of the vocabulary, it is unknown.
          is_allowed: bool [titles].
          k: int32 [].

        Returns:
          Titles, int32 [min(k, allowed)], and cosines (popularity), float32, best first.
        """
        place = tf.minimum(title, self.num_titles - 1)
        is_known = title < self.num_titles
        scores = tf.where(is_known, self._als.cosines(place), self._columns.popularity)
        return self._best(scores, is_allowed & (self._free(place[tf.newaxis]) | ~is_known), k)

    def explain(
        self, titles: tf.Tensor, weights: tf.Tensor, asked: tf.Tensor, rating: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What the scores of titles are made of; all of it adds up to the score.

        Args:
          titles: int32 [known].
          weights: float32 [known].
          asked: int32 [asked], the titles to explain.
          rating: as in `scores`.

        Returns:
          What each known rating adds, float32 [asked, known], and what the features add that are no sum over ratings,
          by name, float32 [asked] each.
        """
        weighed = tf.unstack(self._at(tf.size(titles)[tf.newaxis])[0])
        coefficients = dict(zip(self.order.names, weighed, strict=True))
        free = tf.cast(self._free_and_rated(titles), tf.float32)
        shares = tf.zeros([tf.size(asked), tf.size(titles)])
        for name, scorer in self._scorers.items():
            parts = scorer.parts(titles, _input(name, weights))
            parts = parts if scorer is self._als else self._with_unrated(parts, 0.0)
            mean = tf.linalg.matvec(parts, free) / tf.maximum(tf.reduce_sum(free), 1.0)
            _, rate = order_features.moments(tf.reduce_sum(parts, axis=0, keepdims=True), free[tf.newaxis] > 0.0)
            shares += coefficients[name] * rate[0] * tf.transpose(tf.gather(parts, asked, axis=1) - mean[:, tf.newaxis])
        table = self._features(titles, weights, rating)
        rest = [name for name in self.order.names if name not in self._scorers]
        return shares, {name: coefficients[name] * tf.gather(table[name][0], asked) for name in rest}

    def _features(self, titles: tf.Tensor, weights: tf.Tensor, rating: tf.Tensor | None) -> dict[str, tf.Tensor]:
        scores = {order_features.ALS: self._als.scores(titles, weights)[tf.newaxis]}
        for name, scorer in self._others.items():
            of_rated = scorer.scores(titles, _input(name, weights))[tf.newaxis]
            scores[name] = self._with_unrated(of_rated, 0.0)
        if order_features.RATING in self.order.names:
            scores[order_features.RATING] = _required(rating)
        affinity = self._columns.affinity(titles, weights)[tf.newaxis]
        return order_features.features_of(scores, affinity, self._columns, self._free_and_rated(titles)[tf.newaxis])

    def _at(self, count: tf.Tensor) -> tf.Tensor:
        """Float32 [users, features]: the coefficients where so many ratings are known, int32 [users]."""
        place = tf.math.log1p(tf.cast(count, tf.float32))
        last = len(self._nodes) - 1
        upper = tf.clip_by_value(tf.searchsorted(self._nodes, place), min(1, last), last)
        lower = tf.maximum(upper - 1, 0)
        low, high = tf.gather(self._nodes, lower), tf.gather(self._nodes, upper)
        share = tf.clip_by_value(tf.math.divide_no_nan(place - low, high - low), 0.0, 1.0)[:, tf.newaxis]
        return tf.gather(self._coefficients, lower) * (1.0 - share) + tf.gather(self._coefficients, upper) * share

    def _free_and_rated(self, titles: tf.Tensor) -> tf.Tensor:
        """Bool [titles]: not among these, int32 [known], but rated by others."""
        return self._free(titles) & (tf.range(self.num_titles) < self._num_rated)

    def _free(self, titles: tf.Tensor) -> tf.Tensor:
        """Bool [titles]: not among these, int32 [known]."""
        return tf.tensor_scatter_nd_update(
            tf.fill([self.num_titles], True), titles[:, tf.newaxis], tf.fill(tf.shape(titles), False)
        )

    def _best(self, scores: tf.Tensor, is_allowed: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        allowed = tf.cast(tf.where(is_allowed)[:, 0], tf.int32)
        values, places = tf.math.top_k(tf.gather(scores, allowed), tf.clip_by_value(k, 0, tf.size(allowed)))
        return tf.gather(allowed, places), values


def _best_of_rows(scores: tf.Tensor, is_free: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Places and scores of the best free columns of each row, [rows, min(k, columns)]; -1 and 0 where none is left."""
    values, places = tf.math.top_k(tf.where(is_free, scores, -np.inf), tf.clip_by_value(k, 0, tf.shape(scores)[1]))
    is_title = tf.math.is_finite(values)
    return tf.where(is_title, places, -1), tf.where(is_title, values, 0.0)


def scores_in_bulk(scorers: Mapping[str, Scorer], ratings: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """Float32 [users, titles] of each model, given float32 [users, titles] weights."""
    return {name: scorer.in_bulk(rated(ratings) if _takes_ones(name) else ratings) for name, scorer in scorers.items()}


def _takes_ones(name: str) -> bool:
    return name == order_features.EASE_RATED


def _input(name: str, weights: tf.Tensor) -> tf.Tensor:
    return tf.ones_like(weights) if _takes_ones(name) else weights


def _required(rating):
    if rating is None:
        raise ValueError(
            "the order weighs what the ranking model says; got nothing; pass `rating`, float32 [users, titles]"
        )
    return rating


def _kept(name: str, values: np.ndarray) -> tf.Variable:
    return tf.Variable(values, name=name, trainable=False)
