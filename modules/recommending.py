"""The exported model with its first stage: the best titles of the whole catalogue, for known users and for new ones.

What recommends works with positions in the vocabularies (`retrieval_model`); here are the names around it, and the
rules: what was rated, what is excluded and what is not among those allowed stand in no answer.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft

from modules import features, serving
from modules.rating_models import EmbeddingModel
from modules.ratings import Ratings
from modules.retrieval_model import RetrievalModel
from modules.serving import PREDICTED_RATING, ServingModel
from modules.side_features import SideFeatures

RECOMMEND, RECOMMEND_FOR, SIMILAR = "recommend", "recommend_for", "similar"
RECOMMEND_USERS, EXPLAIN, EXPLAIN_FOR = "recommend_users", "explain", "explain_for"
# These serve Evaluator.
EVALUATION_LISTS, CATALOGUE = "evaluation_lists", "catalogue"
COUNT, GENRES, HIGH_RATING = "count", "genres", "high_rating"
SCORE = "score"
# The titles to explain, and outputs of an explanation.
ASKED_TITLE = "asked_title"
RATED_TITLE, SHARES, FEATURES, FEATURE_SHARES = "rated_title", "shares", "features", "feature_shares"
# Pairs of user and title that a request of many users had better not exceed: some 40 bytes each.
MOST_PAIRS = 1 << 22
# Inputs beside those of `predict`.
K, EXCLUDE, ONLY = "k", "exclude", "only"

_USER = tf.TensorSpec([1], tf.string, name=features.USER_ID.name)
_USERS = tf.TensorSpec([None], tf.string, name=features.USER_ID.name)
_TITLE = tf.TensorSpec([1], tf.string, name=features.MOVIE_TITLE.name)
_TITLES = tf.TensorSpec([None], tf.string, name=features.MOVIE_TITLE.name)
_RATINGS = tf.TensorSpec([None], tf.float32, name=features.USER_RATING.name)
_ASKED = tf.TensorSpec([None], tf.string, name=ASKED_TITLE)
# A name that no user has.
_NOBODY = ("",)
# How many are wanted, and which may be among them.
_WANTED = (
    tf.TensorSpec([], tf.int32, name=K),
    tf.TensorSpec([None], tf.string, name=EXCLUDE),
    tf.TensorSpec([None], tf.string, name=ONLY),
)


def tells_high_ratings(model: tfrs.Model) -> bool:
    """Whether a ranking model says of all titles how probable a high rating is, which the order can weigh."""
    return isinstance(model, EmbeddingModel) and bool(model.deviations)


class RecommendingModel(ServingModel):
    """A serving model that picks titles, too.

    All lists are of titles with training ratings and of those of the side table, best first, min(k, titles that are
    left) long. `exclude` leaves titles out; `only`, unless it is empty, leaves out all others. Names that no such title
    has change nothing there, but where `only` has no other, nothing is left.
    """

    def __init__(
        self,
        model: tfrs.Model,
        transform_output: tft.TFTransformOutput,
        fitted_on: Ratings,
        side: SideFeatures,
        retrieval: RetrievalModel,
    ) -> None:
        """Wraps a ranking model as `ServingModel` does, and what recommends beside it.

        Args:
          model: the ranking model.
          transform_output: Transform's graph and vocabularies.
          fitted_on: the ratings that both were fitted on.
          side: what is known of users and titles.
          retrieval: what recommends; its titles are those of the vocabulary, and behind them perhaps those of the side
            table that nobody rated.
        """
        super().__init__(model, transform_output, fitted_on, side)
        self._retrieval = retrieval
        # For those who keep vectors elsewhere.
        self.user_vectors, self.title_vectors = retrieval.user_vectors, retrieval.title_vectors
        # For those who show what was rated.
        self.rated_splits, self.rated_titles, self.rating_weights = retrieval.rated_rows
        self.rating_knots, self.weight_knots = retrieval.weight_knots
        self._tells_high_ratings = tells_high_ratings(model)
        names = [*transform_output.vocabulary_by_name(features.MOVIE_TITLE.name), *self._unrated_titles.names]
        self._num_rated = fitted_on.num_titles
        self._names = tf.Variable(names[: retrieval.num_titles], dtype=tf.string, trainable=False, name="titles")
        self._title_rows: tuple[tf.Variable, tf.Variable] | None = None
        if self._tells_high_ratings:
            unrated = self._unrated_titles.at(tf.range(retrieval.num_titles - self._num_rated, dtype=tf.int64))
            rows, deviations = (tf.Variable(each, trainable=False) for each in model.title_rows(unrated))
            self._title_rows = (rows, deviations)

    @tf.function(input_signature=[_USER, *_WANTED], autograph=False)
    def recommend(self, user_id: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor, only: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `recommend` signature: titles that a user has not rated, best first; popular ones for an unknown user.

        Args:
          user_id: string [1].
          k: int32 [].
          exclude: string [titles], may be empty.
          only: string [titles]; empty for all.

        Returns:
          `movie_title`, string, `score`, float32, of the final order, and `predicted_rating`, float32, stars; [k] each.
        """
        user, (excluded, wanted) = self._look_up(user_id, exclude, only)
        history = self._retrieval.history(user[0])
        best, scores = self._retrieval.recommend(*history, self._allowed(excluded, wanted), k, self._high_by(user))
        stars = self._rate_known(user_id, user, best[tf.newaxis])[0]
        return self._listed(best, scores) | {PREDICTED_RATING: stars}

    @tf.function(input_signature=[_USERS, *_WANTED], autograph=False)
    def recommend_users(
        self, user_id: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor, only: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The `recommend_users` signature: what `recommend` answers to each of many users, by blocks of products.

        Args:
          user_id: string [users], at most MOST_PAIRS / titles of them.
          k: int32 [].
          exclude: string [titles], for all users.
          only: string [titles], for all users.

        Returns:
          what `recommend` does, [users, min(k, titles that are allowed)] each. Of a user who has rated so much that
          fewer are left, the last titles are empty, their scores and ratings 0.
        """
        users, (excluded, wanted) = self._look_up(user_id, exclude, only)
        best, scores = self._retrieval.recommend_users(users, self._allowed(excluded, wanted), k, self._high_by(users))
        is_title = best >= 0
        stars = tf.where(is_title, self._rate_known(user_id, users, tf.maximum(best, 0)), 0.0)
        return {features.MOVIE_TITLE.name: self._padded_names(best), SCORE: scores, PREDICTED_RATING: stars}

    @tf.function(input_signature=[_TITLES, _RATINGS, *_WANTED], autograph=False)
    def recommend_for(
        self, movie_title: tf.Tensor, user_rating: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor, only: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The `recommend_for` signature: the same for somebody new, by ratings that come with the request.

        Args:
          movie_title: string [ratings]; of titles without training ratings nothing is concluded.
          user_rating: float32 [ratings], stars.
          k: int32 [].
          exclude: string [titles].
          only: string [titles].

        Returns:
          what `recommend` does. A ranking model that cannot take ratings in rates as for an unknown user.
        """
        nobody, (rated, excluded, wanted) = self._look_up(tf.constant(_NOBODY), movie_title, exclude, only)
        stars, high = self._rate_by_new(nobody, rated, user_rating)
        known = self._retrieval.fold(rated, user_rating)
        # What was rated is not recommended, though it may tell nothing.
        excluded = tf.concat([excluded, rated], axis=0)
        best, scores = self._retrieval.recommend(*known, self._allowed(excluded, wanted), k, high)
        if stars is None:
            predicted = self._rate_known(tf.constant(_NOBODY), nobody, best[tf.newaxis])[0]
        else:
            predicted = tf.clip_by_value(tf.gather(stars[0], best), self._low, self._high)
        return self._listed(best, scores) | {PREDICTED_RATING: predicted}

    @tf.function(input_signature=[_USER, _ASKED], autograph=False)
    def explain(self, user_id: tf.Tensor, asked_title: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `explain` signature: what the scores of titles for a user are made of.

        Args:
          user_id: string [1].
          asked_title: string [asked].

        Returns:
          `rated_title`, string [ratings], what the user rated in training; `shares`, float32 [asked, ratings], what
          each of these ratings adds to the score; `features`, string [features], names of what else the order weighs,
          and `feature_shares`, float32 [asked, features], what they add; `score`, float32 [asked], that of
          `recommend`: the sum of both. Of a title that nobody rated, all is 0.
        """
        user, (asked,) = self._look_up(user_id, asked_title)
        return self._explained(*self._retrieval.history(user[0]), asked, self._high_by(user))

    @tf.function(input_signature=[_TITLES, _RATINGS, _ASKED], autograph=False)
    def explain_for(
        self, movie_title: tf.Tensor, user_rating: tf.Tensor, asked_title: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The `explain_for` signature: the same for somebody new, by ratings as `recommend_for` takes them.

        Args:
          movie_title: string [ratings].
          user_rating: float32 [ratings], stars.
          asked_title: string [asked].

        Returns:
          what `explain` does; `rated_title` are those of the ratings that count.
        """
        nobody, (rated, asked) = self._look_up(tf.constant(_NOBODY), movie_title, asked_title)
        _, high = self._rate_by_new(nobody, rated, user_rating)
        return self._explained(*self._retrieval.fold(rated, user_rating), asked, high)

    @tf.function(input_signature=[_TITLE, *_WANTED], autograph=False)
    def similar(
        self, movie_title: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor, only: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The `similar` signature: titles that the same people choose as another, most alike first.

        Args:
          movie_title: string [1]; of a title without training ratings, popular ones are the answer.
          k: int32 [].
          exclude: string [titles].
          only: string [titles].

        Returns:
          `movie_title`, string [k], and `score`, float32 [k], a cosine.
        """
        _, (title, excluded, wanted) = self._look_up(tf.constant(_NOBODY), movie_title, exclude, only)
        best, scores = self._retrieval.similar(tf.cast(title[0], tf.int32), self._allowed(excluded, wanted), k)
        return self._listed(best, scores)

    @tf.function(input_signature=[_USERS, _WANTED[0]], autograph=False)
    def evaluation_lists(self, user_id: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `evaluation_lists` signature: what lists are compared with, and the slices of users.

        Args:
          user_id: string [users].
          k: int32 [].

        Returns:
          `movie_title`, string [users, min(k, titles)], the titles with the most training ratings that a user has not
          rated, ending in empty ones where fewer are left; and `user_activity`, string [users], as in `evaluation`.
        """
        users, _ = self._look_up(user_id, tf.constant([], tf.string))
        popular = self._retrieval.most_rated(users, self._counts(), k)
        vectors = self._unrated_users.vectors(user_id, users)
        return {
            features.MOVIE_TITLE.name: self._padded_names(popular),
            serving.USER_ACTIVITY: serving.slice_names(self._user_counts, users, vectors),
        }

    @tf.function(input_signature=[], autograph=False)
    def catalogue(self) -> dict[str, tf.Tensor]:
        """The `catalogue` signature: what there is to recommend, and from where on a rating counts as high.

        Returns:
          `movie_title`, string [titles], the most rated first; `count`, int32 [titles], training ratings; `genres`,
          float32 [titles, genres]; and `high_rating`, float32 [].
        """
        return {
            features.MOVIE_TITLE.name: tf.identity(self._names),
            COUNT: self._counts(),
            GENRES: tf.transpose(self._retrieval.genres),
            HIGH_RATING: tf.constant(self._high_rating),
        }

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """All signatures by name."""
        more = {
            RECOMMEND: self.recommend,
            RECOMMEND_FOR: self.recommend_for,
            RECOMMEND_USERS: self.recommend_users,
            EXPLAIN: self.explain,
            EXPLAIN_FOR: self.explain_for,
            SIMILAR: self.similar,
            EVALUATION_LISTS: self.evaluation_lists,
            CATALOGUE: self.catalogue,
        }
        return super().signatures() | more

    def warm_up_requests(self) -> dict[str, dict[str, tf.Tensor]]:
        """A request for each signature that is served."""
        requests = super().warm_up_requests()
        pair = requests[serving.PREDICT]
        title = {features.MOVIE_TITLE.name: pair[features.MOVIE_TITLE.name]}
        wanted = {K: tf.constant(10), EXCLUDE: tf.constant([], tf.string), ONLY: tf.constant([], tf.string)}
        user = {features.USER_ID.name: pair[features.USER_ID.name]}
        new = title | {features.USER_RATING.name: tf.constant([self._high])}
        asked = {ASKED_TITLE: pair[features.MOVIE_TITLE.name]}
        return requests | {
            RECOMMEND: user | wanted,
            RECOMMEND_FOR: new | wanted,
            RECOMMEND_USERS: user | wanted,
            EXPLAIN: user | asked,
            EXPLAIN_FOR: new | asked,
            SIMILAR: title | wanted,
        }

    def _high_by(self, users: tf.Tensor) -> tf.Tensor | None:
        """Float32 [users, titles]: the probabilities of high ratings by users, int64 ids; None if nothing tells."""
        if not self._tells_high_ratings:
            return None
        return serving.prob_at_least(
            self._high_rating, *self._model.rate_all(*self._model.user_rows(users), self._title_rows)
        )

    def _rate_known(self, names: tf.Tensor, users: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """Float32 [users, k]: stars, by users of these names, string [users], and ids, of titles, ids [users, k]."""
        count = tf.shape(titles)[1]
        inputs = {
            features.USER_ID.name: tf.repeat(users, count),
            features.MOVIE_TITLE.name: tf.cast(tf.reshape(titles, [-1]), tf.int64),
            features.USER_FEATURES: tf.repeat(self._unrated_users.vectors(names, users), count, axis=0),
            features.TITLE_FEATURES: self._unrated_titles.at(self._place_of_unrated(titles)),
        }
        return tf.reshape(self._rate(inputs), tf.shape(titles))

    def _place_of_unrated(self, titles: tf.Tensor) -> tf.Tensor:
        """Int64: places among the unrated of titles, ids of any shape, in a row; of rated ones that of zeros."""
        titles = tf.cast(tf.reshape(titles, [-1]), tf.int64)
        return tf.where(titles >= self._num_rated, titles - self._num_rated, self._unrated_titles.count)

    def _rate_by_new(
        self, nobody: tf.Tensor, titles: tf.Tensor, ratings: tf.Tensor
    ) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Stars, unclipped, and probabilities of high ratings, float32 [1, titles], by somebody new; None likewise.

        Args:
          nobody: int64 [1], id of an unknown user.
          titles: int64 [ratings], ids of what that person rated.
          ratings: float32 [ratings], stars.
        """
        if not self._tells_high_ratings:
            return None, None
        _, deviation = self._model.user_rows(nobody)
        row = self._model.fold_in(titles, ratings)[tf.newaxis]
        stars, deviations = self._model.rate_all(row, deviation, self._title_rows)
        return stars, serving.prob_at_least(self._high_rating, stars, deviations)

    def _explained(
        self, titles: tf.Tensor, weights: tf.Tensor, asked: tf.Tensor, rating: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        asked = tf.cast(asked, tf.int32)
        last = self._retrieval.num_titles - 1
        shares, rest = self._retrieval.explain(titles, weights, tf.minimum(asked, last), rating)
        is_rated = tf.cast(asked <= last, tf.float32)[:, tf.newaxis]
        shares, others = is_rated * shares, is_rated * tf.stack(list(rest.values()), axis=1)
        return {
            RATED_TITLE: tf.gather(self._names, titles),
            SHARES: shares,
            FEATURES: tf.constant(list(rest)),
            FEATURE_SHARES: others,
            SCORE: tf.reduce_sum(shares, axis=1) + tf.reduce_sum(others, axis=1),
        }

    def _look_up(self, user: tf.Tensor, *titles: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Ids of users and of groups of titles, string [names] each, at and behind the ends of vocabularies if unknown.

        Of all groups together, since spelling names the one way takes a graph that is large.
        """
        names = tf.concat(titles, axis=0)
        users, ids = self._ids(user, names)
        ids = tf.where(ids < self._num_rated, ids, self._num_rated + self._unrated_titles.rows(names, ids))
        return users, tf.split(ids, [tf.size(group) for group in titles], num=len(titles))

    def _allowed(self, excluded: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        """Bool [titles]: those that may be recommended, by ids of what is excluded and, unless it is empty, wanted."""
        return ~self._among(excluded) & (self._among(wanted) | (tf.size(wanted) == 0))

    def _among(self, ids: tf.Tensor) -> tf.Tensor:
        """Bool [titles]: those with one of these ids."""
        number = self._retrieval.num_titles
        ids = tf.minimum(ids, number)
        marked = tf.tensor_scatter_nd_update(
            tf.fill([number + 1], False), ids[:, tf.newaxis], tf.fill(tf.shape(ids), True)
        )
        return marked[:number]

    def _counts(self) -> tf.Tensor:
        """Int32 [titles]: training ratings."""
        unrated = self._retrieval.num_titles - self._num_rated
        return tf.pad(self._title_counts[: self._num_rated], [[0, unrated]])

    def _padded_names(self, titles: tf.Tensor) -> tf.Tensor:
        """String of the shape of titles, int32; empty for -1."""
        return tf.where(titles >= 0, tf.gather(self._names, tf.maximum(titles, 0)), "")

    def _listed(self, titles: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.MOVIE_TITLE.name: tf.gather(self._names, titles), SCORE: scores}
