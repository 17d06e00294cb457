"""RatingsEvaluator against pandas, and against TensorFlow Model Analysis on the same models and examples."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import get_args

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils
from tfx_bsl.public import tfxio

from components import evaluation_files, example_files, model_digest, ratings_evaluator
from components.errors import IntegrityError
from modules import judge, metrics, presets, sliced_metrics, typical_lists, user_bootstrap
from modules.sliced_metrics import OVERALL, RMSE
from tests import support

ACTIVITY, POPULARITY = ("new", "3-9", "200+"), ("new", "1-2", "10-49", "50-199")
REQUEST = {name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "movie_title")}
LABELLED = {**REQUEST, "user_rating": tf.io.FixedLenFeature([], tf.float32)}
# How far off, in stars, the baselines of every model here are.
BASELINE_ERRORS = {"user_title_bias": 1.5, "title_mean": 1.7, "global_mean": 1.9}
EXAMPLES = [tf.TensorSpec([None], tf.string, "examples")]
PATH = "Format-Serving"
LISTED = [f"t{title}" for title in range(60)]
# Metrics that TFMA does not have.
OURS = ("pairwise_accuracy", "mse_difference", "expected_rmse", "share_inside", "user_count", "_low", "_high")


def rate(examples: tf.Tensor, error: float, salt: str) -> tf.Tensor:
    """The rating that the example holds, off by up to `error` stars; a hash tells the noise."""
    parsed = tf.io.parse_example(examples, LABELLED)
    pair = tf.strings.join([salt, parsed["user_id"], parsed["movie_title"]], "|")
    noise = tf.cast(tf.strings.to_hash_bucket_fast(pair, 2**31), tf.float64) / 2**30 - 1
    return tf.cast(tf.cast(parsed["user_rating"], tf.float64) + error * noise, tf.float32)


class NoisyModel(tf.Module):
    """Knows the ratings but for noise; the same hashes share the examples out among slices."""

    def __init__(self, error: float):
        super().__init__()
        self.error = error

    @tf.function(input_signature=EXAMPLES, autograph=False)
    def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": rate(examples, self.error, "model")[:, None]}

    @tf.function(input_signature=EXAMPLES, autograph=False)
    def evaluation(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, REQUEST)
        return {
            "user_activity": tf.gather(ACTIVITY, tf.strings.to_hash_bucket_fast(parsed["user_id"], 3)),
            "title_popularity": tf.gather(POPULARITY, tf.strings.to_hash_bucket_fast(parsed["movie_title"], 4)),
            **{name: rate(examples, error, name) for name, error in BASELINE_ERRORS.items()},
        }

    @tf.function(input_signature=EXAMPLES, autograph=False)
    def one_answer(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": tf.reduce_mean(self.predict(examples)["predicted_rating"], keepdims=True)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "rating")], autograph=False)
    def echo(self, rating: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": rating}


class TellingModel(NoisyModel):
    """Its errors are normal, and it tells their standard deviation, which depends on the title."""

    @tf.function(input_signature=EXAMPLES, autograph=False)
    def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, LABELLED)
        kind = tf.strings.to_hash_bucket_fast(parsed["movie_title"], 3)
        deviation = self.error * tf.gather([0.5, 1.0, 1.5], kind)
        pair = tf.strings.join([parsed["user_id"], parsed["movie_title"]], "|")
        # Above 0 and below 1.
        share = (tf.cast(tf.strings.to_hash_bucket_fast(pair, 2**20), tf.float32) + 0.5) / 2**20
        rating = parsed["user_rating"] + deviation * tf.math.ndtri(share)
        return {"predicted_rating": rating[:, None], "rating_stddev": deviation[:, None]}


class ListingModel(NoisyModel):
    """Recommends everybody the first ten titles of sixty; those with the most ratings are the last ten."""

    def __init__(self, error: float):
        super().__init__(error)
        self.user_vectors = tf.Variable(tf.zeros([41, 1]))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "user_id"), tf.TensorSpec([], tf.int32, "k"),
            tf.TensorSpec([None], tf.string, "exclude"), tf.TensorSpec([None], tf.string, "only"),
        ],
        autograph=False,
    )  # fmt: skip
    def recommend_users(
        self, user_id: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor, only: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return {"movie_title": tf.repeat(tf.constant([LISTED[:10]])[:, :k], tf.size(user_id), axis=0)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, "user_id"), tf.TensorSpec([], tf.int32, "k")], autograph=False
    )
    def evaluation_lists(self, user_id: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "movie_title": tf.repeat(tf.constant([LISTED[-10:]])[:, :k], tf.size(user_id), axis=0),
            "user_activity": tf.gather(ACTIVITY, tf.strings.to_hash_bucket_fast(user_id, 3)),
        }

    @tf.function(input_signature=[], autograph=False)
    def catalogue(self) -> dict[str, tf.Tensor]:
        return {
            "movie_title": tf.constant(LISTED), "count": tf.ones(60, tf.int32), "genres": tf.ones([60, 1]),
            "high_rating": tf.constant(4.0),
        }  # fmt: skip


def save(
    folder: pathlib.Path, error: float, *, old: bool = False, kind: type[NoisyModel] = NoisyModel
) -> standard_artifacts.Model:
    """A model's artifact; an old one lacks the signature `evaluation`."""
    model = kind(error)
    signatures = {"serving_default": model.predict}
    if not old:
        signatures["evaluation"] = model.evaluation
    if isinstance(model, ListingModel):
        for name in ("recommend_users", "evaluation_lists", "catalogue"):
            signatures[name] = getattr(model, name)
    tf.saved_model.save(model, str(folder / PATH), signatures)
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
    """An old model, so that it can be asked for predictions alone."""
    return save(tmp_path_factory.mktemp("bad"), error=2.0, old=True)


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> types.Artifact:
    return save(tmp_path_factory.mktemp("better"), error=0.5)


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> types.Artifact:
    return save(tmp_path_factory.mktemp("telling"), error=0.6, kind=TellingModel)


