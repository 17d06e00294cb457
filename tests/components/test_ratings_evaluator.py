"""RatingsEvaluator against pandas, and against TFX's own Evaluator on the same models and examples."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils

from components import columnar_metrics, ratings_evaluator
from components.evaluation_plan import EvaluationPlan
from modules import metrics
from pipeline.graph import evaluation
from tests import support

ACTIVITY, POPULARITY = ("0 (cold)", "3-9", "200+"), ("0 (cold)", "1-2", "10-49", "50-199")
REQUEST = {name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "movie_title")}
Metrics = dict[tuple[str, str], float]


class NoisyModel(tf.Module):
    """Predicts the rating that the example holds, off by up to `error` stars; hashes tell the noise and the slices."""

    def __init__(self, error: float):
        super().__init__()
        self.error = error

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")], autograph=False)
    def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {**REQUEST, "user_rating": tf.io.FixedLenFeature([], tf.float32)})
        pair = tf.strings.join([parsed["user_id"], parsed["movie_title"]], "|")
        noise = tf.cast(tf.strings.to_hash_bucket_fast(pair, 2**31), tf.float64) / 2**30 - 1
        rating = tf.cast(parsed["user_rating"], tf.float64) + self.error * noise
        return {"predicted_rating": tf.cast(rating, tf.float32)[:, None]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")], autograph=False)
    def slices(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, REQUEST)
        return {
            "user_activity": tf.gather(ACTIVITY, tf.strings.to_hash_bucket_fast(parsed["user_id"], 3)),
            "title_popularity": tf.gather(POPULARITY, tf.strings.to_hash_bucket_fast(parsed["movie_title"], 4)),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")], autograph=False)
    def one_answer(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": tf.reduce_mean(self.predict(text)["predicted_rating"], keepdims=True)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "rating")], autograph=False)
    def echo(self, rating: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": rating}


def save(folder: pathlib.Path, error: float) -> standard_artifacts.Model:
    model = NoisyModel(error)
    signatures = {"serving_default": model.predict, "slices": model.slices, "mean": model.one_answer}
    tf.saved_model.save(model, str(folder / "Format-Serving"), {**signatures, "echo": model.echo})
    return artifact(standard_artifacts.Model, folder, number=round(error * 10) if np.isfinite(error) else 99)


def artifact(kind: type[types.Artifact], folder: pathlib.Path, number: int = 1) -> types.Artifact:
    made = kind()
    made.uri, made.id = str(folder), number
    return made


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Each user's ratings lie all over the file."""
    rng = np.random.default_rng(3)
    pairs = [(user, title) for user in range(40) for title in range(60) if (user * 7 + title * 11) % 13 < 4]
    return [
        {"user_id": f"u{user}", "movie_title": f"t{title}", "user_rating": float(rng.integers(1, 6))}
        for user, title in rng.permutation(pairs)
    ]


