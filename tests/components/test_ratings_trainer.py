"""Parameters of a submission over Trainer's settings."""

from __future__ import annotations

import pytest

from components import ratings_trainer

SETTINGS = {"preset": "notebook", "seed": 42, "model": {"batch_size": 256}, "has_eval": True}


def test_without_parameters_the_settings_stay() -> None:
    assert ratings_trainer.with_overrides(SETTINGS, {"preset": None, "run_fn": "x", "training_budget": 0}) == SETTINGS


def test_parameters_overrule_the_settings() -> None:
    merged = ratings_trainer.with_overrides(SETTINGS, {"seed": 0, "training_budget": 5, "preset": "notebook"})
    assert merged == {**SETTINGS, "seed": 0, "model": {"batch_size": 256, "epochs": 5}}
    assert SETTINGS["model"] == {"batch_size": 256}


@pytest.mark.parametrize(("preset", "field"), [("notebook", "epochs"), ("default", "iterations")])
def test_the_budget_is_the_length_of_the_training(preset: str, field: str) -> None:
    assert ratings_trainer.budget_field(preset) == field


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset must be one of"):
        ratings_trainer.budget_field("nonesuch")


def test_a_preset_without_a_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings_trainer, "BUDGET_FIELDS", ("rounds",))
    with pytest.raises(ValueError, match=r"one of the fields rounds.*embedding_dimension.*training budget at 0"):
        ratings_trainer.budget_field("notebook")
