"""The presets by name, and their configurations, which need no TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from modules import presets
from modules.model_configs import BayesianConfig, HistoryConfig, NotebookConfig
from tests.conftest import ROOT


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset must be one of default, fast, notebook; got 'best'"):
        presets.get("best")


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (BayesianConfig, {"factors": 0}),
        (BayesianConfig, {"iterations": 0}),
        (BayesianConfig, {"burn_in": 800}),
        (BayesianConfig, {"pilot_iterations": 29, "pilot_burn_in": 10}),
        (BayesianConfig, {"form": "best"}),
        (BayesianConfig, {"form_weight": 1.1}),
        (HistoryConfig, {"model_weight": 0}),
        (HistoryConfig, {"epochs": 0}),
        (HistoryConfig, {"schedule_epochs": 4}),
        (HistoryConfig, {"hidden_share": 1.0}),
        (HistoryConfig, {"learning_rate": 0}),
        (NotebookConfig, {"epochs": 0}),
        (NotebookConfig, {"hidden_units": (0,)}),
        (NotebookConfig, {"learning_rate": -1}),
    ],
)
def test_values_out_of_range_are_refused(config: type, values: dict) -> None:
    with pytest.raises(ValidationError):
        config(**values)


def test_a_schedule_is_as_long_as_the_training_or_longer() -> None:
    for schedule in (None, 5, 6):
        assert HistoryConfig(epochs=5, schedule_epochs=schedule).schedule_epochs == schedule


def test_a_short_fit_of_the_sampler_is_as_long_as_a_pilot_and_ends_no_sooner() -> None:
    short = BayesianConfig(pilot_iterations=50, pilot_burn_in=20, factors=3).of_short_fit()
    assert (short.iterations, short.burn_in, short.tolerance, short.factors) == (50, 20, 0.0, 3)


@pytest.mark.parametrize(("preset", "field"), [("notebook", "epochs"), ("default", "iterations")])
def test_the_budget_is_the_length_of_the_training(preset: str, field: str) -> None:
    assert presets.budget_field(preset) == field


def test_a_preset_without_a_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "BUDGET_FIELDS", ("rounds",))
    with pytest.raises(ValueError, match=r"one of the fields rounds.*embedding_dimension.*training budget at 0"):
        presets.budget_field("notebook")


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        ("none", None),
        ("title_mean", "title_mean"),
        ("user_title_bias", "user_title_bias"),
        ("notebook", "global_mean"),
        ("fast", "user_title_bias"),
    ],
)
def test_a_baseline_is_named_by_itself_or_by_a_preset(name: str, baseline: str | None) -> None:
    assert presets.required_baseline(name) == baseline


def test_a_baseline_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"baseline must be one of user_title_bias, .*, none, default, .*; got 'mean'"):
        presets.required_baseline("mean")


@pytest.mark.parametrize("preset", ["fast", "notebook"])
def test_presets_that_are_trained_by_gradients_take_a_strategy(preset: str) -> None:
    presets.check_strategy(preset, "mirrored")
    presets.check_strategy(preset, "none")


def test_a_sampler_takes_no_strategy() -> None:
    presets.check_strategy("default", "none")
    with pytest.raises(ValueError, match=r"strategy mirrored needs a preset that .*: fast, notebook; got default"):
        presets.check_strategy("default", "mirrored")


def test_a_configuration_is_built_without_tensorflow() -> None:
    script = (
        "import sys\n"
        "from pipeline.config.pipeline_config import DataConfig, PipelineConfig\n"
        "PipelineConfig(data=DataConfig(root='x'))\n"
        "print([name for name in ('tensorflow', 'tfx', 'apache_beam', 'ml_metadata', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
