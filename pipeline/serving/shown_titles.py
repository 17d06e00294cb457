"""What was shown to whom, out of the files of `request_log`: each title with its rank and its score."""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from modules import features, serving
from modules.recommending import SCORE
from pipeline.serving.request_log import PATTERN

_USER, _TITLE = features.USER_ID.name, features.MOVIE_TITLE.name


class Shown(NamedTuple):
    """A title in an answer.

    Attributes:
      request_id: of the request.
      version: of the model that answered.
      seconds: since 1970, when it was answered.
      user_id: whom it was for; None of somebody new, or of nobody.
      title: the title.
      rank: its place among the titles for that user, from 1 on.
      score: by which it has that place: that of the order, or the predicted rating, stars.
    """

    request_id: str
    version: int
    seconds: int
    user_id: str | None
    title: str
    rank: int
    score: float


def read(folder: str | os.PathLike[str]) -> Iterator[Shown]:
    """All titles that were shown, in the order in which they were logged.

    Args:
      folder: of the log of requests; files that are not complete yet are left out.
    """
    for file in sorted(pathlib.Path(folder).glob(PATTERN)):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield from of_log(prediction_log_pb2.PredictionLog.FromString(record))


def of_log(log: prediction_log_pb2.PredictionLog) -> Iterator[Shown]:
    """The titles of one answer, the best first for each user; none of a signature that shows none, such as explain."""
    metadata = log.log_metadata
    about = metadata.request_origin, metadata.model_spec.version.value, metadata.timestamp_secs
    outputs = {name: tf.make_ndarray(each) for name, each in log.predict_log.response.outputs.items()}
    inputs = {name: tf.make_ndarray(each) for name, each in log.predict_log.request.inputs.items()}
    if _TITLE in outputs:
        # Lists: [titles] for one user, or [users, titles]. A list that is short ends in blank titles.
        titles = np.atleast_2d(outputs[_TITLE])
        scores = np.atleast_2d(outputs[SCORE] if SCORE in outputs else outputs[serving.PREDICTED_RATING])
        users = [each.decode() for each in inputs[_USER].ravel()] if _USER in inputs else [None] * len(titles)
        for user, of_user, scores_of_user in zip(users, titles, scores, strict=True):
            for rank, (title, score) in enumerate(zip(of_user, scores_of_user, strict=True), start=1):
                if title:
                    yield Shown(*about, user, title.decode(), rank, float(score))
    elif serving.PREDICTED_RATING in outputs:
        ratings = outputs[serving.PREDICTED_RATING].ravel()
        by_user: dict[str, list[tuple[str, float]]] = collections.defaultdict(list)
        for (user, title), rating in zip(_pairs(inputs), ratings, strict=True):
            by_user[user].append((title, float(rating)))
        for user, rated in by_user.items():
            for rank, (title, score) in enumerate(sorted(rated, key=lambda each: -each[1]), start=1):
                yield Shown(*about, user, title, rank, score)


def _pairs(inputs: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """User and title of each row of a request that rates."""
    if serving.EXAMPLES not in inputs:
        for user, title in zip(inputs[_USER].ravel(), inputs[_TITLE].ravel(), strict=True):
            yield user.decode(), title.decode()
        return
    for serialized in inputs[serving.EXAMPLES].ravel():
        values = tf.train.Example.FromString(serialized).features.feature
        user, title = (b"".join(values[name].bytes_list.value[:1]).decode() for name in (_USER, _TITLE))
        yield user, title
