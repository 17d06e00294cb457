"""The Trainer's entry point: what it writes, what of which split it fits on, and what the order learns from."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import types
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tf_config
from tfx.components.trainer.fn_args_utils import FnArgs

from modules import catalogue, checkpoints, dataset, distribution, file_sums, presets, retrieval_fit, serving, trainer
from modules.model_configs import BayesianConfig
from modules.presets import Preset
from modules.rating_models import Choice, EmbeddingModel
from modules.ratings import Ratings
from modules.recommending import RecommendingModel
from tests.support import analyze, camps, serialize, write_examples, write_tables

UNRATED = "Film nobody saw"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of `run_fn`: all ratings of user u0 are in the eval split."""
    folder = tmp_path_factory.mktemp("trainer")
    rows, described = camps(users=12, titles=10)
    output = analyze(rows)
    tables = write_tables(folder / "tables", titles=[*described, {"movie_title": UNRATED, "genres": ["Even"]}])
    for split in ("train", "eval"):
        (folder / split).mkdir()
        own = [row for row in rows if (row["user_id"] == "u0") == (split == "eval")]
        write_examples(folder / split / "rows.gz", own)
    settings = {
        "preset": "notebook", "model": {"epochs": 1, "embedding_dimension": 2, "hidden_units": [2]}, "seed": 3,
        "strategy": "none", "rating_scale": [1.0, 5.0], "tables": tables,
    }  # fmt: skip
    return {
        "train_files": [str(folder / "train" / "*")], "eval_files": [str(folder / "eval" / "*")], "train_steps": 0,
        "eval_steps": 0, "custom_config": settings,
        "transform_output": str(pathlib.Path(output.transform_savedmodel_dir).parent),
    }  # fmt: skip