def run(
    executor: type[base_beam_executor.BaseBeamExecutor],
    folder: pathlib.Path,
    inputs: dict[str, list[types.Artifact]],
    properties: dict,
    beam_pipeline_args: Sequence[str] = (),
) -> tuple[str, types.Artifact]:
    """Runs an executor the way TFX does; returns the folder of the evaluation, and the blessing."""
    for name in ("evaluation", "blessing"):
        (folder / name).mkdir(parents=True)
    outputs = {
        "evaluation": [artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")],
        "blessing": [artifact(standard_artifacts.ModelBlessing, folder / "blessing")],
    }
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_pipeline_args), tmp_dir=str(folder), unique_id="1"
    )
    executor(context).Do(inputs, outputs, {**properties, "current_component_id": "Evaluator"})
    return outputs["evaluation"][0].uri, outputs["blessing"][0]


def evaluate(
    folder: pathlib.Path,
    examples: types.Artifact,
    model: types.Artifact,
    blessed: types.Artifact | None = None,
    *,
    bound: float = 1.2,
    max_regression: float = 0.0,
    baseline: str = "none",
    split: str = "test",
    min_ratings: int = 100,
    min_users: int = 20,
    max_ndcg_regression: float = 0.0,
    beam_pipeline_args: Sequence[str] = (),
) -> tuple[str, types.Artifact]:
    """The evaluation's folder and the blessing."""
    inputs = {"examples": [examples], "model": [model], "baseline_model": [blessed] if blessed else []}
    properties = {
        "split": split, "rmse_bound": bound, "max_regression": max_regression, "baseline": baseline,
        "min_ratings": min_ratings, "min_users": min_users,
        "lists_baseline": "popularity", "max_ndcg_regression": max_ndcg_regression,
    }  # fmt: skip
    return run(ratings_evaluator.Executor, folder, inputs, properties, beam_pipeline_args)


def expected_metrics(rows: list[dict], models: dict[str, types.Artifact]) -> sliced_metrics.Evaluation:
    """What the evaluation should be, from the models themselves, by pandas."""
    serialized = tf.constant([support.serialize(row) for row in rows])
    answers = tf.saved_model.load(os.path.join(models["candidate"].uri, PATH)).signatures["evaluation"](serialized)
    frame = pd.DataFrame(rows).assign(**{name: values.numpy() for name, values in answers.items()})
    for name, model in models.items():
        loaded = tf.saved_model.load(os.path.join(model.uri, PATH))
        told = loaded.signatures["serving_default"](serialized)
        frame[name] = told["predicted_rating"].numpy()[:, 0]
        if name == "candidate" and "rating_stddev" in told:
            frame["deviation"] = told["rating_stddev"].numpy()[:, 0]
    groups = {OVERALL: frame} | {
        (name, value.decode()): group
        for name in ("user_activity", "title_popularity")
        for value, group in frame.groupby(name)
    }
    names = (*models, *BASELINE_ERRORS)
    return {
        key: {
            name: measure(frame, group, name)
            | (
                {"user_count": group["user_id"].nunique(), **calibrate(group)}
                if name == "candidate"
                else compare(group, name)
            )
            for name in names
        }
        for key, group in groups.items()
    }


