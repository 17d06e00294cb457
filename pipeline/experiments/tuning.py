"""Search for a preset's hyper-parameters: fitted on `train`, judged on `eval`; `test` is not read.

The sampler is Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter
optimization"). The first trial is the preset as it is, so that the best one is never worse than that on `eval`. Trials
are kept in an SQLite file, and the sampler is seeded by how many of them are finished: a search that was interrupted
goes on as if it had not been.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import tensorflow as tf
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from data import atomic
from modules import dataset, metrics, paths, presets, progress
from modules.errors import UserError
from modules.features import MOVIE_TITLE, USER_ID
from modules.ratings import Ratings
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.fingerprint import fingerprint
from pipeline.local.capture import captured
from pipeline.local.task_display import TaskDisplay
from pipeline.local.transformed import Transformed, run_to_transform

STORAGE_FILE = "trials.sqlite"
# Trials that tell something; one that was interrupted does not.
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """Values that a field may take in a search: integers where both ends are.

    Attributes:
      low: the smallest.
      high: the largest.
      log: search by ratio rather than by difference.
    """

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """The trial's value of a field; four significant digits where it is no integer."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return float(f"{trial.suggest_float(name, self.low, self.high, log=self.log):.4g}")


# What is searched, by preset and field of its configuration: what changes the error by more than the seed does.
# Length of the chain and rank of the export are left out, since more of them is always better, only slower.
SPACES: dict[str, dict[str, Range]] = {
    "default": {
        "factors": Range(low=8, high=32),
        "membership_rank": Range(low=32, high=512, log=True),
        "membership_exponent": Range(low=0.2, high=0.6),
    },
    "fast": {
        "dimension": Range(low=8, high=64, log=True),
        "hidden_units": Range(low=16, high=128, log=True),
        "learning_rate": Range(low=1e-3, high=3e-2, log=True),
        "regularization": Range(low=0.005, high=0.5, log=True),
        "hidden_share": Range(low=0.1, high=0.7),
        "history_damping": Range(low=0.5, high=20.0, log=True),
        "epochs": Range(low=3, high=10),
    },
    "notebook": {
        "embedding_dimension": Range(low=8, high=64, log=True),
        "learning_rate": Range(low=0.01, high=1.0, log=True),
        "batch_size": Range(low=256, high=8192, log=True),
        "epochs": Range(low=2, high=30, log=True),
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes:
      rmse: of the best trial on `eval`, stars.
      default_rmse: of the preset as it is, on the same ratings; None if it gave ratings that are not finite.
      values: searched fields of the best trial.
      trials: how many are finished.
      config_file: what `movie-ranking run --config` takes.
    """

    rmse: float
    default_rmse: float | None
    values: dict[str, float]
    trials: int
    config_file: pathlib.Path


def search(
    config: PipelineConfig, *, trials: int, timeout: float | None, console: Console, verbose: bool = False
) -> Found:
    """Runs the pipeline up to Transform, then trials, and writes a configuration file after each.

    Args:
      config: of the pipeline: the preset, its seed, and in `trainer.model` the fields that are held fixed.
      trials: how many there shall be, those of earlier searches in the same output folder included.
      timeout: no trial is started after so many seconds; None for no limit.
      console: shows progress.
      verbose: leave what TFX and Optuna write on the terminal as well.

    Raises:
      UserError: the preset has no search space, or every field of it is held fixed, or no trial gave a rating.
      ComponentError: the pipeline failed before there was something to fit on.
    """
    began = time.perf_counter()
    space = free_fields(config)
    with TaskDisplay(console, trials) as display, _logged(config, verbose):
        display.prepare("pipeline up to Transform")
        train, validation = _load(run_to_transform(config, display, verbose=verbose))
        study = _open_study(config, train, validation)
        display.skip(_count(study))
        while _count(study) < trials and (
            timeout is None or time.perf_counter() - began < timeout or not _count(study)
        ):
            number = _count(study)
            display.start(f"preset {config.trainer.preset}")
            study.sampler = optuna.samplers.TPESampler(seed=_seed(config, number))
            if number == 0:
                study.enqueue_trial(_defaults(config, space))
            trial = study.ask()
            values = {name: field.suggest(trial, name) for name, field in space.items()}
            rmse = evaluate(config, values, train, validation)
            if rmse is None:
                study.tell(trial, state=TrialState.PRUNED)
                display.end(f"no finite ratings with {_shown(values)}")
                continue
            study.tell(trial, rmse)
            found = _found(config, study, space)
            display.end(f"RMSE {rmse:.4f} on eval, best {found.rmse:.4f}; {_shown(values)}")
        return _found(config, study, space)


def describe(found: Found) -> str:
    """How good the best trial is, in one line."""
    default = "none" if found.default_rmse is None else f"{found.default_rmse:.4f}"
    return f"best of {found.trials} trials: RMSE {found.rmse:.4f} on held-out ratings; the preset as it is: {default}"


def free_fields(config: PipelineConfig) -> dict[str, Range]:
    """The search space of the configuration's preset, without what `trainer.model` holds fixed.

    Raises:
      UserError: there is none, or nothing is left of it.
    """
    preset = config.trainer.preset
    if preset not in SPACES:
        raise UserError(f"expected a preset with a search space, one of {', '.join(SPACES)}; got {preset!r}")
    left = {name: field for name, field in SPACES[preset].items() if name not in config.trainer.model}
    if not left:
        raise UserError(
            f"expected a field to search for; all of {', '.join(SPACES[preset])} are held fixed; set fewer of them"
        )
    return left


def evaluate(config: PipelineConfig, values: Mapping[str, float], train: Ratings, validation: Ratings) -> float | None:
    """RMSE on held-out ratings after a fit on others, stars; None if the fit or a rating is not finite.

    Args:
      config: preset, seed and fixed fields.
      values: the other fields.
      train: what to fit on.
      validation: what to rate; a preset that chooses does so on it, too.
    """
    preset = presets.get(config.trainer.preset)
    module = preset.load()
    seed = config.trainer.seed
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    settings = presets.build_config(config.trainer.preset, {**config.trainer.model, **values})
    try:
        if preset.chooses:
            settings = module.choose(train, validation, settings, seed=seed, report=progress.report).config
        model = module.fit(train, settings, seed=seed, log_dir=None, report=progress.report)
    except tf.errors.InvalidArgumentError:
        # A matrix that is not positive definite: the priors are too weak for float32.
        logging.getLogger(__name__).warning("the fit failed with %s", settings, exc_info=True)
        return None
    ids = {USER_ID.name: tf.constant(validation.user), MOVIE_TITLE.name: tf.constant(validation.title)}
    predictions = model(ids).numpy()[:, 0]
    if not np.isfinite(predictions).all():
        return None
    return metrics.rmse(validation.rating, np.clip(predictions, validation.low, validation.high))


def _load(transformed: Transformed) -> tuple[Ratings, Ratings]:
    """What to fit on and what to judge on; the latter is carved from `train` where there is no `eval`."""
    train = transformed.load("train")
    if transformed.config.data.has_eval:
        return train, transformed.load("eval")
    return dataset.carve(train)


def _logged(config: PipelineConfig, verbose: bool) -> Any:
    return captured(os.path.join(config.output, "logs", "tune.log"), also_on_terminal=verbose)


def _open_study(config: PipelineConfig, train: Ratings, validation: Ratings) -> optuna.Study:
    """The study of this preset, data and code; trials that a killed process left behind are closed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    digest = hashlib.sha256(fingerprint(presets.get(config.trainer.preset).module, "modules.trainer").encode())
    digest.update(json.dumps([config.trainer.seed, config.trainer.model], sort_keys=True).encode())
    for ratings in (train, validation):
        for column in (ratings.user, ratings.title, ratings.rating, ratings.user_features, ratings.title_features):
            digest.update(np.ascontiguousarray(column).tobytes())
    os.makedirs(config.output, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{os.path.join(paths.plain(config.output), STORAGE_FILE)}",
        study_name=f"{config.trainer.preset}-{digest.hexdigest()[:16]}",
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _count(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def _seed(config: PipelineConfig, number: int) -> int:
    return int(np.random.SeedSequence([config.trainer.seed, number]).generate_state(1)[0])


def _defaults(config: PipelineConfig, space: Mapping[str, Range]) -> dict[str, Any]:
    settings = presets.build_config(config.trainer.preset, config.trainer.model)
    return {name: getattr(settings, name) for name in space}


def _found(config: PipelineConfig, study: optuna.Study, space: Mapping[str, Range]) -> Found:
    """The best of the trials, written to the configuration file."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise UserError("expected a trial with finite ratings; there is none; see logs/tune.log in the output folder")
    best = min(complete, key=_value)
    first = study.get_trials(deepcopy=False, states=FINISHED)[0]
    values = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in best.params.items()}
    found = Found(
        rmse=_value(best),
        default_rmse=first.value,
        values=values,
        trials=_count(study),
        config_file=pathlib.Path(config.output, f"{config.trainer.preset}.yaml"),
    )
    settings = {
        "trainer": {
            "preset": config.trainer.preset,
            "seed": config.trainer.seed,
            "model": {**config.trainer.model, **values},
        }
    }
    text = f"# {describe(found)}\n{yaml.safe_dump(settings, sort_keys=False)}"
    atomic.write_text(found.config_file, text)
    return found


def _value(trial: FrozenTrial) -> float:
    if trial.value is None:
        raise UserError(f"expected a value of the complete trial {trial.number}; got none; remove {STORAGE_FILE}")
    return trial.value


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
