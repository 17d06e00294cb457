"""BaselineComparison: the model beside what the mean and the biases alone predict, on the same test rows."""

import itertools
import json
import os

import numpy as np
import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import example_files
from modules import features, metrics, serving

COMPARISON_FILE = "comparison.json"
MODEL = "model"
OVERALL = "overall"
BASELINES = (serving.GLOBAL_MEAN, serving.TITLE_MEAN, serving.USER_TITLE_BIAS)


def score(model_path: str, files: list[str]) -> dict[str, np.ndarray]:
    """Asks the exported model and its baselines about every example.

    Args:
      model_path: folder of the SavedModel.
      files: TFRecord files of tf.Examples.

    Returns:
      Arrays [ratings]: `user_id` (bytes), `user_rating`, the slice of the user and the title (bytes), and float32
      predictions of `model` and each of the baselines.
    """
    loaded = tf.saved_model.load(model_path)
    spec = {
        features.USER_ID.name: tf.io.FixedLenFeature([], tf.string),
        features.USER_RATING.name: tf.io.FixedLenFeature([], tf.float32),
    }
    columns: dict[str, list[np.ndarray]] = {}
    for serialized in itertools.chain.from_iterable(map(example_files.read_serialized, files)):
        answers = {
            **tf.io.parse_example(serialized, spec),
            **loaded.signatures[serving.SLICES_SIGNATURE](examples=serialized),
            **loaded.signatures[serving.BASELINES_SIGNATURE](examples=serialized),
            MODEL: loaded.signatures["serving_default"](examples=serialized)[serving.PREDICTED_RATING],
        }
        for name, values in answers.items():
            columns.setdefault(name, []).append(values.numpy().ravel())
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def compare(scored: dict[str, np.ndarray]) -> dict[str, dict[str, dict[str, float | None]]]:
    """RMSE, MAE, NDCG@10 and pairwise accuracy of the model and each baseline, overall and for cold-start ratings.

    Args:
      scored: what `score` returned.

    Returns:
      {"overall" | cold-start slice: {"model" | baseline: {"ratings" | metric: value}}}; a slice that has no ratings is
      left out.
    """
    rating = scored[features.USER_RATING.name]
    cold, sparse = (name.encode() for name in serving.SLICE_NAMES[:2])
    slices = {
        OVERALL: np.ones(len(rating), bool),
        "unknown users": scored[serving.USER_ACTIVITY] == cold,
        "users of 1 or 2 ratings": scored[serving.USER_ACTIVITY] == sparse,
        "unknown titles": scored[serving.TITLE_POPULARITY] == cold,
    }
    return {
        name: {predictor: _metrics(scored, predictor, rows) for predictor in (MODEL, *BASELINES)}
        for name, rows in slices.items()
        if rows.any()
    }


def _metrics(scored: dict[str, np.ndarray], predictor: str, rows: np.ndarray) -> dict[str, float | None]:
    user, rating, predicted = (
        scored[name][rows] for name in (features.USER_ID.name, features.USER_RATING.name, predictor)
    )
    pairwise = metrics.pairwise_accuracy(user, rating, predicted)
    return {
        "ratings": int(rows.sum()),
        "rmse": metrics.rmse(rating, predicted),
        "mae": metrics.mae(rating, predicted),
        "ndcg_at_10": metrics.ndcg_at_k(user, rating, predicted),
        # Not a number where no user has two different ratings.
        "pairwise_accuracy": None if np.isnan(pairwise) else pairwise,
    }


@component
def BaselineComparison(
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    comparison: OutputArtifact[standard_artifacts.ModelEvaluation],
    split: Parameter[str],
    code: Parameter[str],
) -> None:
    """Writes how the model and the baselines do on one split, as `comparison.json`. It judges nothing.

    Args:
      examples: the examples; `split` is read.
      model: what Trainer exported; the baselines travel in it.
      comparison: where the JSON goes.
      split: the split to compare on.
      code: fingerprint of this component's code, so that an edit invalidates the cache.
    """
    del code
    files = example_files.split_files(examples, [split])
    result = compare(score(path_utils.serving_model_path(model.uri), files))
    with fileio.open(os.path.join(comparison.uri, COMPARISON_FILE), "w") as file:
        json.dump(result, file, indent=2)
