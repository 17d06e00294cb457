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

    All lists are of titles with training ratings, best first, min(k, titles that are left) long. `exclude` leaves
    titles out; `only`, unless it is empty, leaves out all others. Names that no such title has change nothing there,
    but where `only` has no other, nothing is left.
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
          retrieval: what recommends; its titles are those of the vocabulary.
        """
        super().__init__(model, transform_output, fitted_on, side)
        self._retrieval = retrieval
        self._tells_high_ratings = tells_high_ratings(model)
        names = transform_output.vocabulary_by_name(features.MOVIE_TITLE.name)[: retrieval.num_titles]
        self._names = tf.Variable(names, dtype=tf.string, trainable=False, name="titles")

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
        user, _ = self._ids(user_id, tf.constant([""]))
        history = self._retrieval.history(user[0])
        best, scores = self._retrieval.recommend(*history, self._allowed(exclude, only), k, self._high_by(user))
        names = tf.gather(self._names, best)
        inputs = self._inputs(tf.repeat(user_id, tf.size(best)), names)
        return self._listed(names, scores) | {PREDICTED_RATING: self._rate(inputs)[:, 0]}

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
        user, _ = self._ids(user_id, tf.fill(tf.shape(user_id), ""))
        best, scores = self._retrieval.recommend_users(user, self._allowed(exclude, only), k, self._high_by(user))
        is_title = best >= 0
        titles = tf.where(is_title, tf.gather(self._names, tf.maximum(best, 0)), "")
        pairs = self._inputs(tf.repeat(user_id, tf.shape(best)[1]), tf.reshape(titles, [-1]))
        predicted = tf.reshape(self._rate(pairs), tf.shape(best))
        return self._listed(titles, scores) | {PREDICTED_RATING: tf.where(is_title, predicted, 0.0)}

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
        rated = self._title_ids(movie_title)
        titles, weights = self._retrieval.fold(rated, user_rating)
        allowed = self._allowed(exclude, only)
        stars, high = self._rate_by_new(rated, user_rating)
        best, scores = self._retrieval.recommend(titles, weights, allowed, k, high)
        names = tf.gather(self._names, best)
        if stars is None:
            predicted = self._rate(self._inputs(tf.fill(tf.shape(names), ""), names))[:, 0]
        else:
            predicted = tf.clip_by_value(tf.gather(stars[0], best), self._low, self._high)
        return self._listed(names, scores) | {PREDICTED_RATING: predicted}

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
        user, _ = self._ids(user_id, tf.constant([""]))
        return self._explained(*self._retrieval.history(user[0]), asked_title, self._high_by(user))

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
        rated = self._title_ids(movie_title)
        _, high = self._rate_by_new(rated, user_rating)
        return self._explained(*self._retrieval.fold(rated, user_rating), asked_title, high)

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
        title = tf.cast(self._title_ids(movie_title)[0], tf.int32)
        best, scores = self._retrieval.similar(title, self._allowed(exclude, only), k)
        return self._listed(tf.gather(self._names, best), scores)

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """All signatures by name."""
        more = {
            RECOMMEND: self.recommend,
            RECOMMEND_FOR: self.recommend_for,
            RECOMMEND_USERS: self.recommend_users,
            EXPLAIN: self.explain,
            EXPLAIN_FOR: self.explain_for,
            SIMILAR: self.similar,
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
        return serving.prob_at_least(self._high_rating, *self._model.rate_all(*self._model.user_rows(users)))

    def _rate_by_new(self, titles: tf.Tensor, ratings: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Stars, unclipped, and probabilities of high ratings, float32 [1, titles], by somebody new; None likewise.

        Args:
          titles: int64 [ratings], ids of what that person rated.
          ratings: float32 [ratings], stars.
        """
        if not self._tells_high_ratings:
            return None, None
        nobody = tf.constant([self._model.tables[0].shape[0]], tf.int64)
        _, deviation = self._model.user_rows(nobody)
        stars, deviations = self._model.rate_all(self._model.fold_in(titles, ratings)[tf.newaxis], deviation)
        return stars, serving.prob_at_least(self._high_rating, stars, deviations)

    def _explained(
        self, titles: tf.Tensor, weights: tf.Tensor, asked_title: tf.Tensor, rating: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        asked = tf.cast(self._title_ids(asked_title), tf.int32)
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

    def _title_ids(self, names: tf.Tensor) -> tf.Tensor:
        """Int64 [names]: positions in the vocabulary; at and behind its end, those of unknown names."""
        _, ids = self._ids(tf.fill(tf.shape(names), ""), names)
        return ids

    def _allowed(self, exclude: tf.Tensor, only: tf.Tensor) -> tf.Tensor:
        """Bool [titles]: those that may be recommended."""
        excluded, wanted = (self._among(names) for names in (exclude, only))
        return ~excluded & (wanted | (tf.size(only) == 0))

    def _among(self, names: tf.Tensor) -> tf.Tensor:
        """Bool [titles]: those with one of these names."""
        number = self._retrieval.num_titles
        ids = tf.minimum(self._title_ids(names), number)
        marked = tf.tensor_scatter_nd_update(
            tf.fill([number + 1], False), ids[:, tf.newaxis], tf.fill(tf.shape(ids), True)
        )
        return marked[:number]

    def _listed(self, names: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.MOVIE_TITLE.name: names, SCORE: scores}