@pytest.fixture(scope="module")
def examples(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> types.Artifact:
    folder = tmp_path_factory.mktemp("examples")
    for split in ("test", "none", "hollow"):
        (folder / f"Split-{split}").mkdir()
    support.write_examples(folder / "Split-test" / "data_tfrecord-00000-of-00002.gz", rows[:300])
    support.write_examples(folder / "Split-test" / "data_tfrecord-00001-of-00002.gz", rows[300:])
    support.write_examples(folder / "Split-none" / "data_tfrecord-00000-of-00001.gz", [])
    made = artifact(standard_artifacts.Examples, folder)
    made.split_names = artifact_utils.encode_split_names(["test", "none", "hollow"])
    return made


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> types.Artifact:
    return save(tmp_path_factory.mktemp("good"), error=1.0)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> types.Artifact:
    return save(tmp_path_factory.mktemp("bad"), error=2.0)


def evaluate(
    folder: pathlib.Path,
    examples: types.Artifact,
    model: types.Artifact,
    baseline: types.Artifact | None = None,
    *,
    config: config_pb2.EvalConfig | None = None,
    bound: float = 1.2,
    split: str = "test",
    executor: type[base_beam_executor.BaseBeamExecutor] = ratings_evaluator.Executor,
) -> tuple[str, types.Artifact]:
    """Runs an executor the way TFX does; returns the folder of the evaluation, and the blessing."""
    for name in ("evaluation", "blessing"):
        (folder / name).mkdir(parents=True)
    outputs = {
        "evaluation": [artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")],
        "blessing": [artifact(standard_artifacts.ModelBlessing, folder / "blessing")],
    }
    inputs = {"examples": [examples], "model": [model], "baseline_model": [baseline] if baseline else []}
    properties = {
        "eval_config": proto_utils.proto_to_json(config or evaluation.create_eval_config(bound, 0.0)),
        "example_splits": json_utils.dumps([split]),
        "current_component_id": "Evaluator",
    }
    context = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=[], tmp_dir=str(folder), unique_id="1")
    executor(context).Do(inputs, outputs, properties)
    return outputs["evaluation"][0].uri, outputs["blessing"][0]


def read_metrics(uri: str) -> dict[str, Metrics]:
    """Values by slice, then by name and model; differences from the baseline are those of the model "diff"."""
    return {
        ", ".join(f"{each.column}={each.bytes_value.decode()}" for each in record.slice_key.single_slice_keys): {
            (each.key.name, "diff" if each.key.is_diff else each.key.model_name): each.value.double_value.value
            for each in record.metric_keys_and_values
        }
        for record in tfma.load_metrics(uri)
    }


def expected_metrics(rows: list[dict], model: types.Artifact) -> dict[str, Metrics]:
    """What the model's metrics should be, from the model itself, by pandas."""
    loaded = tf.saved_model.load(os.path.join(model.uri, "Format-Serving"))
    serialized = tf.constant([support.serialize(row) for row in rows])
    slices = {name: values.numpy().astype(str) for name, values in loaded.slices(serialized).items()}
    frame = pd.DataFrame(rows).assign(prediction=loaded.predict(serialized)["predicted_rating"].numpy()[:, 0], **slices)
    groups = {"": frame} | {f"{name}={value}": group for name in slices for value, group in frame.groupby(name)}
    return {name: {(metric, ""): value for metric, value in measure(frame, group)} for name, group in groups.items()}


def measure(frame: pd.DataFrame, group: pd.DataFrame) -> list[tuple[str, float]]:
    error = group["prediction"].astype(float) - group["user_rating"]
    whole = frame[frame["user_id"].isin(group["user_id"])]
    users = whole["user_id"].factorize()[0]
    return [
        ("example_count", float(len(group))),
        ("root_mean_squared_error", float(np.sqrt((error**2).mean()))),
        ("mean_absolute_error", float(error.abs().mean())),
        ("ndcg", metrics.ndcg_at_k(users, whole["user_rating"].to_numpy(), whole["prediction"].to_numpy(), 10)),
    ]


def test_metrics_of_every_slice(examples, rows: list[dict], good, tmp_path: pathlib.Path) -> None:
    uri, blessing = evaluate(tmp_path, examples, good)
    found, expected = read_metrics(uri), expected_metrics(rows, good)
    assert set(found) == set(expected)
    assert len(found) == 1 + len(ACTIVITY) + len(POPULARITY)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-9)
    assert os.listdir(blessing.uri) == ["BLESSED"]
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_model") == good.uri
    assert blessing.get_int_custom_property("current_model_id") == good.id
    assert sorted(os.listdir(uri)) == ["eval_config.json", "metrics-00000-of-00001.tfrecord", "validations.tfrecord"]


