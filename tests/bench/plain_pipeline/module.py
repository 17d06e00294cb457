"""Yardstick: the notebook's model as the shortest TFX module, in the manner of TFX's tutorials."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft
from tfx_bsl.public import tfxio


def preprocessing_fn(inputs):
    # CsvExampleGen makes numbers of user ids that look like numbers.
    users = tf.strings.as_string(inputs["user_id"])
    return {
        "user": tft.compute_and_apply_vocabulary(users, num_oov_buckets=1, vocab_filename="users"),
        "title": tft.compute_and_apply_vocabulary(inputs["movie_title"], num_oov_buckets=1, vocab_filename="titles"),
        "user_rating": inputs["user_rating"],
    }


class PlainModel(tfrs.Model):
    """Two embeddings, Dense 256/64/1, mean squared error."""

    def __init__(self, users: int, titles: int):
        super().__init__()
        dense = tf.keras.layers.Dense
        self.users, self.titles = tf.keras.layers.Embedding(users, 32), tf.keras.layers.Embedding(titles, 32)
        self.ratings = tf.keras.Sequential([dense(256, activation="relu"), dense(64, activation="relu"), dense(1)])
        self.task = tfrs.tasks.Ranking(tf.keras.losses.MeanSquaredError(), [tf.keras.metrics.RootMeanSquaredError()])

    def call(self, features):
        user, title = tf.reshape(features["user"], [-1]), tf.reshape(features["title"], [-1])
        return self.ratings(tf.concat([self.users(user), self.titles(title)], 1))

    def compute_loss(self, inputs, training=False):
        features, ratings = inputs
        return self.task(labels=ratings, predictions=self(features))


def run_fn(arguments):
    transform = tft.TFTransformOutput(arguments.transform_output)

    def read(files, batch_size, shuffle):
        options = tfxio.TensorFlowDatasetOptions(
            batch_size=batch_size, label_key="user_rating", num_epochs=1, shuffle=shuffle
        )
        schema = transform.transformed_metadata.schema
        return arguments.data_accessor.tf_dataset_factory(files, options, schema).cache()

    sizes = (transform.vocabulary_size_by_name(name) + 1 for name in ("users", "titles"))
    model = PlainModel(*sizes)
    model.compile(tf.keras.optimizers.Adagrad(0.1))
    validation = read(arguments.eval_files, 4096, False)
    model.fit(read(arguments.train_files, 8192, True), epochs=3, validation_data=validation, verbose=0)
    model.transform_layer = transform.transform_features_layer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples):
        spec = transform.raw_feature_spec()
        del spec["user_rating"]
        return {"predicted_rating": model(model.transform_layer(tf.io.parse_example(examples, spec)))}

    model.save(arguments.serving_model_dir, save_format="tf", signatures={"serving_default": serve})