def run(arguments: dict[str, Any], folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
    """Runs `run_fn`, and returns the model that it exports."""
    exported = []

    def export(model: serving.ServingModel, path: str) -> None:
        exported.append(model)
        pathlib.Path(path).mkdir()
        pathlib.Path(path, "saved_model.pb").write_bytes(b"graph")

    # What is written there is tested elsewhere, and takes seconds.
    monkeypatch.setattr(serving, "export", export)
    custom = {**arguments["custom_config"], **settings}
    places = {"serving_model_dir": str(folder / "model"), "model_run_dir": str(folder / "runs" / "logs")}
    trainer.run_fn(FnArgs(**{**arguments, **places, "custom_config": custom}))
    return exported[0] if exported else None


def fitted_on(model: serving.ServingModel) -> tuple[list[bytes], float]:
    """How active the users u0 and u1 are in what the model was fitted on, and the mean rating there."""
    examples = [serialize({"user_id": user, "movie_title": "?"}) for user in ("u0", "u1")]
    said = model.evaluation(tf.constant(examples))
    return said["user_activity"].numpy().tolist(), float(said["global_mean"][0])


def mean_rating(but: str = "") -> float:
    """Of all users but this one."""
    rows, _ = camps(users=12, titles=10)
    return float(np.mean([row["user_rating"] for row in rows if row["user_id"] != but]))


def test_a_model_that_recommends_is_exported_with_all_that_lies_beside_it(arguments, tmp_path, monkeypatch) -> None:
    model = run(arguments, tmp_path, monkeypatch, has_eval=True, retrieval="als_ease")
    assert fitted_on(model) == ([b"3-9", b"3-9"], pytest.approx(mean_rating()))
    none = tf.constant([], tf.string)
    titles = model.recommend(tf.constant(["u1"]), tf.constant(20), none, none)["movie_title"].numpy().tolist()
    assert UNRATED.encode() in titles
    described = catalogue.read(str(tmp_path / "model"))
    assert len(described) == 11
    assert described[UNRATED].genres == ("Even",)
    assert (tmp_path / "model" / file_sums.FILE).exists()
    assert file_sums.fault(str(tmp_path / "model")) is None
    logs = tmp_path / "runs" / "logs"
    own, of_order = (logs / "chosen.txt").read_text().split("\n")
    assert own == ""
    assert of_order.startswith("iALS regularization")
    assert list(logs.glob("events.*"))


def test_without_an_eval_split_and_what_recommends_the_model_rates_what_train_holds(
    arguments, tmp_path, monkeypatch
) -> None:
    model = run(arguments, tmp_path, monkeypatch, has_eval=False, retrieval="none")
    assert fitted_on(model) == ([b"new", b"3-9"], pytest.approx(mean_rating(but="u0")))
    assert not isinstance(model, RecommendingModel)
    assert (tmp_path / "runs" / "logs" / "chosen.txt").read_text() == ""


@pytest.mark.parametrize("is_chief", [True, False])
def test_the_chief_alone_writes_and_all_wait_until_it_has(
    arguments, tmp_path, monkeypatch, small_ratings, is_chief
) -> None:
    found = []
    monkeypatch.setattr(dataset, "load_ratings", lambda *given, **others: small_ratings)
    monkeypatch.setattr(distribution, "is_chief", lambda strategy: is_chief)
    monkeypatch.setattr(
        distribution, "wait_for_all", lambda strategy: found.append((tmp_path / "model" / file_sums.FILE).exists())
    )
    monkeypatch.setattr(serving, "ServingModel", lambda *parts: None)
    logs = []

    def train(*ratings: Any, log_dir: str | None, **given: Any) -> trainer.Trained:
        logs.append(log_dir)
        return trainer.Trained(flat_model(ratings[0]), ratings[0], BayesianConfig())

    monkeypatch.setattr(trainer, "train", train)
    (tmp_path / "runs" / "logs").mkdir(parents=True)
    run(arguments, tmp_path, monkeypatch, has_eval=False, retrieval="none")
    assert found == [is_chief]
    assert (tmp_path / "model").exists() == is_chief
    assert logs == [str(tmp_path / "runs" / "logs") if is_chief else None]


def test_checkpoints_lie_beside_the_logs(arguments, tmp_path, monkeypatch, small_ratings) -> None:
    """Not in them, since a Trainer that is run again gets another folder of logs."""
    monkeypatch.setattr(dataset, "load_ratings", lambda *given, **others: small_ratings)
    asked = {}

    def train(*ratings: Any, **given: Any) -> None:
        asked.update(given)
        raise InterruptedError

    monkeypatch.setattr(trainer, "train", train)
    with pytest.raises(InterruptedError):
        run(arguments, tmp_path, monkeypatch, has_eval=False, retrieval="none")
    assert asked["checkpoints"] == os.path.join(tmp_path, "runs", checkpoints.FOLDER)
    assert asked["log_dir"] == str(tmp_path / "runs" / "logs")
    assert (asked["seed"], asked["strategy"]) == (3, None)


def flat_model(ratings: Ratings) -> EmbeddingModel:
    """Rates every title of user u, whoever that is, with the mean stars of what this user rated, give or take 1."""
    users, titles = ratings.num_users, ratings.num_titles
    count = np.maximum(np.bincount(ratings.user, minlength=users), 1)
    means = np.append(np.bincount(ratings.user, ratings.rating, users) / count, 0.0)[:, np.newaxis]
    zeros = [np.zeros([rows, 1]) for rows in (titles + 1, 2, 2)]
    return EmbeddingModel(0.0, means, *zeros, deviations=(np.ones(users + 1), np.ones(titles + 1)))


class Calls:
    """A model file that keeps what it is called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **kinds: bool) -> None:
        self.pilot: EmbeddingModel | None = None
        self.chosen_on: list[tuple[Ratings, Ratings]] = []
        self.fitted_on: list[tuple[Ratings, Any, dict[str, Any]]] = []
        file = types.SimpleNamespace(choose=self.choose, fit=self.fit)
        monkeypatch.setitem(sys.modules, "a_model_file", file)
        preset = Preset(module="a_model_file", config=BayesianConfig, rmse_bound=1.0, summary="", **kinds)
        monkeypatch.setitem(presets.PRESETS, "kept", preset)

    def choose(self, train: Ratings, validation: Ratings, config: BayesianConfig, **others: Any) -> Choice:
        self.chosen_on.append((train, validation))
        return Choice(config.model_copy(update={"form": "plain"}), self.pilot)

    def fit(self, ratings: Ratings, config: BayesianConfig, **others: Any) -> EmbeddingModel:
        self.fitted_on.append((ratings, config, others))
        return flat_model(ratings)


def pairs(*parts: Ratings) -> list[tuple[int, int]]:
    return sorted(pair for part in parts for pair in zip(part.user.tolist(), part.title.tolist(), strict=True))


@pytest.mark.parametrize("has_eval", [True, False])
def test_a_model_chooses_on_held_out_ratings_and_is_fitted_on_all(small_ratings, monkeypatch, has_eval) -> None:
    calls = Calls(monkeypatch, chooses=True)
    calls.pilot = flat_model(small_ratings) if has_eval else None
    first, last = small_ratings.select(np.arange(6)), small_ratings.select(np.arange(6, 8))
    given = (first, last) if has_eval else (small_ratings, None)
    trained = trainer.train(*given, preset="kept", values={"factors": 3}, seed=5, checkpoints="unused")
    ((fit_part, choose_part),) = calls.chosen_on
    expected = (first, last) if has_eval else dataset.carve(small_ratings)
    assert (pairs(fit_part), pairs(choose_part)) == (pairs(expected[0]), pairs(expected[1]))
    ((everything, config, others),) = calls.fitted_on
    assert pairs(everything) == pairs(small_ratings)
    assert trained.fitted_on is everything
    assert trained.pilot is calls.pilot
    assert trained.config == config == BayesianConfig(form="plain", factors=3)
    assert others["seed"] == 5
    assert not {"checkpoints", "strategy"} & set(others)


def test_a_preset_that_chooses_nothing_is_fitted_as_configured(small_ratings, monkeypatch) -> None:
    calls = Calls(monkeypatch, resumes=True)
    trained = trainer.train(small_ratings, None, preset="kept", values={}, seed=0, log_dir="logs", checkpoints="kept")
    assert not calls.chosen_on
    assert trained.config == BayesianConfig()
    assert (calls.fitted_on[0][2]["checkpoints"], calls.fitted_on[0][2]["log_dir"]) == ("kept", "logs")


def test_a_preset_that_takes_no_strategy_is_not_given_one(small_ratings, monkeypatch) -> None:
    calls = Calls(monkeypatch)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with pytest.raises(ValueError, match="strategy OneDeviceStrategy needs a preset that trains on several devices"):
        trainer.train(small_ratings, None, preset="kept", values={}, seed=0, strategy=strategy)
    assert not calls.fitted_on
    able = Calls(monkeypatch, distributes=True)
    trainer.train(small_ratings, None, preset="kept", values={}, seed=0, strategy=strategy)
    assert able.fitted_on[0][2]["strategy"] is strategy


def test_two_fits_of_one_seed_start_from_the_same_random_state(small_ratings, monkeypatch) -> None:
    Calls(monkeypatch)
    tf_config.disable_op_determinism()
    drawn = []
    for seed in (1, 1, 2):
        trainer.train(small_ratings, None, preset="kept", values={}, seed=seed)
        drawn.append((float(tf.random.uniform([])), np.random.random()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert tf_config.is_op_determinism_enabled()


@pytest.mark.parametrize("has_pilot", [True, False])
@pytest.mark.parametrize("has_eval", [True, False])
def test_the_order_learns_from_a_rough_model_of_what_nothing_is_held_out_of(
    small_ratings, monkeypatch, has_eval, has_pilot
) -> None:
    """What a ranking model says of users that are asked for: how probable their high ratings are."""
    calls = Calls(monkeypatch)
    ratings = dataclasses.replace(
        small_ratings, user_features=np.zeros((3, 2), np.float32), title_features=np.zeros((4, 2), np.float32)
    )
    first, last = ratings.select(np.arange(6)), ratings.select(np.arange(6, 8))
    train, held_out = (first, last) if has_eval else dataset.carve(ratings, 100 - 1)
    monkeypatch.setattr(dataset, "carve", lambda ratings: (train, held_out))
    monkeypatch.setattr(dataset, "PLENTY", 1)
    users, said = dataset.some_users(train, seed=4), {}
    asked = users[-1:]

    def choose(fit_part: Ratings, others: Ratings, config: Any, *, rating_scores: Any, **rest: Any) -> Any:
        said.update(fit=fit_part, held_out=others, scores=rating_scores(asked))
        return types.SimpleNamespace(words=lambda: "chosen")

    monkeypatch.setattr(retrieval_fit, "choose", choose)
    monkeypatch.setattr(retrieval_fit, "fit", lambda everything, chosen, **rest: (everything, rest))
    trained = trainer.Trained(
        flat_model(ratings),
        ratings,
        BayesianConfig(pilot_iterations=33, pilot_burn_in=3),
        flat_model(train.of_users(users)) if has_pilot else None,
    )
    unrated = np.ones((1, 2), np.float32)
    (fitted_on, rest), words = trainer.train_retrieval(
        *((first, last) if has_eval else (ratings, None)), trained, preset="kept", seed=4, unrated=unrated
    )
    assert words == "chosen"
    assert fitted_on is ratings
    assert rest == {"seed": 4, "unrated": unrated}
    assert (said["fit"], said["held_out"]) == (train, held_out)
    # Where choosing has left no model, a short fit makes one.
    assert len(calls.fitted_on) == (not has_pilot)
    for part, config, others in calls.fitted_on:
        assert (config.iterations, config.burn_in) == (33, 3)
        assert (others["seed"], others["log_dir"]) == (4, None)
        # Some users stand for all.
        assert pairs(part) == pairs(train.of_users(users))
    assert said["scores"].dtype == np.float32
    mean = [train.rating[train.user == user].mean() if (train.user == user).any() else 0.0 for user in asked]
    threshold = serving.high_rating(train)
    row = [float(serving.prob_at_least(threshold, tf.constant(stars), tf.constant(1.0))) for stars in np.float32(mean)]
    np.testing.assert_allclose(said["scores"], np.tile(row, (4, 1)).T, atol=1e-6)


def test_a_model_without_deviations_is_left_out_of_the_order(small_ratings, monkeypatch) -> None:
    seen = []
    chosen = types.SimpleNamespace(words=str)
    monkeypatch.setattr(retrieval_fit, "choose", lambda *parts, **rest: seen.append(rest) or chosen)
    monkeypatch.setattr(retrieval_fit, "fit", lambda *parts, **rest: None)
    model = flat_model(small_ratings)
    model.deviations = []
    trainer.train_retrieval(
        small_ratings, None, trainer.Trained(model, small_ratings, BayesianConfig()), preset="default", seed=0
    )
    assert seen[0]["rating_scores"] is None