def test_blocks_and_batches_make_no_difference(examples, good) -> None:
    plan = EvaluationPlan.of(evaluation.create_eval_config(1.2, 0.0), has_baseline=False)
    scorer = ratings_evaluator.Scorer([os.path.join(good.uri, "Format-Serving")], plan.scoring)
    path = os.path.join(examples.uri, "Split-test", "data_tfrecord-00000-of-00002.gz")
    (whole,) = ratings_evaluator.read_scored(scorer, path)
    blocks = list(ratings_evaluator.read_scored(scorer, path, batch_rows=7, block_rows=20))
    assert [len(block) for block in blocks] == [21] * 14 + [6]
    assert len(whole) == 300
    joined = columnar_metrics.concatenate(blocks)
    for name in ("query", "label", "prediction"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    for slicing, keys in enumerate(whole.slice_keys):
        names = [joined.slice_keys[slicing][code] for code in joined.slice_code[slicing]]
        assert names == [keys[code] for code in whole.slice_code[slicing]]


def test_examples_that_are_not_compressed(rows: list[dict], good, tmp_path: pathlib.Path) -> None:
    plan = EvaluationPlan.of(evaluation.create_eval_config(1.2, 0.0), has_baseline=False)
    scorer = ratings_evaluator.Scorer([os.path.join(good.uri, "Format-Serving")], plan.scoring)
    with tf.io.TFRecordWriter(str(tmp_path / "data_tfrecord")) as writer:
        writer.write(support.serialize(rows[0]))
    (scored,) = ratings_evaluator.read_scored(scorer, str(tmp_path / "data_tfrecord"))
    assert scored.label.tolist() == [rows[0]["user_rating"]]


def test_without_ranks_or_slices(examples, rows: list[dict], good, tmp_path: pathlib.Path) -> None:
    config = evaluation.create_eval_config(1.2, 0.0)
    del config.metrics_specs[1]
    del config.slicing_specs[:]
    config.model_specs[0].ClearField("preprocessing_function_names")
    uri, _ = evaluate(tmp_path, examples, good, config=config)
    expected = expected_metrics(rows, good)[""]
    del expected["ndcg", ""]
    assert read_metrics(uri) == {"": pytest.approx(expected, rel=1e-9)}


def test_without_a_threshold_nothing_is_said_about_the_blessing(examples, good, tmp_path: pathlib.Path) -> None:
    config = evaluation.create_eval_config(1.2, 0.0)
    del config.metrics_specs[0].metrics[1].per_slice_thresholds[:]
    _, blessing = evaluate(tmp_path, examples, good, config=config)
    assert os.listdir(blessing.uri) == []
    assert not blessing.has_custom_property("blessed")


@pytest.mark.parametrize("as_baseline", [False, True])
def test_a_model_that_predicts_nan_is_not_blessed(examples, good, tmp_path: pathlib.Path, as_baseline: bool) -> None:
    nan = save(tmp_path / "model", error=float("nan"))
    candidate, baseline = (good, nan) if as_baseline else (nan, None)
    uri, blessing = evaluate(tmp_path / "out", examples, candidate, baseline)
    overall = read_metrics(uri)[""]
    spoilt = "baseline" if as_baseline else ""
    for name in ("root_mean_squared_error", "mean_absolute_error", "ndcg"):
        assert np.isnan(overall[name, spoilt])
    assert overall["example_count", spoilt] > 0
    assert os.listdir(blessing.uri) == ["NOT_BLESSED"]
    assert blessing.get_int_custom_property("blessed") == 0
    (failed,) = tfma.load_validation_result(uri).metric_validations_per_slice
    assert [each.metric_key.is_diff for each in failed.failures] == [as_baseline]


def test_a_split_without_examples_is_refused(examples, good, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"expected at least one example to evaluate on; got none in .*Split-none"):
        evaluate(tmp_path, examples, good, split="none")


def test_a_split_without_files_is_refused(examples, good, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"expected files of examples that match .*Split-hollow"):
        evaluate(tmp_path, examples, good, split="hollow")


def test_other_payloads_are_refused(examples, good, tmp_path: pathlib.Path) -> None:
    parquet = artifact(standard_artifacts.Examples, pathlib.Path(examples.uri))
    parquet.split_names = examples.split_names
    name = example_gen_pb2.PayloadFormat.Name(example_gen_pb2.FORMAT_PARQUET)
    parquet.set_string_custom_property("payload_format", name)
    with pytest.raises(ValueError, match=r"expected tf.Examples in TFRecord files; got FORMAT_PARQUET"):
        evaluate(tmp_path, parquet, good)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signature_name": "score"}, "expected a signature 'score' in .*; got .*'slices'"),
        ({"signature_name": "echo"}, "expected signature 'echo' of .* to take serialized tf.Examples alone"),
        ({"prediction_key": "stars"}, "expected .'stars'. among the outputs of serving_default"),
        (
            {"preprocessing_function_names": ["mean"]},
            "expected .* among the outputs of mean .*got .'predicted_rating'.",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_configuration_is_refused(good, change: dict, said: str) -> None:
    config = evaluation.create_eval_config(1.2, 0.0)
    if "preprocessing_function_names" in change:
        config.model_specs[0].ClearField("preprocessing_function_names")
    config.model_specs[0].MergeFrom(config_pb2.ModelSpec(**change))
    scoring = EvaluationPlan.of(config, has_baseline=False).scoring
    with pytest.raises(ValueError, match=said):
        ratings_evaluator.Scorer([os.path.join(good.uri, "Format-Serving")], scoring)


def test_an_answer_that_is_not_one_an_example_is_refused(good, rows: list[dict]) -> None:
    config = evaluation.create_eval_config(1.2, 0.0)
    config.model_specs[0].signature_name = "mean"
    scoring = EvaluationPlan.of(config, has_baseline=False).scoring
    scorer = ratings_evaluator.Scorer([os.path.join(good.uri, "Format-Serving")], scoring)
    with pytest.raises(ValueError, match="expected one value of 'predicted_rating' for each of 2 examples"):
        scorer.score(tf.constant([support.serialize(row) for row in rows[:2]]))


def component(config: config_pb2.EvalConfig, fingerprint: str = "") -> ratings_evaluator.RatingsEvaluator:
    return ratings_evaluator.RatingsEvaluator(
        examples=types.Channel(type=standard_artifacts.Examples),
        model=types.Channel(type=standard_artifacts.Model),
        eval_config=config,
        example_splits=["test"],
        code_fingerprint=fingerprint,
    )


def test_component_carries_what_the_cache_compares() -> None:
    config = evaluation.create_eval_config(1.2, 0.0)
    made = component(config, fingerprint="abc")
    assert made.exec_properties["code_fingerprint"] == "abc"
    assert made.exec_properties["example_splits"] == '["test"]'
    assert made.outputs["blessing"].type is standard_artifacts.ModelBlessing
    assert made.outputs["evaluation"].type is standard_artifacts.ModelEvaluation
    assert set(made.inputs) == {"examples", "model"}


def test_component_refuses_what_it_does_not_support() -> None:
    config = evaluation.create_eval_config(1.2, 0.0)
    config.options.compute_confidence_intervals.value = True
    with pytest.raises(ValueError, match="neither confidence intervals"):
        component(config)


def failures(validation: tfma.ValidationResult) -> dict[tuple, tuple]:
    return {
        (str(by_slice.slice_key), str(each.metric_key)): (
            str(each.metric_threshold),
            each.metric_value.double_value.value,
        )
        for by_slice in validation.metric_validations_per_slice
        for each in by_slice.failures
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidate", "baseline", "bound", "file"),
    [
        ("good", None, 1.2, "BLESSED"),
        ("good", "bad", 1.2, "BLESSED"),
        ("good", "bad", 0.1, "NOT_BLESSED"),
        ("bad", "good", 9.0, "NOT_BLESSED"),
    ],
)
def test_tfx_evaluator_agrees(request, examples, tmp_path: pathlib.Path, candidate, baseline, bound, file) -> None:
    model = request.getfixturevalue(candidate)
    other = request.getfixturevalue(baseline) if baseline else None
    ours, our_blessing = evaluate(tmp_path / "ours", examples, model, other, bound=bound)
    theirs, their_blessing = evaluate(
        tmp_path / "theirs", examples, model, other, bound=bound, executor=tfx_evaluator.Executor
    )

    found, expected = read_metrics(ours), read_metrics(theirs)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-6, abs=1e-6)
    keys = [
        {str(each.key) for record in tfma.load_metrics(uri) for each in record.metric_keys_and_values}
        for uri in (ours, theirs)
    ]
    assert keys[0] == keys[1]
    names = ("candidate", "baseline") if baseline else ("",)
    for name in names:
        loaded = [tfma.load_eval_result(uri, model_name=name) for uri in (ours, theirs)]
        assert loaded[0].config == loaded[1].config
        assert loaded[0].model_location == loaded[1].model_location
        assert {key for key, _ in loaded[0].slicing_metrics} == {key for key, _ in loaded[1].slicing_metrics}

    assert os.listdir(our_blessing.uri) == os.listdir(their_blessing.uri) == [file]
    assert our_blessing.mlmd_artifact.custom_properties == their_blessing.mlmd_artifact.custom_properties
    validations = [tfma.load_validation_result(uri) for uri in (ours, theirs)]
    missed, expected_missed = map(failures, validations)
    assert {key: threshold for key, (threshold, _) in missed.items()} == {
        key: threshold for key, (threshold, _) in expected_missed.items()
    }
    assert [value for _, value in missed.values()] == pytest.approx(
        [value for _, value in expected_missed.values()], rel=1e-6, abs=1e-6
    )
    for validation in validations:
        validation.ClearField("metric_validations_per_slice")
    assert validations[0] == validations[1]
