"""How good exported models are on ratings that they were not fitted on, beside the predictors that they have to beat.

TensorFlow and NumPy alone: the same functions judge within Evaluator and without TFX.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from modules import features, list_judge, serving, sliced_metrics
from modules.errors import UserError
from modules.list_judge import ListJudge
from modules.paths import plain
from modules.sliced_metrics import OVERALL, Evaluation, ScoredRatings, SliceKey

# The models of an evaluation. A blessed model is one that was blessed before, a baseline a mean or bias predictor.
CANDIDATE, BLESSED = "candidate", "blessed"
BASELINES = (serving.USER_TITLE_BIAS, serving.TITLE_MEAN, serving.GLOBAL_MEAN)
# Outputs of the candidate that ratings are sliced by.
SLICINGS = (serving.USER_ACTIVITY, serving.TITLE_POPULARITY)
PREDICT_SIGNATURE = "serving_default"

# Ratings that are collected before they are handed on, about 50 bytes each.
BLOCK_ROWS = 1 << 18
_SPEC = {
    features.USER_ID.name: tf.io.FixedLenFeature([], tf.string),
    features.USER_RATING.name: tf.io.FixedLenFeature([], tf.float32),
}


class Scorer:
    """Models, loaded, that are asked about whole batches of examples.

    Attributes:
      models: the names of all that predict: candidate, blessed model if there is one, baselines.
      lists: the judge of the models' lists; None where the candidate gives none.
    """

    def __init__(self, candidate: str, blessed: str | None = None):
        """Loads the models.

        Args:
          candidate: folder of a SavedModel with the signatures `serving_default` and `evaluation`.
          blessed: folder of a SavedModel that has `serving_default`, at least.

        Raises:
          UserError: there is no such model, or a signature or an output is missing, or takes something other than
            serialized examples.
        """
        paths = [candidate] if blessed is None else [candidate, blessed]
        for path in paths:
            if not tf.saved_model.contains_saved_model(path):
                raise UserError(f"expected a SavedModel in {path}; got none; put it back, or judge without it")
        # Kept, since signatures do not keep their model alive.
        self._loaded = [tf.saved_model.load(plain(path)) for path in paths]
        self._predict = [
            _signature(model, path, PREDICT_SIGNATURE, {serving.PREDICTED_RATING})
            for model, path in zip(self._loaded, paths, strict=True)
        ]
        self._evaluate = _signature(self._loaded[0], candidate, serving.EVALUATION_SIGNATURE, {*SLICINGS, *BASELINES})
        names = (CANDIDATE, BLESSED)[: len(paths)]
        self.models = (*names, *BASELINES)
        by_name = dict(zip(names, self._loaded, strict=True))
        self.lists = ListJudge(by_name) if list_judge.gives_lists(self._loaded[0]) else None

    def score(self, examples: tf.Tensor) -> ScoredRatings:
        """Asks the models about serialized tf.Examples, string [batch].

        Raises:
          UserError: an output does not have one value an example.
        """
        batch = len(examples)
        parsed = tf.io.parse_example(examples, _SPEC)
        # 63 bits, so that two of a hundred million users fall together once in a thousand evaluations.
        user = tf.strings.to_hash_bucket_fast(parsed[features.USER_ID.name], 2**63 - 1)
        answers = self._evaluate(examples)
        predicted = [predict(examples) for predict in self._predict]
        predictions = [
            *((serving.PREDICTED_RATING, each[serving.PREDICTED_RATING]) for each in predicted),
            *((name, answers[name]) for name in BASELINES),
        ]
        slicings = [
            (np.zeros(batch, np.int32), (OVERALL,)),
            *(_slices(name, _column(name, answers[name], batch)) for name in SLICINGS),
        ]
        # Of the candidate alone, if it tells.
        deviation = [
            _column(name, values, batch).numpy()
            for name, values in predicted[0].items()
            if name == serving.RATING_STDDEV
        ]
        return ScoredRatings(
            user=user.numpy(),
            label=parsed[features.USER_RATING.name].numpy(),
            prediction=np.stack([_column(name, values, batch).numpy() for name, values in predictions]),
            deviation=np.array(deviation, np.float32).reshape(len(deviation), batch),
            slice_code=np.stack([codes for codes, _ in slicings]),
            slice_keys=tuple(keys for _, keys in slicings),
        )


def score_blocks(
    scorer: Scorer, batches: Iterable[tf.Tensor], *, block_rows: int = BLOCK_ROWS
) -> Iterator[ScoredRatings]:
    """Scores batches of serialized tf.Examples, string [batch] each.

    Args:
      scorer: the models.
      batches: what they are asked about at once.
      block_rows: a block is full with the batch that reaches this number.

    Yields:
      blocks of rows, in the order of the batches.
    """
    parts: list[ScoredRatings] = []
    for examples in batches:
        parts.append(scorer.score(examples))
        if sum(map(len, parts)) >= block_rows:
            yield sliced_metrics.concatenate(parts)
            parts = []
    if parts:
        yield sliced_metrics.concatenate(parts)


def evaluate(scorer: Scorer, batches: Iterable[tf.Tensor]) -> Evaluation:
    """Measures all models on batches of serialized tf.Examples, string [batch] each, that fit into memory together.

    Raises:
      UserError: there is no example.
    """
    ratings = sliced_metrics.concatenate(list(score_blocks(scorer, batches)))
    return sliced_metrics.evaluation_of(sliced_metrics.sum_by_slice(ratings), scorer.models)


def _signature(model: Any, path: str, name: str, outputs: set[str]) -> Any:
    """A function of serialized tf.Examples, string [batch], that gives its outputs by name."""
    remedy = "export the model with it: run Trainer again"
    if name not in model.signatures:
        raise UserError(f"expected a signature {name!r} in {path}; got {sorted(model.signatures)}; {remedy}")
    function = model.signatures[name]
    inputs = function.structured_input_signature[1]
    if [spec.dtype for spec in inputs.values()] != [tf.string]:
        raise UserError(f"expected {name!r} of {path} to take serialized tf.Examples alone; got {inputs}; {remedy}")
    if not outputs <= set(function.structured_outputs):
        got = sorted(function.structured_outputs)
        raise UserError(f"expected {sorted(outputs)} among the outputs of {name!r} of {path}; got {got}; {remedy}")
    (argument,) = inputs
    return lambda examples: function(**{argument: examples})


def _column(name: str, values: tf.Tensor, batch: int) -> tf.Tensor:
    """The values as [batch]."""
    if values.shape.num_elements() != batch:
        raise UserError(
            f"expected one value of {name!r} for each of {batch} examples; got the shape {values.shape}; "
            "have the model's signature answer each example once"
        )
    return tf.reshape(values, [batch])


def _slices(name: str, values: tf.Tensor) -> tuple[np.ndarray, tuple[SliceKey, ...]]:
    """Int32 [batch], and the slices that these are positions in."""
    found, codes = tf.unique(values)
    return codes.numpy(), tuple((name, tf.compat.as_text(value)) for value in found.numpy())
