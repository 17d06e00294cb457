"""The exported SavedModel: raw strings in, ratings out."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft
from tf_keras.src.saving.legacy.saved_model import utils as keras_saving

from modules import baselines, features
from modules.ratings import Ratings

PREDICTED_RATING = "predicted_rating"
EXAMPLES = "examples"
# What evaluation slices by: how much was known about the user and the title when the model was fitted.
USER_ACTIVITY = "user_activity"
TITLE_POPULARITY = "title_popularity"
SLICES_SIGNATURE = "slices"
# What a model must beat, asked with the same requests.
BASELINES_SIGNATURE = "baselines"
GLOBAL_MEAN = "global_mean"
TITLE_MEAN = "title_mean"
USER_TITLE_BIAS = "user_title_bias"
SLICE_BOUNDARIES = (1, 3, 10, 50, 200)
SLICE_NAMES = ("0 (cold)", "1-2", "3-9", "10-49", "50-199", "200+")


class ServingModel(tf.Module):
    """A fitted model together with its vocabularies.

    Call it with a dict of `user_id` and `movie_title`, string [batch] each; it returns float32 [batch, 1], stars
    within the rating scale. Unknown users and titles are rated by what the model knows of users and titles at large.
    """

    def __init__(self, model: tfrs.Model, transform_output: tft.TFTransformOutput, fitted_on: Ratings):
        """Wraps a model.

        Args:
          model: takes ids and feature vectors, gives float32 [batch, 1].
          transform_output: Transform's graph and vocabularies.
          fitted_on: the ratings that the model was fitted on, for the scale and the counts behind the slices.
        """
        super().__init__(name="movie_ranking")
        self._model = model
        self._transform = transform_output.transform_features_layer()
        self._low, self._high = fitted_on.low, fitted_on.high
        spec = transform_output.raw_feature_spec()
        spec.pop(features.USER_RATING.name)
        self._request_spec = spec
        self._optional = [name for name, feature in spec.items() if isinstance(feature, tf.io.VarLenFeature)]
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
        return self._rate(self._transformed(self._with_optional(inputs)))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="user_id"),
            tf.TensorSpec([None], tf.string, "movie_title"),
        ],
        autograph=False,
    )
    def predict(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `predict` signature: string [batch] each, to `predicted_rating` float32 [batch, 1]."""
        return {PREDICTED_RATING: self({features.USER_ID.name: user_id, features.MOVIE_TITLE.name: movie_title})}

    @tf.function(
        input_signature=[
            tf.TensorSpec([1], tf.string, name="user_id"),
            tf.TensorSpec([None], tf.string, "movie_title"),
        ],
        autograph=False,
    )
    def rank(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `rank` signature: one user and candidate titles, to both best first, ties in input order."""
        users = tf.repeat(user_id, tf.shape(movie_title)[0])
        ratings = self({features.USER_ID.name: users, features.MOVIE_TITLE.name: movie_title})[:, 0]
        # top_k puts the lower index first among equals.
        best, order = tf.math.top_k(ratings, k=tf.shape(ratings)[0], sorted=True)
        return {features.MOVIE_TITLE.name: tf.gather(movie_title, order), PREDICTED_RATING: best}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)], autograph=False)
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `serving_default` signature: serialized tf.Examples, to `predicted_rating` float32 [batch, 1].

        Side features that a request carries (genres and year of an unknown title, say) are used.
        """
        return {PREDICTED_RATING: self._rate(self._transformed(tf.io.parse_example(examples, self._request_spec)))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)], autograph=False)
    def slices(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `slices` signature, for evaluation: which slice of users and of titles each example belongs to."""
        transformed = self._transformed(tf.io.parse_example(examples, self._request_spec))
        return {
            USER_ACTIVITY: _slice_names(self._user_counts, transformed[features.USER_ID.name]),
            TITLE_POPULARITY: _slice_names(self._title_counts, transformed[features.MOVIE_TITLE.name]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)], autograph=False)
    def baselines(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The `baselines` signature, for evaluation: what the mean and the biases alone predict, float32 [batch]."""
        transformed = self._transformed(tf.io.parse_example(examples, self._request_spec))
        mean, title_mean, user_bias, title_bias = self._baselines
        user = _row(user_bias, transformed[features.USER_ID.name])
        title = transformed[features.MOVIE_TITLE.name]
        predictions = {
            GLOBAL_MEAN: tf.fill(tf.shape(user), mean),
            TITLE_MEAN: _row(title_mean, title),
            USER_TITLE_BIAS: mean + user + _row(title_bias, title),
        }
        return {name: tf.clip_by_value(value, self._low, self._high) for name, value in predictions.items()}

    def _with_optional(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor | tf.SparseTensor]:
        batch = tf.shape(inputs[features.USER_ID.name], out_type=tf.int64)[0]
        absent = {
            name: tf.SparseTensor(
                tf.zeros([0, 2], tf.int64), tf.zeros([0], self._request_spec[name].dtype), tf.stack([batch, 0])
            )
            for name in self._optional
        }
        return {**inputs, **absent}

    def _transformed(self, raw: dict[str, tf.Tensor | tf.SparseTensor]) -> dict[str, tf.Tensor]:
        return self._transform(raw)

    def _rate(self, transformed: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.clip_by_value(self._model(transformed), self._low, self._high)


def export(serving: ServingModel, path: str) -> None:
    """Writes the SavedModel, with warm-up requests for TensorFlow Serving beside it."""
    signatures = {
        "serving_default": serving.serve_examples,
        "predict": serving.predict,
        "rank": serving.rank,
        SLICES_SIGNATURE: serving.slices,
        BASELINES_SIGNATURE: serving.baselines,
    }
    # As with `tf.keras.Model.save(save_traces=False)`: Keras would trace its layers once more, for loading with Keras,
    # which takes several times as long as the rest of the export.
    with keras_saving.keras_option_scope(save_traces=False):
        tf.saved_model.save(serving, path, signatures=signatures)
    write_warm_up_requests(path)


def write_warm_up_requests(path: str) -> None:
    """Writes a request for each serving signature where TensorFlow Serving looks for them."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    user, title = "warm-up user", "warm-up title"
    example = tf.train.Example(
        features=tf.train.Features(
            feature={
                features.USER_ID.name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[user.encode()])),
                features.MOVIE_TITLE.name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[title.encode()])),
            }
        )
    )
    pair = {features.USER_ID.name: [user], features.MOVIE_TITLE.name: [title]}
    requests = {"serving_default": {EXAMPLES: [example.SerializeToString()]}, "predict": pair, "rank": pair}
    folder = os.path.join(path, "assets.extra")
    tf.io.gfile.makedirs(folder)
    with tf.io.TFRecordWriter(os.path.join(folder, "tf_serving_warmup_requests")) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "movie_ranking"
            request.model_spec.signature_name = signature
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _counts(ids: np.ndarray, size: int) -> tf.Tensor:
    """Ratings a known id has, int32 [size + 1]; the last row stands for every unknown id."""
    known = ids[ids < size]
    return tf.constant(np.append(np.bincount(known, minlength=size), 0), tf.int32)


def _baseline_tables(ratings: Ratings) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Global mean, then title means, user biases and title biases by id; the last row stands for every unknown id."""
    bias = baselines.UserTitleBias.fit(ratings)
    tables = (bias.mean, baselines.TitleMean.fit(ratings).title_mean, bias.user_bias, bias.title_bias)
    mean, title_mean, user_bias, title_bias = (tf.constant(table, tf.float32) for table in tables)
    return mean, title_mean, user_bias, title_bias


def _row(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """The table's row of each id; the last row for ids beyond it."""
    return tf.gather(table, tf.minimum(ids, tf.cast(tf.shape(table)[0] - 1, ids.dtype)))


def _slice_names(counts: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(SLICE_NAMES), tf.searchsorted(list(SLICE_BOUNDARIES), _row(counts, ids), side="right"))
