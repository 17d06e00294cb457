"""The models by name: where each lives, how it is configured and what it must achieve to be pushed."""

from __future__ import annotations

import dataclasses
import importlib
import types
from typing import Any, Literal, get_args

from modules.errors import UserError
from modules.model_configs import BayesianConfig, HistoryConfig, ModelConfig, NotebookConfig

# The predictors that a model can be asked to beat, as outputs of its signature `evaluation` are named; or none.
Baseline = Literal["user_title_bias", "title_mean", "global_mean"]
NO_BASELINE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """A named model.

    Attributes:
      module: import path of the model file, which has a `fit`.
      config: its configuration, which may be built without importing the module.
      rmse_bound: default upper bound of the test RMSE on a scale that spans four stars, as 1 to 5 does.
      baseline: what it must be better than to be blessed, by the paired test on the test ratings.
      distributes: its `fit`, and its `choose` if it has one, take a `strategy`, which is a `tf.distribute.Strategy`, to
        train on several devices or workers.
      resumes: its `fit` takes `checkpoints`, a folder for what it goes on from after a kill.
      chooses: the model picks something on held-out ratings (it has a `choose`), then fits on all of them.
      summary: one line for help texts.
    """

    module: str
    config: type[ModelConfig]
    rmse_bound: float
    summary: str
    baseline: Baseline = "user_title_bias"
    chooses: bool = False
    resumes: bool = False
    distributes: bool = False

    def load(self) -> types.ModuleType:
        """Imports the model file, and TensorFlow with it."""
        return importlib.import_module(self.module)


PRESETS = {
    "default": Preset(
        module="modules.bayesian_model",
        config=BayesianConfig,
        rmse_bound=0.95,
        summary="Bayesian matrix factorisation with side information, the most accurate",
        chooses=True,
        resumes=True,
    ),
    "fast": Preset(
        module="modules.history_model",
        config=HistoryConfig,
        rmse_bound=0.98,
        summary="embeddings that pool what a user rated and who rated a title, trained in seconds by gradients",
        chooses=True,
        distributes=True,
    ),
    "notebook": Preset(
        module="modules.notebook_model",
        config=NotebookConfig,
        rmse_bound=1.2,
        baseline="global_mean",
        summary="two embeddings and a small network, three epochs; the tutorial model to the letter",
        distributes=True,
    ),
}
DEFAULT_PRESET = "default"
# Under either of these names a model's configuration says how often it passes over the ratings.
BUDGET_FIELDS = ("epochs", "iterations")


def get(name: str) -> Preset:
    """The preset of that name.

    Raises:
      UserError: there is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UserError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}") from None


def required_baseline(name: str) -> str | None:
    """The baseline that a model must beat.

    Args:
      name: of a preset, for its own; of a baseline; or `none`.

    Raises:
      UserError: it is none of these.
    """
    if name == NO_BASELINE:
        return None
    if name in get_args(Baseline):
        return name
    if name in PRESETS:
        return PRESETS[name].baseline
    expected = ", ".join((*get_args(Baseline), NO_BASELINE, *PRESETS))
    raise UserError(f"baseline must be one of {expected}; got {name!r}; name a preset for its own")


def check_strategy(name: str, strategy: str) -> None:
    """Checks that a preset can be trained under a strategy.

    Args:
      name: of the preset.
      strategy: one of `distribution.NAMES`.

    Raises:
      UserError: there is no such preset, or it is trained on one device only.
    """
    if strategy != "none" and not get(name).distributes:
        able = ", ".join(each for each, preset in PRESETS.items() if preset.distributes)
        raise UserError(
            f"strategy {strategy} needs a preset that trains on several devices: {able}; got {name}, whose steps "
            "build on one another on one device; take another preset, or strategy none"
        )


def build_config(name: str, values: dict[str, Any]) -> ModelConfig:
    """The preset's model configuration with `values` over its defaults.

    Raises:
      UserError: an unknown preset.
      pydantic.ValidationError: an unknown key, or a value out of range.
    """
    return get(name).config(**values)


def budget_field(preset: str) -> str:
    """The field of a preset's model that says how long it is trained.

    Raises:
      UserError: an unknown preset, or one without such a field.
    """
    fields = get(preset).config.model_fields
    for name in BUDGET_FIELDS:
        if name in fields:
            return name
    raise UserError(
        f"expected a preset with one of the fields {', '.join(BUDGET_FIELDS)} for the training budget; "
        f"got {preset!r}, which has {', '.join(fields)}; leave the training budget at 0"
    )
