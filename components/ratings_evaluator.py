"""RatingsEvaluator: the one judge of a model of ratings, in TFX's Evaluator's place.

TensorFlow Model Analysis (TFMA) handles each example, metric and slice in Python, about a millisecond an example. Here
its configuration, thresholds, validation and result files are kept, so that all that reads them goes on working, and
metrics come from sums over arrays (`modules.sliced_metrics`).
"""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import apache_beam as beam
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.utils import shared
from tfx import types
from tfx.components.evaluator import constants, executor
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.system_executions import Evaluate
from tfx.utils import io_utils, path_utils

from components import evaluation_files, example_files, model_digest
from components.errors import EvidenceError
from modules import judge, list_judge, list_metrics, paths, presets, sliced_metrics, typical_lists, user_bootstrap
from modules.list_judge import Liked, Measured
from modules.sliced_metrics import OVERALL, SliceKey, SliceSums
from modules.user_bootstrap import Resampled

T = TypeVar("T")

# Users are shared out among so many parts, each of which is measured in memory, by one worker.
BUCKETS = 64
# Fewer for lists, of which many are made at once.
LIST_BUCKETS = 16
_SCORED, _LIKED = "scored", "liked"
SPLIT_KEY, RMSE_BOUND_KEY, MAX_REGRESSION_KEY, BASELINE_KEY = "split", "rmse_bound", "max_regression", "baseline"
MIN_RATINGS_KEY, MIN_USERS_KEY = "min_ratings", "min_users"
LISTS_BASELINE_KEY, MAX_NDCG_REGRESSION_KEY = "lists_baseline", "max_ndcg_regression"
_CODE_FINGERPRINT_KEY = "code_fingerprint"


class _Asking(beam.DoFn):
    """Asks the models."""

    def __init__(self, models: dict[str, str], loaded: shared.Shared) -> None:
        self._models, self._loaded = models, loaded

    def setup(self) -> None:
        # A process may have many instances of such classes, one a thread; they share the models.
        self._scorer = self._loaded.acquire(lambda: judge.Scorer(*self._models.values()))


class _ScoreFiles(_Asking):
    """Turns files of examples, by number, into scored ratings and what users liked, keyed by bucket of users.

    Each part has with it the file's number, scored ratings also that of the block in the file.
    """

    def process(self, file: tuple[int, str]) -> Iterator[Any]:
        number, path = file
        liked: list[Liked] = []

        def watched() -> Iterator[tf.Tensor]:
            for examples in example_files.read_serialized(path):
                if self._scorer.lists:
                    liked.append(self._scorer.lists.liked(examples))
                yield examples

        for place, block in enumerate(judge.score_blocks(self._scorer, watched())):
            for bucket, ratings in sliced_metrics.split_by_user(block, BUCKETS):
                yield bucket, ((number, place), ratings)
        for bucket, part in list_judge.split_by_user(liked, LIST_BUCKETS):
            yield beam.pvalue.TaggedOutput(_LIKED, (bucket, (number, part)))


class _MeasureLists(_Asking):
    """Turns what the users of a bucket liked into sums, and gives them with the names of the models that list."""

    def process(self, bucket: tuple[int, Any]) -> Iterator[tuple[int, tuple[tuple[str, ...], Measured]]]:
        number, parts = bucket
        lists = self._scorer.lists
        yield number, (lists.models, lists.measure(list_judge.concatenate(_in_order(parts))))


def _in_order(numbered: Iterable[tuple[Any, T]]) -> list[T]:
    """What comes with numbers, in their order: sums of floating-point numbers depend on it, and workers keep none."""
    return [each for _, each in sorted(numbered, key=operator.itemgetter(0))]


def _measure(bucket: tuple[int, Any]) -> tuple[int, tuple[dict[SliceKey, SliceSums], Resampled]]:
    number, parts = bucket
    ratings = sliced_metrics.concatenate(_in_order(parts))
    return number, (sliced_metrics.sum_by_slice(ratings), user_bootstrap.resample(ratings))


def _write(
    measured: list[tuple[int, tuple[dict[SliceKey, SliceSums], Resampled]]],
    of_lists: list[tuple[int, tuple[tuple[str, ...], Measured]]],
    folder: str,
    data: str,
    locations: dict[str, str],
    thresholds: dict[str, Any],
) -> None:
    by_bucket = _in_order(measured)
    sums = sliced_metrics.merge(each for each, _ in by_bucket)
    resampled = functools.reduce(operator.add, (each for _, each in by_bucket))
    evaluation = sliced_metrics.evaluation_of(sums, list(locations))
    for model, ends in resampled.intervals(list(locations)).items():
        evaluation[OVERALL][model].update(ends)
    listing: tuple[str, ...] = ()
    if of_lists:
        named = _in_order(of_lists)
        listing, lists = named[0][0], functools.reduce(operator.add, (each for _, each in named))
        for key, by_model in list_metrics.evaluation_of(lists.sums, listing).items():
            for model, values in by_model.items():
                evaluation[key].setdefault(model, {}).update(values)
        typical_lists.write(folder, lists.typical)
    evaluation_files.write(
        folder,
        evaluation,
        evaluation_files.create_eval_config(list(locations), listing=listing, **thresholds),
        data=data,
        locations=locations,
    )


