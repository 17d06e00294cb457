"""Trainer's entry point, and the training that it calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tensorflow_transform as tft

from modules import dataset, distribution, paths, presets, progress, serving, side_tables
from modules.ratings import Ratings
from modules.side_features import SideFeatures
from modules.training_log import CHOSEN_FILE

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: FnArgs) -> None:
    """Fits the preset named in `custom_config` and exports it; called by the TFX Trainer.

    `custom_config` holds `preset`, `model` (values over the preset's defaults), `seed`, `strategy` (see
    `distribution.create`), `rating_scale`, `has_eval` (whether there are eval files of their own) and `tables` (folder
    of the side tables' examples). Of several workers the chief alone writes; the others return when it has, so that
    they all find the model.
    """
    settings: dict[str, Any] = fn_args.custom_config or {}
    # Before anything else in TensorFlow.
    strategy = distribution.create(settings["strategy"])
    is_chief = distribution.is_chief(strategy)
    transform_output = tft.TFTransformOutput(paths.plain(fn_args.transform_output))
    side = SideFeatures(side_tables.read(settings["tables"]))
    low, high = settings["rating_scale"]

    def load(patterns: list[str]) -> Ratings:
        # TFX gives the folder of each split, with `/*` behind it.
        folders = map(os.path.dirname, patterns)
        files = [file for folder in folders for file in paths.files_of(folder)]
        return dataset.load_ratings(files, transform_output, side, low=low, high=high, report=progress.report)

    model, fitted_on = train(
        load(fn_args.train_files),
        load(fn_args.eval_files) if settings["has_eval"] else None,
        preset=settings["preset"],
        values=settings["model"],
        seed=settings["seed"],
        log_dir=fn_args.model_run_dir if is_chief else None,
        # Beside the logs, since a Trainer that runs again may get another folder for them, but beside the same.
        checkpoints=os.path.join(os.path.dirname(fn_args.model_run_dir), "checkpoints"),
        strategy=strategy,
    )
    if is_chief:
        with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, CHOSEN_FILE), "w") as file:
            file.write(getattr(model, "chosen", ""))
        progress.report("exporting")
        exported = serving.ServingModel(model, transform_output, fitted_on, side)
        serving.export(exported, fn_args.serving_model_dir)
    distribution.wait_for_all(strategy)


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
) -> tuple[tfrs.Model, Ratings]:
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
      The fitted model and the ratings it was fitted on: train and eval together.

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
    if chosen.chooses:
        fit_part, choose_part = dataset.carve(train_ratings) if eval_ratings is None else (train_ratings, eval_ratings)
        config = module.choose(fit_part, choose_part, config, seed=seed, report=progress.report, **several)
    if chosen.resumes:
        several["checkpoints"] = checkpoints
    return module.fit(everything, config, seed=seed, log_dir=log_dir, report=progress.report, **several), everything
