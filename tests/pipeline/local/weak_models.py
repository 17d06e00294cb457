"""Models for tests that must not pass the gates."""

from __future__ import annotations

from collections.abc import Callable

import pydantic
import tensorflow as tf
import tensorflow_recommenders as tfrs

from modules import baselines
from modules.ratings import Ratings


class UnservableConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Nothing to configure."""


class UnservableModel(tfrs.Model):
    """Rates known users well, and unknown ones with NaN."""

    def __init__(self, ratings: Ratings):
        super().__init__()
        bias = baselines.UserTitleBias.fit(ratings)
        self.user = tf.constant(bias.user_bias, tf.float32)
        self.title = tf.constant(bias.title_bias, tf.float32)
        self.mean = bias.mean

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        user, title = inputs["user_id"], inputs["movie_title"]
        rating = self.mean + tf.gather(self.user, user) + tf.gather(self.title, title)
        unknown = tf.equal(user, tf.cast(tf.shape(self.user)[0] - 1, user.dtype))
        return tf.where(unknown, float("nan"), rating)[:, None]


def fit(
    ratings: Ratings, config: UnservableConfig, *, seed: int, log_dir: str | None, report: Callable[[str], None]
) -> tfrs.Model:
    report("fitting")
    return UnservableModel(ratings)