# TFX's entry point on a cluster writes the names of models into the blessing, by which the next run finds the blessed
# one, only for executors that are TFX's own.
class Executor(executor.Executor):
    """Scores, measures and writes in a Beam pipeline whose elements are files, then parts of the users."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates the models, and blesses the candidate if it meets the thresholds.

        Args:
          input_dict: `examples`, `model` and perhaps `baseline_model`, one artifact each.
          output_dict: `evaluation` and `blessing`.
          exec_properties: `split`, `rmse_bound`, `max_regression`, `baseline`, `min_ratings`, `min_users`,
            `lists_baseline` and `max_ndcg_regression`.

        Raises:
          EvidenceError: the split holds no example.
          ValueError: the examples are no tf.Examples, a model has not the signatures that
            `judge.Scorer` asks for, no RMSE can meet the bound, or there is no such baseline.
          IntegrityError: the candidate has no files, or they changed meanwhile.
        """
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        candidate = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        blessed = None
        if input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
            blessed = artifact_utils.get_single_instance(input_dict[standard_component_specs.BASELINE_MODEL_KEY])
        folder = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])
        thresholds = {
            **{
                key: exec_properties[key]
                for key in (
                    RMSE_BOUND_KEY,
                    MAX_REGRESSION_KEY,
                    MIN_RATINGS_KEY,
                    MIN_USERS_KEY,
                    LISTS_BASELINE_KEY,
                    MAX_NDCG_REGRESSION_KEY,
                )
            },
            BASELINE_KEY: presets.required_baseline(exec_properties[BASELINE_KEY]),
        }

        models = {judge.CANDIDATE: path_utils.serving_model_path(candidate.uri)}
        if blessed:
            models[judge.BLESSED] = path_utils.serving_model_path(blessed.uri)
        # The baselines are outputs of the candidate.
        locations = models | dict.fromkeys(judge.BASELINES, models[judge.CANDIDATE])
        # A bound that nothing meets is refused before anything is scored.
        evaluation_files.create_eval_config(list(locations), **thresholds)

        digest = model_digest.of_folder(models[judge.CANDIDATE])
        files = example_files.split_files(examples, [exec_properties[SPLIT_KEY]])
        with self._make_beam_pipeline() as pipeline:
            loaded = shared.Shared()
            scored = (
                pipeline
                | "Files" >> beam.Create(list(enumerate(files)))
                | "Score" >> beam.ParDo(_ScoreFiles(models, loaded)).with_outputs(_LIKED, main=_SCORED)
            )
            lists = (
                scored[_LIKED]
                | "ListBuckets" >> beam.GroupByKey()
                | "MeasureLists" >> beam.ParDo(_MeasureLists(models, loaded))
                | "AllLists" >> beam.combiners.ToList()
            )
            (
                scored[_SCORED]
                | "Buckets" >> beam.GroupByKey()
                | "Measure" >> beam.Map(_measure)
                | "All" >> beam.combiners.ToList().without_defaults()
                | "Write"
                >> beam.Map(_write, beam.pvalue.AsSingleton(lists), folder, examples.uri, locations, thresholds)
            )
        if not fileio.glob(os.path.join(paths.escape(folder), "metrics-*")):
            raise EvidenceError(
                f"expected at least one example to evaluate on; got none in {', '.join(files)}; "
                "give the split ratings, or evaluate on another one"
            )
        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        model_digest.check(models[judge.CANDIDATE], digest)
        blessing.set_string_custom_property(model_digest.PROPERTY, digest)
        _bless(blessing, candidate, blessed, ok=tfma.load_validation_result(paths.plain(folder)).validation_ok)
        if "current_component_id" in exec_properties:
            blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])


