"""The exported SavedModel: raw strings in, ratings out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft
from tf_keras.src.saving.legacy.saved_model import utils as keras_saving

from modules import baselines, features, side_tables
from modules.normalization_ops import normalize_tensor
from modules.rating_models import EmbeddingModel
from modules.ratings import Ratings
from modules.side_features import LISTED, SideFeatures
from modules.side_tables import UNRATED_PREFIX

PREDICTED_RATING = "predicted_rating"
# Beside it where the model tells: the standard deviation of a rating around it, and the probability of a high one.
RATING_STDDEV = "rating_stddev"
PROB_AT_LEAST = "prob_at_least"
# A high rating lies in the upper quarter of the scale: 4 stars of 1 to 5.
_HIGH_RATING = 0.75
EXAMPLES = "examples"
SERVING_DEFAULT, PREDICT, RANK = "serving_default", "predict", "rank"
# For evaluation: which slices an example belongs to, and what the model has to beat.
EVALUATION_SIGNATURE = "evaluation"
# How much was known about the user and the title when the model was fitted.
USER_ACTIVITY = "user_activity"
TITLE_POPULARITY = "title_popularity"
GLOBAL_MEAN = "global_mean"
TITLE_MEAN = "title_mean"
USER_TITLE_BIAS = "user_title_bias"
SLICE_BOUNDARIES = (1, 3, 10, 50, 200)
# The first is of those in no table, the second of those in a side table whom nobody rated (or who rated nothing).
SLICE_NAMES = ("new", "unrated", "1-2", "3-9", "10-49", "50-199", "200+")


class ServingModel(tf.Module):
    """A fitted model together with its vocabularies and the side features of what nobody rated.

    Call it with a dict of `user_id` and `movie_title`, string [batch] each; it returns float32 [batch, 1], stars
    within the rating scale. What the training rows hold is rated by what the model learned of it; another user or title
    of the side tables by its side features; any other by what the model knows of users and titles at large.
    """

    def __init__(
        self, model: tfrs.Model, transform_output: tft.TFTransformOutput, fitted_on: Ratings, side: SideFeatures
    ):
        """Wraps a model.

        Args:
          model: takes ids and feature vectors, gives float32 [batch, 1].
          transform_output: Transform's graph and vocabularies.
          fitted_on: the ratings that the model was fitted on, for the scale, and for slices and baselines.
          side: what is known of users and titles.
        """
        super().__init__(name="movie_ranking")
        self._model = model
        self._transform = transform_output.transform_features_layer()
        self._low, self._high = fitted_on.low, fitted_on.high
        self._high_rating = high_rating(fitted_on)
        # Assets have to be there until the model is exported.
        self._assets = tempfile.TemporaryDirectory()
        self._categories = side.lookup
        self._user_vectors, self._title_vectors = side.users, side.titles
        self._unrated_users, self._unrated_titles = (
            _Unrated(table, transform_output.vocabulary_by_name(table.key.name), side, self._assets.name)
            for table in (features.USERS, features.TITLES)
        )
        self._user_counts = _counts(fitted_on.user, fitted_on.num_users)
        self._title_counts = _counts(fitted_on.title, fitted_on.num_titles)
        self._baselines = _baseline_tables(fitted_on)

    @tf.function(
        input_signature=[
            {
                features.USER_ID.name: tf.TensorSpec([None], tf.string),
                features.MOVIE_TITLE.name: tf.TensorSpec([None], tf.string),
            }
        ],
        autograph=False,
    )
    def __call__(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Rates pairs of user and title, float32 [batch, 1]."""
        return self._rate(self._inputs(inputs[features.USER_ID.name], inputs[features.MOVIE_TITLE.name]))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user_id"),
            tf.TensorSpec([None], tf.string, "movie_title"),
        ],
        autograph=False,
    )
    def predict(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `predict` signature: string [batch] each, to float32 [batch, 1] each.

        Returns:
          `predicted_rating`, and of a model that tells, `rating_stddev` and `prob_at_least`.
        """
        return self._answer(self._inputs(user_id, movie_title))

    @tf.function(
        input_signature=[
            tf.TensorSpec([1], tf.string, name="user_id"),
            tf.TensorSpec([None], tf.string, "movie_title"),
        ],
        autograph=False,
    )
    def rank(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `rank` signature: one user and candidate titles, to titles and what `predict` gives, best first.

        Ties stay in the order of the input.
        """
        inputs = self._inputs(user_id, movie_title)
        # Repeated here, the user is looked up once.
        for name in (features.USER_ID.name, features.USER_FEATURES):
            inputs[name] = tf.repeat(inputs[name], tf.shape(movie_title)[0], axis=0)
        answer = {features.MOVIE_TITLE.name: movie_title}
        answer |= {name: values[:, 0] for name, values in self._answer(inputs).items()}
        # top_k puts the lower index first among equals.
        order = tf.math.top_k(answer[PREDICTED_RATING], k=tf.shape(movie_title)[0], sorted=True).indices
        return {
            name: tf.gather(values, order)
            for name, values in {features.MOVIE_TITLE.name: movie_title, **answer}.items()
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)], autograph=False)
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `serving_default` signature: serialized tf.Examples, to what `predict` gives.

        Side features that a request carries (genres and year of a new title, say) count for users and titles that are
        neither in the training rows nor in the side tables.
        """
        spec = {**_ID_SPEC, **side_tables.column_spec(features.USERS), **side_tables.column_spec(features.TITLES)}
        request = tf.io.parse_example(examples, spec)
        user, title = request[features.USER_ID.name], request[features.MOVIE_TITLE.name]
        users, titles = self._user_vectors(request, tf.size(user)), self._title_vectors(request, tf.size(title))
        return self._answer(self._inputs(user, title, users, titles))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)], autograph=False)
    def evaluation(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `evaluation` signature: of each serialized tf.Example its slices, string, and the baselines' predictions.

        The predictions are those of the mean and of biases alone, float32, stars within the scale; all are [batch].
        """
        request = tf.io.parse_example(examples, _ID_SPEC)
        inputs = self._inputs(request[features.USER_ID.name], request[features.MOVIE_TITLE.name])
        user, title = inputs[features.USER_ID.name], inputs[features.MOVIE_TITLE.name]
        mean, title_mean, user_bias, title_bias = self._baselines
        predictions = {
            GLOBAL_MEAN: tf.fill(tf.shape(user), mean),
            TITLE_MEAN: _row(title_mean, title),
            USER_TITLE_BIAS: mean + _row(user_bias, user) + _row(title_bias, title),
        }
        return {
            USER_ACTIVITY: slice_names(self._user_counts, user, inputs[features.USER_FEATURES]),
            TITLE_POPULARITY: slice_names(self._title_counts, title, inputs[features.TITLE_FEATURES]),
            **{name: tf.clip_by_value(value, self._low, self._high) for name, value in predictions.items()},
        }

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """All signatures by name."""
        return {
            SERVING_DEFAULT: self.serve_examples,
            PREDICT: self.predict,
            RANK: self.rank,
            EVALUATION_SIGNATURE: self.evaluation,
        }

    def warm_up_requests(self) -> dict[str, dict[str, tf.Tensor]]:
        """A request for each signature that is served."""
        pair = {features.USER_ID.name: [b"warm-up user"], features.MOVIE_TITLE.name: [b"warm-up title"]}
        example = tf.train.Example()
        for name, values in pair.items():
            example.features.feature[name].bytes_list.value.extend(values)
        asked = {name: tf.constant(values) for name, values in pair.items()}
        serialized = tf.constant([example.SerializeToString()])
        return {SERVING_DEFAULT: {EXAMPLES: serialized}, PREDICT: asked, RANK: asked}

    def _ids(self, user: tf.Tensor, title: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Ids by Transform's vocabularies, int64 [batch]; those behind their ends are of what nobody rated."""
        ids = self._transform({features.USER_ID.name: user, features.MOVIE_TITLE.name: title})
        return ids[features.USER_ID.name], ids[features.MOVIE_TITLE.name]

    def _inputs(
        self, user: tf.Tensor, title: tf.Tensor, users: tf.Tensor | None = None, titles: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """The model's inputs of names, string [batch], with feature vectors that count for what no table knows."""
        user_id, title_id = self._ids(user, title)
        return {
            features.USER_ID.name: user_id,
            features.MOVIE_TITLE.name: title_id,
            features.USER_FEATURES: self._unrated_users.vectors(user, user_id, users),
            features.TITLE_FEATURES: self._unrated_titles.vectors(title, title_id, titles),
        }

    def _rate(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.clip_by_value(self._model(inputs), self._low, self._high)

    def _answer(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """All that is said of pairs, float32 [batch, 1] each."""
        if not isinstance(self._model, EmbeddingModel) or not self._model.deviations:
            return {PREDICTED_RATING: self._rate(inputs)}
        score, deviation = self._model(inputs), self._model.deviation(inputs)
        return {
            PREDICTED_RATING: tf.clip_by_value(score, self._low, self._high),
            RATING_STDDEV: deviation,
            PROB_AT_LEAST: prob_at_least(self._high_rating, score, deviation),
        }


_ID_SPEC = {column.name: tf.io.FixedLenFeature([], tf.string) for column in (features.USER_ID, features.MOVIE_TITLE)}


class _Unrated(tf.Module):
    """The users (titles) of the side tables that nobody rated, by name.

    Their names are an asset, which is left out where there are none. Memory: the name and a feature vector of each:
    548 bytes for a user's, 732 for a title's.

    Attributes:
      names: bytes, in the order of the table.
      count: how many there are.
    """

    def __init__(self, table: features.Table, rated: list[bytes], side: SideFeatures, folder: str):
        super().__init__()
        self.names = names = side.ids_beside(table, rated)
        self.count = len(names)
        # The last row, of zeros, is that of every other name. A variable, since constants are stored with the graph.
        self._vectors = tf.Variable(np.pad(side.of_ids(table, names), ((0, 1), (0, 0))))
        self._num_rated = len(rated)
        self._rows = None
        if names:
            path = os.path.join(folder, UNRATED_PREFIX + table.key.name)
            with open(path, "wb") as file:
                file.writelines(name + b"\n" for name in names)
            line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
            self._rows = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(path, tf.string, line, tf.int64, number), default_value=len(names)
            )

    def vectors(self, names: tf.Tensor, ids: tf.Tensor, others: tf.Tensor | None = None) -> tf.Tensor:
        """The vectors of these users (titles), whatever the spelling of their names.

        Args:
          names: string [batch].
          ids: int64 [batch], by Transform's vocabulary of what was rated.
          others: float32 [batch, size], for every other name; zeros by default.

        Returns:
          float32 [batch, size].
        """
        if others is None:
            others = tf.zeros([tf.size(names), self._vectors.shape[1]])
        if self._rows is None:
            return others
        rows = self.rows(names, ids)
        return tf.where((rows == self.count)[:, tf.newaxis], others, self.at(rows))

    def rows(self, names: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Int64 [batch]: places among the unrated of names, string [batch], by ids; `count` for all others."""
        rows = tf.fill(tf.shape(ids), tf.constant(self.count, tf.int64))
        if self._rows is None:
            return rows
        # Most names are rated, and looking one up takes longer than telling that it is.
        unrated = tf.where(ids >= self._num_rated)
        found = self._rows.lookup(normalize_tensor(tf.gather_nd(names, unrated)))
        return tf.tensor_scatter_nd_update(rows, unrated, found)

    def at(self, rows: tf.Tensor) -> tf.Tensor:
        """Float32 [batch, size]: the vectors at places, int64 [batch]; zeros at `count`."""
        return tf.gather(self._vectors, rows)


def export(serving: ServingModel, path: str) -> None:
    """Writes the SavedModel, with warm-up requests for TensorFlow Serving beside it."""
    # As with `tf.keras.Model.save(save_traces=False)`: Keras would trace its layers once more, for loading with Keras,
    # which takes several times as long as the rest of the export.
    with keras_saving.keras_option_scope(save_traces=False):
        tf.saved_model.save(serving, path, signatures=serving.signatures())
    write_warm_up_requests(serving.warm_up_requests(), path)


def write_warm_up_requests(requests: Mapping[str, Mapping[str, tf.Tensor]], path: str) -> None:
    """Writes requests, inputs by signature, where TensorFlow Serving looks for them."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    folder = os.path.join(path, "assets.extra")
    tf.io.gfile.makedirs(folder)
    with tf.io.TFRecordWriter(os.path.join(folder, "tf_serving_warmup_requests")) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "movie_ranking"
            request.model_spec.signature_name = signature
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def prob_at_least(threshold: float, score: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """The probability that a rating is above a threshold, of a normal distribution around the score."""
    return 0.5 * tf.math.erfc((threshold - score) / (np.sqrt(2.0) * deviation))


def high_rating(ratings: Ratings) -> float:
    """From where on a score stands for a high rating: half-way from the highest rating below, if there is one."""
    high = ratings.low + _HIGH_RATING * (ratings.high - ratings.low)
    below, at_least = (ratings.rating[rows] for rows in (ratings.rating < high, ratings.rating >= high))
    if not len(below) or not len(at_least):
        return high
    return 0.5 * (float(below.max()) + float(at_least.min()))


def _counts(ids: np.ndarray, size: int) -> tf.Tensor:
    """How many ratings each id has, int32 [size + 1]; the last row stands for every unknown id."""
    return tf.constant(np.append(np.bincount(ids, minlength=size), 0), tf.int32)


def _baseline_tables(ratings: Ratings) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Global mean, then title means, user biases and title biases by id; the last row stands for every unknown id."""
    bias = baselines.UserTitleBias.fit(ratings)
    tables = (bias.mean, baselines.TitleMean.fit(ratings).title_mean, bias.user_bias, bias.title_bias)
    mean, title_mean, user_bias, title_bias = (tf.constant(table, tf.float32) for table in tables)
    return mean, title_mean, user_bias, title_bias


def _row(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """The table's row of each id; the last row for ids beyond it."""
    return tf.gather(table, tf.minimum(ids, tf.cast(tf.shape(table)[0] - 1, ids.dtype)))


def slice_names(counts: tf.Tensor, ids: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """The slice of each id by its ratings, and without any, by whether a side table has it.

    Args:
      counts: int32 [size + 1], training ratings of each id; the last row is that of ids beyond.
      ids: int64 [batch].
      vectors: float32 [batch, size], feature vectors, which count for ids without ratings.

    Returns:
      string [batch], among SLICE_NAMES.
    """
    count = _row(counts, ids)
    rated = 1 + tf.searchsorted(list(SLICE_BOUNDARIES), count, side="right")
    return tf.gather(tf.constant(SLICE_NAMES), tf.where(count > 0, rated, tf.cast(vectors[:, LISTED], tf.int32)))