def compare(group: pd.DataFrame, model: str) -> dict[str, float]:
    """The paired test of squared errors against the candidate's."""
    candidate, other = (np.square(group[name].astype(float) - group["user_rating"]) for name in ("candidate", model))
    return {
        "mse_difference": (other - candidate).mean(),
        "mse_difference_stderr": scipy.stats.sem(other - candidate),
        # Models that are the same differ by nothing, with certainty.
        "mse_difference_z": scipy.stats.ttest_rel(other, candidate).statistic if any(other != candidate) else 0.0,
    }


def calibrate(group: pd.DataFrame) -> dict[str, float]:
    """How well a candidate's deviations describe its errors; nothing where it gives none."""
    if "deviation" not in group:
        return {}
    deviation = group["deviation"].astype(float)
    standardized = (group["candidate"].astype(float) - group["user_rating"]).abs() / deviation
    shares = {
        f"share_inside_{level}": (standardized <= scipy.stats.norm.isf((1 - level / 100) / 2)).mean()
        for level in (50, 80, 95)
    }
    return {"expected_rmse": float(np.sqrt((deviation**2).mean())), **shares}


def measure(frame: pd.DataFrame, group: pd.DataFrame, model: str) -> dict[str, float]:
    error = group[model].astype(float) - group["user_rating"]
    whole = frame[frame["user_id"].isin(group["user_id"])]
    lists = (whole["user_id"].factorize()[0], whole["user_rating"].to_numpy(), whole[model].to_numpy())
    return {
        "example_count": float(len(group)),
        "root_mean_squared_error": float(np.sqrt((error**2).mean())),
        "mean_absolute_error": float(error.abs().mean()),
        "ndcg": metrics.ndcg_at_k(*lists, 10),
        "pairwise_accuracy": metrics.pairwise_accuracy(*lists),
    }


def without_intervals(evaluation: sliced_metrics.Evaluation) -> sliced_metrics.Evaluation:
    """What is not of the bootstrap, whose ends are looked at here: over all ratings alone, and around the metrics."""
    made = {}
    for key, by_model in evaluation.items():
        made[key] = {
            model: {name: value for name, value in values.items() if name not in user_bootstrap.NAMES}
            for model, values in by_model.items()
        }
        for values in by_model.values():
            ends = {name: value for name, value in values.items() if name in user_bootstrap.NAMES}
            assert not ends or key == OVERALL
            for name, value in ends.items():
                metric, _, end = name.rpartition("_")
                assert value < values[metric] if end == "low" else value > values[metric]
    return made