def _bless(blessing: types.Artifact, candidate: types.Artifact, blessed: types.Artifact | None, *, ok: bool) -> None:
    """Says whether the candidate is blessed, and beside which model, as TFX's Evaluator does."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
    if blessed is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, blessed.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, blessed.id)
    name = constants.BLESSED_FILE_NAME if ok else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    value = constants.BLESSED_VALUE if ok else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


class RatingsEvaluatorSpec(component_spec.ComponentSpec):
    """The inputs and outputs of TFX's Evaluator under its names, and what decides."""

    PARAMETERS = {  # noqa: RUF012
        SPLIT_KEY: component_spec.ExecutionParameter(type=str),
        RMSE_BOUND_KEY: component_spec.ExecutionParameter(type=float),
        MAX_REGRESSION_KEY: component_spec.ExecutionParameter(type=float),
        BASELINE_KEY: component_spec.ExecutionParameter(type=str),
        MIN_RATINGS_KEY: component_spec.ExecutionParameter(type=int),
        MIN_USERS_KEY: component_spec.ExecutionParameter(type=int),
        LISTS_BASELINE_KEY: component_spec.ExecutionParameter(type=str),
        MAX_NDCG_REGRESSION_KEY: component_spec.ExecutionParameter(type=float),
        _CODE_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        standard_component_specs.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        standard_component_specs.BASELINE_MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        standard_component_specs.EVALUATION_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
        standard_component_specs.BLESSING_KEY: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    TYPE_ANNOTATION = Evaluate


class RatingsEvaluator(base_beam_component.BaseBeamComponent):
    """Measures a model, the latest blessed one and the baselines on a split, and blesses a good model.

    It is good if its RMSE is below the bound and not above the blessed model's, and if it is better than a baseline by
    the paired test: the mean over the test ratings of (squared error of the baseline - that of the model) is at least
    1.645 of its standard errors above 0. A split with too few ratings, or ratings of too few users, blesses nothing.
    If it recommends, its lists are judged, too (`modules.list_judge`): by NDCG@10 they must not be worse than the most
    rated titles by more than 1.645 standard errors, nor than the blessed model's by more than a tolerance.

    What TFX's Evaluator does not do: it knows two models at most, so that baselines would need a second pass; its
    bound is inside one JSON text, of which a cluster can substitute no part; and NDCG takes rows of equal prediction
    in an arbitrary order, here they count as the mean over all their orders. On MovieLens 100K the stock one
    takes 5.4 s for the RMSE of one model, this one 0.8 s for all metrics of a model and three baselines (`make bench`,
    two cores, legacy lane).

    What this one cannot do: it takes no `eval_config`. Metrics (RMSE, MAE, NDCG@10 and pairwise accuracy by user,
    calibration of a candidate that gives standard deviations, those of lists), slices (all, by user activity, by title
    popularity) and thresholds are fixed in `evaluation_files`; no example weights or plots, and confidence intervals,
    by a bootstrap over users, over all ratings alone.
    Besides, a NaN among the predictions makes every metric of it NaN, and slices are the candidate's alone.

    ```
    evaluator = RatingsEvaluator(
        examples=examples.outputs["examples"], model=trainer.outputs["model"], split="test",
        rmse_bound=0.95, max_regression=0.0, baseline="user_title_bias", min_ratings=100, min_users=20,
        lists_baseline="popularity", max_ndcg_regression=0.01,
    )
    ```

    Outputs:
      evaluation: metrics, validation and configuration, as `tfma.load_eval_result` and its like read them.
      blessing: whether the model met the thresholds, in the properties and the file that TFX's Evaluator writes, and
        the digest of the model that was judged.
    """

    SPEC_CLASS = RatingsEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel | None = None,
        split: str,
        rmse_bound: float | RuntimeParameter,
        max_regression: float,
        baseline: str | RuntimeParameter,
        min_ratings: int,
        min_users: int,
        lists_baseline: str,
        max_ndcg_regression: float,
        code_fingerprint: str = "",
    ) -> None:
        """Builds the component.

        Args:
          examples: tf.Examples.
          model: the candidate, a SavedModel with the signatures `serving_default` and `evaluation`.
          baseline_model: the latest blessed model, under TFX's name for it; `max_regression` does not count without.
          split: what to evaluate on.
          rmse_bound: a candidate whose RMSE is above this is not blessed, stars.
          max_regression: how much worse than the blessed model's its RMSE may be, stars.
          baseline: what the candidate must be better than: `user_title_bias`, `title_mean`, `global_mean`, `none`, or
            a preset's name for the baseline of that preset.
          min_ratings: fewer ratings in the split bless no candidate.
          min_users: ratings of fewer users in the split bless no candidate.
          lists_baseline: what the candidate's lists must not be worse than: `popularity` or `none`.
          max_ndcg_regression: how much worse than the blessed model's NDCG@10 that of its lists may be.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            RatingsEvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                split=split,
                rmse_bound=rmse_bound,
                max_regression=max_regression,
                baseline=baseline,
                min_ratings=min_ratings,
                min_users=min_users,
                lists_baseline=lists_baseline,
                max_ndcg_regression=max_ndcg_regression,
                code_fingerprint=code_fingerprint,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
