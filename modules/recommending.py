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
SCORE = "score"
# Inputs beside those of `predict`.
K, EXCLUDE, ONLY = "k", "exclude", "only"

_USER = tf.TensorSpec([1], tf.string, name=features.USER_ID.name)
_TITLE = tf.TensorSpec([1], tf.string, name=features.MOVIE_TITLE.name)
_TITLES = tf.TensorSpec([None], tf.string, name=features.MOVIE_TITLE.name)
_RATINGS = tf.TensorSpec([None], tf.float32, name=features.USER_RATING.name)
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
        rating = None
        if self._tells_high_ratings:
            rating = self._prob_of_all(*self._model.user_rows(user))
        history = self._retrieval.history(user[0])
        best, scores = self._retrieval.recommend(*history, self._allowed(exclude, only), k, rating)
        names = tf.gather(self._names, best)
        inputs = self._inputs(tf.repeat(user_id, tf.size(best)), names)
        return self._listed(names, scores) | {PREDICTED_RATING: self._rate(inputs)[:, 0]}

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
        if self._tells_high_ratings:
            nobody = tf.constant([self._model.tables[0].shape[0]], tf.int64)
            _, deviation = self._model.user_rows(nobody)
            row = self._model.fold_in(rated, user_rating)[tf.newaxis]
            stars, _ = self._model.rate_all(row, deviation)
            best, scores = self._retrieval.recommend(titles, weights, allowed, k, self._prob_of_all(row, deviation))
            predicted = tf.clip_by_value(tf.gather(stars[0], best), self._low, self._high)
            names = tf.gather(self._names, best)
        else:
            best, scores = self._retrieval.recommend(titles, weights, allowed, k)
            names = tf.gather(self._names, best)
            predicted = self._rate(self._inputs(tf.fill(tf.shape(names), ""), names))[:, 0]
        return self._listed(names, scores) | {PREDICTED_RATING: predicted}

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
        more = {RECOMMEND: self.recommend, RECOMMEND_FOR: self.recommend_for, SIMILAR: self.similar}
        return super().signatures() | more

    def warm_up_requests(self) -> dict[str, dict[str, tf.Tensor]]:
        """A request for each signature that is served."""
        requests = super().warm_up_requests()
        pair = requests[serving.PREDICT]
        title = {features.MOVIE_TITLE.name: pair[features.MOVIE_TITLE.name]}
        wanted = {K: tf.constant(10), EXCLUDE: tf.constant([], tf.string), ONLY: tf.constant([], tf.string)}
        return requests | {
            RECOMMEND: {features.USER_ID.name: pair[features.USER_ID.name]} | wanted,
            RECOMMEND_FOR: title | {features.USER_RATING.name: tf.constant([self._high])} | wanted,
            SIMILAR: title | wanted,
        }

    def _prob_of_all(self, rows: tf.Tensor, deviations: tf.Tensor) -> tf.Tensor:
        """Float32 [titles]: the probability of a high rating of each title by one user."""
        return serving.prob_at_least(self._high_rating, *self._model.rate_all(rows, deviations))[0]

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
