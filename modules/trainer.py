"""Trainer's entry point, and the training that it calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft

from modules import (
    catalogue,
    checkpoints,
    dataset,
    distribution,
    features,
    file_sums,
    paths,
    presets,
    progress,
    retrieval_fit,
    serving,
    side_tables,
)
from modules.model_configs import ModelConfig, RetrievalConfig
from modules.rating_models import EmbeddingModel
from modules.ratings import Ratings
from modules.recommending import RecommendingModel, tells_high_ratings
from modules.retrieval_model import RetrievalModel
from modules.side_features import SideFeatures
from modules.training_log import CHOSEN_FILE

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: FnArgs) -> None:
    """Fits the preset named in `custom_config` and exports it; called by the TFX Trainer.

    `custom_config` holds `preset`, `model` (values over the preset's defaults), `retrieval` (see
    `model_configs.Retrieval`), `seed`, `strategy` (see `distribution.create`), `rating_scale`, `has_eval` (whether
    there are eval files of their own) and `tables` (folder of the side tables' examples). Of several workers the chief
    alone writes; the others return when it has, so that they all find the model.
    """
    settings: dict[str, Any] = fn_args.custom_config or {}
    # Before anything else in TensorFlow.
    strategy = distribution.create(settings["strategy"])
    is_chief = distribution.is_chief(strategy)
    transform_output = tft.TFTransformOutput(paths.plain(fn_args.transform_output))
    tables = side_tables.read(settings["tables"])
    side = SideFeatures(tables)
    low, high = settings["rating_scale"]

    def load(patterns: list[str]) -> Ratings:
        # TFX gives the folder of each split, with `/*` behind it.
        folders = map(os.path.dirname, patterns)
        files = [file for folder in folders for file in paths.files_of(folder)]
        return dataset.load_ratings(files, transform_output, side, low=low, high=high, report=progress.report)

    train_ratings = load(fn_args.train_files)
    eval_ratings = load(fn_args.eval_files) if settings["has_eval"] else None
    trained = train(
        train_ratings,
        eval_ratings,
        preset=settings["preset"],
        values=settings["model"],
        seed=settings["seed"],
        log_dir=fn_args.model_run_dir if is_chief else None,
        # Beside the logs, since a Trainer that runs again may get another folder for them, but beside the same.
        checkpoints=os.path.join(os.path.dirname(fn_args.model_run_dir), checkpoints.FOLDER),
        strategy=strategy,
    )
    if is_chief:
        words = [getattr(trained.model, "chosen", "")]
        arguments = (trained.model, transform_output, trained.fitted_on, side)
        if settings["retrieval"] == "none":
            exported = serving.ServingModel(*arguments)
        else:
            retrieval, chosen = train_retrieval(
                train_ratings,
                eval_ratings,
                trained,
                preset=settings["preset"],
                seed=settings["seed"],
                unrated=side.beside(features.TITLES, transform_output.vocabulary_by_name(features.MOVIE_TITLE.name)),
            )
            words.append(chosen)
            exported = RecommendingModel(*arguments, retrieval)
        with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, CHOSEN_FILE), "w") as file:
            file.write("\n".join(words))
        progress.report("exporting")
        serving.export(exported, fn_args.serving_model_dir)
        catalogue.write(tables.titles, fn_args.serving_model_dir)
        file_sums.write(fn_args.serving_model_dir)
    distribution.wait_for_all(strategy)


class Trained(NamedTuple):
    """A fitted ranking model.

    Attributes:
      model: takes ids and feature vectors.
      fitted_on: all ratings that it was fitted on.
      config: its configuration, with what was chosen.
      pilot: a rough model, see `rating_models.Choice`; None where choosing has left none.
    """

    model: tfrs.Model
    fitted_on: Ratings
    config: ModelConfig
    pilot: EmbeddingModel | None = None


def train(
    train_ratings: Ratings,
    eval_ratings: Ratings | None,
    *,
    preset: str,
    values: dict[str, Any],
    seed: int,
    log_dir: str | None = None,
    checkpoints: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Trained:
    """Fits a preset on all ratings given; a preset that chooses does so on `eval_ratings` first.

    Args:
      train_ratings: what to fit on.
      eval_ratings: what to choose on; None to carve it from `train_ratings`.
      preset: name in `presets.PRESETS`.
      values: configuration over the preset's defaults.
      seed: seeds every random choice.
      log_dir: folder for TensorBoard logs.
      checkpoints: folder from which a preset that can goes on after a kill; None keeps nothing.
      strategy: several devices or workers to train on; None for one device.

    Returns:
      The fitted model, and what it was fitted on: train and eval together.

    Raises:
      ValueError: an unknown preset, configuration out of range, or a strategy for a preset that takes none.
    """
    presets.check_strategy(preset, "none" if strategy is None else type(strategy).__name__)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    chosen = presets.get(preset)
    module = chosen.load()
    config = presets.build_config(preset, values)
    everything = train_ratings if eval_ratings is None else dataset.concatenate(train_ratings, eval_ratings)
    several: dict[str, Any] = {} if strategy is None else {"strategy": strategy}
    pilot = None
    if chosen.chooses:
        fit_part, choose_part = dataset.carve(train_ratings) if eval_ratings is None else (train_ratings, eval_ratings)
        choice = module.choose(fit_part, choose_part, config, seed=seed, report=progress.report, **several)
        config, pilot = choice.config, choice.pilot
    if chosen.resumes:
        several["checkpoints"] = checkpoints
    model = module.fit(everything, config, seed=seed, log_dir=log_dir, report=progress.report, **several)
    return Trained(model, everything, config, pilot)


def train_retrieval(
    train_ratings: Ratings,
    eval_ratings: Ratings | None,
    trained: Trained,
    *,
    preset: str,
    seed: int,
    unrated: np.ndarray | None = None,
) -> tuple[RetrievalModel, str]:
    """Fits what recommends on all ratings given, regularised and ordered by what it says of `eval_ratings`.

    Args:
      train_ratings: what to fit on.
      eval_ratings: held-out ratings of the same users and titles; None to carve them from `train_ratings`.
      trained: the ranking model; where it tells how probable high ratings are, the order weighs that, as the pilot or
        else a model of a shorter fit without `eval_ratings` has it.
      preset: name of the ranking model.
      seed: seeds every random choice.
      unrated: float32 [titles, features], side features of titles that nobody rated; None for none.

    Returns:
      The fitted model, and what was chosen for it, in words.
    """
    fit_part, held_out = dataset.carve(train_ratings) if eval_ratings is None else (train_ratings, eval_ratings)
    rating_scores: retrieval_fit.RatingScores | None = None
    if tells_high_ratings(trained.model):

        def rating_scores(asked: np.ndarray) -> np.ndarray:
            users = dataset.some_users(fit_part, seed=seed)
            model = trained.pilot
            if model is None:
                what = "ranking model for the order"
                progress.report(what)
                model = (
                    presets.get(preset)
                    .load()
                    .fit(
                        fit_part.of_users(users),
                        trained.config.of_short_fit(),
                        seed=seed,
                        log_dir=None,
                        report=lambda text: progress.report(f"{what}: {text}"),
                    )
                )
            return _high_ratings(model, serving.high_rating(fit_part), np.searchsorted(users, asked))

    chosen = retrieval_fit.choose(
        fit_part, held_out, RetrievalConfig(), seed=seed, report=progress.report, rating_scores=rating_scores
    )
    return retrieval_fit.fit(trained.fitted_on, chosen, seed=seed, unrated=unrated), chosen.words()


def _high_ratings(model: EmbeddingModel, threshold: float, users: np.ndarray) -> np.ndarray:
    """Float32 [users, titles]: the probabilities of high ratings by users, int [users]."""
    rows = model.user_rows(tf.constant(users, tf.int64))
    return serving.prob_at_least(threshold, *model.rate_all(*rows)).numpy()