def assert_agree(found: sliced_metrics.Evaluation, expected: sliced_metrics.Evaluation, tolerance: float) -> None:
    found, expected = without_intervals(found), without_intervals(expected)
    assert set(found) == set(expected)
    for key, by_model in expected.items():
        assert set(found[key]) == set(by_model)
        for model, values in by_model.items():
            assert found[key][model] == pytest.approx(values, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("has_blessed", [False, True])
def test_metrics_of_every_model_and_slice(
    examples, rows: list[dict], good, bad, tmp_path: pathlib.Path, has_blessed: bool
) -> None:
    uri, blessing = evaluate(tmp_path, examples, good, bad if has_blessed else None)
    models = {"candidate": good, "blessed": bad} if has_blessed else {"candidate": good}
    expected = expected_metrics(rows, models)
    assert len(expected) == 1 + len(ACTIVITY) + len(POPULARITY)
    found = evaluation_files.read(uri)
    assert_agree(found, expected, 1e-9)
    assert all(set(values) >= set(user_bootstrap.NAMES) for values in found[OVERALL].values())
    assert os.listdir(blessing.uri) == ["BLESSED"]
    assert sorted(os.listdir(uri)) == ["eval_config.json", "metrics-00000-of-00001.tfrecord", "validations.tfrecord"]


@pytest.mark.parametrize("blessed", [None, "good", "telling"])
def test_deviations_are_judged_where_the_candidate_tells_them(
    request, examples, rows: list[dict], telling, tmp_path: pathlib.Path, blessed: str | None
) -> None:
    models = {"candidate": telling} | ({"blessed": request.getfixturevalue(blessed)} if blessed else {})
    uri, _ = evaluate(tmp_path, examples, telling, models.get("blessed"))
    assert_agree(evaluation_files.read(uri), expected_metrics(rows, models), 1e-9)
    found = tfma.load_eval_result(uri, model_name="candidate").get_metrics_for_slice()
    # Four standard errors of a share, and the errors of so many ratings.
    for level in (50, 80, 95):
        stderr = (level * (100 - level) / 1e4 / len(rows)) ** 0.5
        assert found[f"share_inside_{level}"]["doubleValue"] == pytest.approx(level / 100, abs=4 * stderr)
    assert found["expected_rmse"]["doubleValue"] == pytest.approx(found[RMSE]["doubleValue"], rel=0.1)


def test_lists_are_judged_where_the_candidate_recommends(examples, rows: list[dict], tmp_path: pathlib.Path) -> None:
    uri, _ = evaluate(tmp_path / "out", examples, save(tmp_path / "model", error=1.0, kind=ListingModel))
    frame = pd.DataFrame(rows)
    liked = frame[frame["user_rating"] >= 4].groupby("user_id")["movie_title"].agg(set)
    activity = tf.gather(ACTIVITY, tf.strings.to_hash_bucket_fast(liked.index.tolist(), 3)).numpy().astype(str)
    gain = 1 / np.log2(np.arange(2, 12))
    best = [gain[: len(titles)].sum() for titles in liked]
    ndcg = {
        name: np.array([gain[[title in titles for title in shown]].sum() for titles in liked]) / best
        for name, shown in (("candidate", LISTED[:10]), ("popularity", LISTED[-10:]))
    }
    found = evaluation_files.read(uri)
    for name, values in ndcg.items():
        assert found[OVERALL][name]["list_users"] == len(liked)
        assert found[OVERALL][name]["list_ndcg"] == pytest.approx(values.mean())
        for each in ACTIVITY:
            of_slice = found["user_activity", each][name]
            assert of_slice["list_users"] == np.sum(activity == each)
            assert of_slice["list_ndcg"] == pytest.approx(values[activity == each].mean())
    typical = typical_lists.read(uri)
    assert {name: users for name, (users, _) in typical.items()} == {
        each: np.sum(activity == each) for each in ACTIVITY
    }
    assert all([title for title, _ in titles] == LISTED[:10] for _, titles in typical.values())


@pytest.mark.parametrize("has_blessed", [False, True])
def test_the_blessing_names_what_was_judged(examples, good, bad, tmp_path: pathlib.Path, has_blessed: bool) -> None:
    _, blessing = evaluate(tmp_path, examples, good, bad if has_blessed else None)
    beside = {"baseline_model": bad.uri, "baseline_model_id": bad.id} if has_blessed else {}
    assert {
        name: value.string_value or value.int_value for name, value in blessing.mlmd_artifact.custom_properties.items()
    } == {
        "blessed": 1,
        "current_model": good.uri,
        "current_model_id": good.id,
        "component_id": "Evaluator",
        "model_digest": model_digest.of_folder(os.path.join(good.uri, PATH)),
        **beside,
    }


def test_a_model_that_changes_while_it_is_judged_is_not_blessed(
    examples, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, write = save(tmp_path / "model", error=1.0), evaluation_files.write

    def write_and_damage(*arguments, **named) -> None:
        (tmp_path / "model" / PATH / "saved_model.pb").write_bytes(b"another graph")
        write(*arguments, **named)

    monkeypatch.setattr(evaluation_files, "write", write_and_damage)
    with pytest.raises(IntegrityError, match="the files that were judged"):
        evaluate(tmp_path / "out", examples, model)
    assert not os.listdir(tmp_path / "out" / "blessing")


def test_tfma_loads_every_model(examples, rows: list[dict], good, bad, tmp_path: pathlib.Path) -> None:
    uri, _ = evaluate(tmp_path, examples, good, bad)
    names = ["candidate", "blessed", *BASELINE_ERRORS]
    expected = expected_metrics(rows, {"candidate": good, "blessed": bad})[OVERALL]
    for name in names:
        result = tfma.load_eval_result(uri, model_name=name)
        assert result.model_location == os.path.join((bad if name == "blessed" else good).uri, PATH)
        assert result.get_metrics_for_slice()[RMSE]["doubleValue"] == pytest.approx(expected[name][RMSE], rel=1e-9)
        assert result.get_metrics_for_slice(top_k=10)["ndcg"]["doubleValue"] == pytest.approx(expected[name]["ndcg"])
    assert len(tfma.load_eval_results(uri).get_results()) == len(names)


def test_without_tfx_the_plain_functions_measure_the_same(examples, good, bad, tmp_path: pathlib.Path) -> None:
    uri, _ = evaluate(tmp_path, examples, good, bad)
    scorer = judge.Scorer(os.path.join(good.uri, PATH), os.path.join(bad.uri, PATH))
    files = example_files.split_files(examples, ["test"])
    batches = itertools.chain.from_iterable(example_files.read_serialized(path, 100) for path in files)
    assert_agree(judge.evaluate(scorer, batches), evaluation_files.read(uri), 1e-12)


class Guess(NoisyModel):
    """As far off as its title mean, or by so much less."""

    def __init__(self, less: float):
        super().__init__(0)
        self.less = less

    @tf.function(input_signature=EXAMPLES, autograph=False)
    def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        label = tf.io.parse_example(examples, LABELLED)["user_rating"]
        mean = rate(examples, BASELINE_ERRORS["title_mean"], "title_mean")
        return {"predicted_rating": (mean - self.less * (mean - label))[:, None]}


@pytest.mark.parametrize(
    ("model", "baseline", "z"),
    [
        (NoisyModel(2.5), "global_mean", (-100, -2)),
        (Guess(0.0), "title_mean", (0, 0)),
        (NoisyModel(1.72), "title_mean", (0.01, 1.6)),
        (NoisyModel(1.0), "global_mean", (5, 100)),
        (Guess(0.001), "title_mean", (5, 100)),
        (NoisyModel(1.0), "notebook", (5, 100)),
        (NoisyModel(1.65), "notebook", (1.7, 100)),
        (NoisyModel(1.65), "fast", (-100, 0)),
    ],
)
def test_a_model_is_blessed_if_it_is_better_than_its_baseline(
    examples, tmp_path: pathlib.Path, model: NoisyModel, baseline: str, z: tuple[float, float]
) -> None:
    folder = tmp_path / "model"
    tf.saved_model.save(model, str(folder / PATH), {"serving_default": model.predict, "evaluation": model.evaluation})
    made = artifact(standard_artifacts.Model, folder)
    name = {"notebook": "global_mean", "fast": "user_title_bias"}.get(baseline, baseline)
    uri, blessing = evaluate(tmp_path / "out", examples, made, bound=9.0, baseline=baseline)
    found = evaluation_files.read(uri)[OVERALL][name]["mse_difference_z"]
    assert z[0] <= found <= z[1]
    ok = z[0] > 1.645
    assert os.listdir(blessing.uri) == ["BLESSED" if ok else "NOT_BLESSED"]
    validation = tfma.load_validation_result(uri)
    missed = [
        (each.metric_key.model_name, each.metric_key.name, each.metric_value.double_value.value)
        for of_slice in validation.metric_validations_per_slice
        for each in of_slice.failures
    ]
    assert missed == ([] if ok else [(name, "mse_difference_z", found)])
    assert not validation.missing_slices
    # Without a baseline to beat, the bound alone decides.
    assert os.listdir(evaluate(tmp_path / "free", examples, made, bound=9.0)[1].uri) == ["BLESSED"]


@pytest.mark.parametrize("baseline", ["", "best", "candidate"])
def test_a_baseline_that_there_is_not_is_refused(examples, good, tmp_path: pathlib.Path, baseline: str) -> None:
    with pytest.raises(ValueError, match="baseline must be one of user_title_bias, title_mean, global_mean, none, def"):
        evaluate(tmp_path, examples, good, baseline=baseline)


def test_a_baseline_that_is_not_evaluated_is_refused() -> None:
    with pytest.raises(ValueError, match="baseline must be one of candidate; got 'title_mean'"):
        evaluation_files.create_eval_config(["candidate"], rmse_bound=1, max_regression=0, baseline="title_mean")


def test_the_baselines_by_name_are_those_that_are_evaluated() -> None:
    assert get_args(presets.Baseline) == judge.BASELINES
    assert {name: preset.baseline for name, preset in presets.PRESETS.items()} == {
        "default": "user_title_bias",
        "fast": "user_title_bias",
        "notebook": "global_mean",
    }


@pytest.mark.parametrize("split", ["none", "hollow"])
def test_a_split_without_examples_is_refused(examples, good, tmp_path: pathlib.Path, split: str) -> None:
    said = {"none": "at least one example to evaluate on; got none in", "hollow": "example files in"}
    with pytest.raises(ValueError, match=rf"expected {said[split]} .*Split-{split}"):
        evaluate(tmp_path, examples, good, split=split)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_nothing_meets_is_refused_before_anything_is_scored(
    examples, good, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, bound: float
) -> None:
    monkeypatch.setattr(judge, "Scorer", lambda *models: pytest.fail("a model was loaded"))
    with pytest.raises(ValueError, match="must be above 0 stars"):
        evaluate(tmp_path, examples, good, bound=bound)


def test_blocks_and_batches_make_no_difference(examples, good) -> None:
    scorer = judge.Scorer(os.path.join(good.uri, PATH))
    path = os.path.join(examples.uri, "Split-test", "data_tfrecord-00000-of-00002.gz")
    (whole,) = judge.score_blocks(scorer, example_files.read_serialized(path))
    blocks = list(judge.score_blocks(scorer, example_files.read_serialized(path, 7), block_rows=20))
    assert [len(block) for block in blocks] == [21] * 14 + [6]
    assert len(whole) == 300
    joined = sliced_metrics.concatenate(blocks)
    for name in ("user", "label", "prediction"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    for slicing, keys in enumerate(whole.slice_keys):
        names = [joined.slice_keys[slicing][code] for code in joined.slice_code[slicing]]
        assert names == [keys[code] for code in whole.slice_code[slicing]]


def test_workers_change_no_bit(examples, telling, tmp_path: pathlib.Path) -> None:
    written = []
    for workers in (1, 2):
        arguments = [
            "--runner=FnApiRunner", f"--direct_num_workers={workers}",
            f"--direct_running_mode={'in_memory' if workers == 1 else 'multi_threading'}",
        ]  # fmt: skip
        uri, _ = evaluate(tmp_path / str(workers), examples, telling, beam_pipeline_args=arguments)
        written.append({path.name: path.read_bytes() for path in pathlib.Path(uri).glob("metrics-*")})
    assert written[0] == written[1] != {}


def test_parts_are_taken_in_the_order_of_their_numbers(examples, good) -> None:
    scorer = judge.Scorer(os.path.join(good.uri, PATH))
    path = os.path.join(examples.uri, "Split-test", "data_tfrecord-00000-of-00002.gz")
    blocks = list(judge.score_blocks(scorer, example_files.read_serialized(path, 7), block_rows=20))
    numbered = [((place // 4, place % 4), block) for place, block in enumerate(blocks)]
    measured = [ratings_evaluator._measure((3, parts)) for parts in (numbered, numbered[::-1])]
    for bucket, (sums, resampled) in measured:
        first_bucket, (first_sums, first_resampled) = measured[0]
        assert bucket == first_bucket == 3
        for model in range(len(scorer.models)):
            assert [each.metrics(model) for each in sums.values()] == [
                each.metrics(model) for each in first_sums.values()
            ]
        np.testing.assert_array_equal(resampled.totals, first_resampled.totals)


def test_examples_that_are_not_compressed(rows: list[dict], good, tmp_path: pathlib.Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "data_tfrecord")) as writer:
        writer.write(support.serialize(rows[0]))
    batches = example_files.read_serialized(str(tmp_path / "data_tfrecord"))
    (scored,) = judge.score_blocks(judge.Scorer(os.path.join(good.uri, PATH)), batches)
    assert scored.label.tolist() == [rows[0]["user_rating"]]


def test_other_payloads_are_refused(examples, good, tmp_path: pathlib.Path) -> None:
    parquet = artifact(standard_artifacts.Examples, pathlib.Path(examples.uri))
    parquet.split_names = examples.split_names
    name = example_gen_pb2.PayloadFormat.Name(example_gen_pb2.FORMAT_PARQUET)
    parquet.set_string_custom_property("payload_format", name)
    with pytest.raises(ValueError, match=r"expected tf.Examples in TFRecord files; got FORMAT_PARQUET"):
        evaluate(tmp_path, parquet, good)


@pytest.mark.parametrize(
    ("missing_ratings", "missing_users", "missed"),
    [(0, 0, []), (1, 0, ["example_count"]), (0, 1, ["user_count"]), (1, 1, ["example_count", "user_count"])],
)
def test_too_few_test_ratings_bless_nothing(
    examples,
    rows: list[dict],
    good,
    tmp_path: pathlib.Path,
    missing_ratings: int,
    missing_users: int,
    missed: list[str],
) -> None:
    users = len({row["user_id"] for row in rows})
    needed = {"min_ratings": len(rows) + missing_ratings, "min_users": users + missing_users}
    uri, blessing = evaluate(tmp_path, examples, good, **needed)
    assert os.listdir(blessing.uri) == ["NOT_BLESSED" if missed else "BLESSED"]
    validation = tfma.load_validation_result(uri)
    failures = [each for by_slice in validation.metric_validations_per_slice for each in by_slice.failures]
    assert sorted(each.metric_key.name for each in failures) == missed
    assert not validation.missing_thresholds


@pytest.mark.parametrize("of_blessed", [False, True])
def test_a_model_that_predicts_nan_blesses_nothing(examples, good, tmp_path: pathlib.Path, of_blessed: bool) -> None:
    nan = save(tmp_path / "model", error=float("nan"))
    candidate, blessed = (good, nan) if of_blessed else (nan, None)
    uri, blessing = evaluate(tmp_path / "out", examples, candidate, blessed)
    overall = evaluation_files.read(uri)[OVERALL]
    spoilt = "blessed" if of_blessed else "candidate"
    assert {model for model, values in overall.items() if np.isnan(values[RMSE])} == {spoilt}
    finite = {name for name, value in overall[spoilt].items() if not np.isnan(value)}
    assert finite == ({"example_count"} if of_blessed else {"example_count", "user_count"})
    assert os.listdir(blessing.uri) == ["NOT_BLESSED"]
    assert blessing.get_int_custom_property("blessed") == 0
    (failed,) = tfma.load_validation_result(uri).metric_validations_per_slice
    assert [each.metric_key.is_diff for each in failed.failures] == [of_blessed]


@pytest.mark.parametrize(
    ("signatures", "said"),
    [
        ({}, "expected a signature 'serving_default' in .*; got "),
        ({"serving_default": "echo"}, "expected 'serving_default' of .* to take serialized tf.Examples alone"),
        ({"serving_default": "evaluation"}, "expected .'predicted_rating'. among the outputs of 'serving_default'"),
        ({"serving_default": "predict"}, "expected a signature 'evaluation' in .*'serving_default'"),
        ({"serving_default": "predict", "evaluation": "predict"}, "expected .* among the outputs of 'evaluation'"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused(tmp_path: pathlib.Path, signatures: dict[str, str], said: str) -> None:
    model = NoisyModel(1.0)
    tf.saved_model.save(model, str(tmp_path), {name: getattr(model, method) for name, method in signatures.items()})
    with pytest.raises(ValueError, match=said):
        judge.Scorer(str(tmp_path))


def test_a_blessed_model_that_is_gone_is_named(good, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=rf"expected a SavedModel in {tmp_path}; got none; put it back, or judge"):
        judge.Scorer(os.path.join(good.uri, PATH), str(tmp_path))


def test_an_answer_that_is_not_one_an_example_is_refused(tmp_path: pathlib.Path, rows: list[dict]) -> None:
    model = NoisyModel(1.0)
    signatures = {"serving_default": model.one_answer, "evaluation": model.evaluation}
    tf.saved_model.save(model, str(tmp_path), signatures)
    with pytest.raises(ValueError, match="expected one value of 'predicted_rating' for each of 2 examples"):
        judge.Scorer(str(tmp_path)).score(tf.constant([support.serialize(row) for row in rows[:2]]))


def test_component_carries_what_the_cache_compares() -> None:
    bound = RuntimeParameter(name="rmse_bound", ptype=float, default=0.9)
    made = ratings_evaluator.RatingsEvaluator(
        examples=types.Channel(type=standard_artifacts.Examples),
        model=types.Channel(type=standard_artifacts.Model),
        split="test",
        rmse_bound=bound,
        max_regression=0.01,
        baseline="title_mean",
        min_ratings=50,
        min_users=10,
        lists_baseline="none",
        max_ndcg_regression=0.02,
        code_fingerprint="abc",
    )
    assert made.exec_properties == {
        "split": "test",
        "rmse_bound": bound,
        "max_regression": 0.01,
        "baseline": "title_mean",
        "min_ratings": 50,
        "min_users": 10,
        "lists_baseline": "none",
        "max_ndcg_regression": 0.02,
        "code_fingerprint": "abc",
    }
    assert made.outputs["blessing"].type is standard_artifacts.ModelBlessing
    assert made.outputs["evaluation"].type is standard_artifacts.ModelEvaluation
    assert set(made.inputs) == {"examples", "model"}


def tfma_evaluation(
    folder: pathlib.Path, examples: types.Artifact, models: dict[str, types.Artifact], bound: float
) -> str:
    """The folder of what TFMA makes of the configuration by itself, each baseline a model of its own."""
    names = [*models, *BASELINE_ERRORS]
    config = evaluation_files.create_eval_config(names, rmse_bound=bound, max_regression=0.0, baseline=None)
    shared = [
        tfma.default_eval_shared_model(
            os.path.join(models.get(name, models["candidate"]).uri, PATH), model_name=name, eval_config=config
        )
        for name in names
    ]
    source = tfxio.TFExampleRecord(
        file_pattern=os.path.join(examples.uri, "Split-test", "*"),
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    with beam.Pipeline() as pipeline:
        (
            pipeline
            | source.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(eval_shared_model=shared, eval_config=config, output_path=str(folder))
        )
    return str(folder)


def values_by_key(uri: str) -> dict[tuple[str, str], float]:
    """Every value of TFMA's files by slice and key."""
    return {
        (str(record.slice_key), str(each.key)): each.value.double_value.value
        for record in tfma.load_metrics(uri)
        for each in record.metric_keys_and_values
    }


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
    ("candidate", "blessed", "bound", "ok"),
    [
        ("good", None, 1.2, True),
        ("good", "bad", 1.2, True),
        ("good", "bad", 0.1, False),
        ("good", "better", 9.0, False),
        ("telling", "bad", 1.2, True),
    ],
)
def test_tfma_agrees(
    request, examples, tmp_path: pathlib.Path, candidate: str, blessed: str | None, bound: float, ok: bool
) -> None:
    names = {"candidate": candidate} | ({"blessed": blessed} if blessed else {})
    models = {name: request.getfixturevalue(fixture) for name, fixture in names.items()}
    # TFMA does not count users.
    compared = {"bound": bound, "min_ratings": 0, "min_users": 0}
    ours, blessing = evaluate(tmp_path / "ours", examples, models["candidate"], models.get("blessed"), **compared)
    theirs = tfma_evaluation(tmp_path / "theirs", examples, models, bound)

    found = {key: value for key, value in values_by_key(ours).items() if not any(name in key[1] for name in OURS)}
    expected = values_by_key(theirs)
    # Four metrics of each model and, where there is a blessed model, the differences of the others.
    assert len(expected) == 4 * (4 if blessed is None else 9) * (1 + len(ACTIVITY) + len(POPULARITY))
    assert set(found) == set(expected)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for name in (*models, *BASELINE_ERRORS):
        results = [tfma.load_eval_result(uri, model_name=name) for uri in (ours, theirs)]
        assert results[0].config == results[1].config
        assert results[0].model_location == results[1].model_location
        assert {key for key, _ in results[0].slicing_metrics} == {key for key, _ in results[1].slicing_metrics}

    assert os.listdir(blessing.uri) == ["BLESSED" if ok else "NOT_BLESSED"]
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


@pytest.mark.slow
def test_the_blessing_is_that_of_tfx(examples, good, better, tmp_path: pathlib.Path) -> None:
    _, ours = evaluate(tmp_path / "ours", examples, good, better)
    config = tfma.EvalConfig(
        model_specs=[
            {"signature_name": "serving_default", "label_key": "user_rating", "prediction_key": "predicted_rating"}
        ],
        metrics_specs=[
            {
                "metrics": [
                    {
                        "class_name": "MeanAbsoluteError",
                        "threshold": {"value_threshold": {"upper_bound": {"value": 0.0}}},
                    }
                ]
            }
        ],
        options={"include_default_metrics": {"value": False}},
    )
    inputs = {"examples": [examples], "model": [good], "baseline_model": [better]}
    properties = {"eval_config": proto_utils.proto_to_json(config), "example_splits": '["test"]'}
    _, theirs = run(tfx_evaluator.Executor, tmp_path / "theirs", inputs, properties)
    assert os.listdir(ours.uri) == os.listdir(theirs.uri) == ["NOT_BLESSED"]
    assert ours.mlmd_artifact.custom_properties.pop("model_digest").string_value == model_digest.of_folder(
        os.path.join(good.uri, PATH)
    )
    assert ours.mlmd_artifact.custom_properties == theirs.mlmd_artifact.custom_properties
