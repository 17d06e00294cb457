"""The search for hyper-parameters, on ratings small enough for a fit to take a moment."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import TrialState
from rich.console import Console

from data import synthetic
from modules import dataset, features, metrics, presets
from modules.ratings import Ratings
from pipeline import cli
from pipeline.config import resolve
from pipeline.config.pipeline_config import DataConfig, PipelineConfig, TrainerConfig
from pipeline.exit_codes import ExitCode
from pipeline.experiments import tuning
from pipeline.experiments.tuning import Range
from pipeline.local import run

# Held fixed so that a fit is short; not searched, therefore.
FIXED = {"epochs": 3, "steps": 5, "dimension": 4, "hidden_units": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("ratings")
    synthetic.write(path, rows=1_500, users=30, titles=80, seed=6)
    return path


@pytest.fixture(scope="module")
def parts() -> tuple[Ratings, Ratings]:
    made = synthetic.generate(1_500, seed=6, users=30, titles=80)
    ratings = Ratings(
        user=made.user,
        title=made.title,
        rating=made.rating,
        num_users=30,
        num_titles=80,
        low=1.0,
        high=5.0,
        user_features=np.zeros((30, features.USER_FEATURES_SIZE), np.float32),
        title_features=np.zeros((80, features.TITLE_FEATURES_SIZE), np.float32),
    )
    return dataset.carve(ratings, 20)


def config_of(preset: str, **values) -> PipelineConfig:
    return PipelineConfig(data=DataConfig(root="/data"), trainer=TrainerConfig(preset=preset, model=values))


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_every_preset_has_a_space_around_its_defaults(preset: str) -> None:
    space = tuning.SPACES[preset]
    defaults = presets.build_config(preset, {})
    for name, field in space.items():
        value = getattr(defaults, name)
        assert field.low <= value <= field.high, name
        assert isinstance(value, int) == (isinstance(field.low, int) and isinstance(field.high, int)), name
    # The model takes both ends of every field.
    for ends in ("low", "high"):
        presets.build_config(preset, {name: getattr(field, ends) for name, field in space.items()})


def test_a_value_keeps_four_digits_within_its_range() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        scale = Range(low=0.1, high=1.5, log=True).suggest(trial, "scale")
        assert scale == float(f"{scale:.4g}")
        assert 0.1 <= scale <= 1.5
        assert isinstance(Range(low=2, high=9).suggest(trial, "size"), int)


def test_what_is_held_fixed_is_not_searched() -> None:
    assert set(tuning.SPACES["fast"]) - set(tuning.free_fields(config_of("fast", **FIXED))) == {
        "epochs",
        "dimension",
        "hidden_units",
    }


def test_a_space_with_nothing_left_is_refused() -> None:
    defaults = presets.build_config("notebook", {})
    fixed = {name: getattr(defaults, name) for name in tuning.SPACES["notebook"]}
    with pytest.raises(ValueError, match="expected a field to search for; all of embedding_dimension"):
        tuning.free_fields(config_of("notebook", **fixed))


def test_a_preset_without_a_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(tuning.SPACES, "fast")
    with pytest.raises(ValueError, match="expected a preset with a search space, one of default, notebook; got 'fast'"):
        tuning.free_fields(config_of("fast"))


def test_a_trial_is_judged_by_its_error_on_held_out_ratings(parts: tuple[Ratings, Ratings]) -> None:
    """Against a fit by hand; the scale bounds what is compared."""
    train, validation = parts
    config = config_of("notebook", batch_size=128)
    value = tuning.evaluate(config, {"epochs": 4}, train, validation)
    preset = presets.get("notebook").load()
    settings = preset.NotebookConfig(batch_size=128, epochs=4)
    model = preset.fit(train, settings, seed=config.trainer.seed, log_dir=None, report=lambda _: None)
    predictions = model({"user_id": validation.user, "movie_title": validation.title}).numpy()[:, 0]
    assert value == pytest.approx(metrics.rmse(validation.rating, np.clip(predictions, 1, 5)), abs=1e-6)
    narrow = dataclasses.replace(validation, low=2.9, high=3.1)
    bounded = tuning.evaluate(config, {"epochs": 4}, train, narrow)
    assert bounded == pytest.approx(metrics.rmse(validation.rating, np.clip(predictions, 2.9, 3.1)), abs=1e-6)


def test_a_preset_that_chooses_does_so_on_the_held_out_ratings(parts: tuple[Ratings, Ratings]) -> None:
    train, validation = parts
    config = config_of("fast", **FIXED)
    preset = presets.get("fast").load()
    settings = presets.build_config("fast", FIXED)
    chosen = preset.choose(train, validation, settings, seed=config.trainer.seed, report=lambda _: None).config
    model = preset.fit(train, chosen, seed=config.trainer.seed, log_dir=None, report=lambda _: None)
    predictions = model({"user_id": validation.user, "movie_title": validation.title}).numpy()[:, 0]
    expected = metrics.rmse(validation.rating, np.clip(predictions, 1, 5))
    assert tuning.evaluate(config, {}, train, validation) == pytest.approx(expected, abs=1e-5)


def test_a_fit_that_diverges_is_no_rating(parts: tuple[Ratings, Ratings]) -> None:
    assert tuning.evaluate(config_of("notebook", learning_rate=1e30), {}, *parts) is None


@pytest.mark.slow
class TestSearch:
    """In order, on one output folder, as a user's calls would be."""

    @pytest.fixture(scope="class")
    def output(self, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
        return tmp_path_factory.mktemp("output")

    @pytest.fixture
    def config(self, folder: pathlib.Path, output: pathlib.Path) -> PipelineConfig:
        fixed = tuple(f"trainer.model.{name}={value}" for name, value in FIXED.items())
        values = {"trainer.preset": "fast", "data.root": str(folder), "output": str(output), "trainer.seed": 3}
        return resolve.resolve(values, assignments=fixed)

    def search(self, config: PipelineConfig, trials: int, timeout: float | None = None) -> tuning.Found:
        return tuning.search(config, trials=trials, timeout=timeout, console=Console(quiet=True))

    def trials(self, output: pathlib.Path) -> list[optuna.trial.FrozenTrial]:
        storage = f"sqlite:///{output / tuning.STORAGE_FILE}"
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).get_trials()

    def test_time_that_is_up_leaves_one_trial_the_defaults(self, config, output: pathlib.Path) -> None:
        found = self.search(config, trials=3, timeout=1e-3)
        (trial,) = self.trials(output)
        defaults = presets.build_config("fast", {})
        assert trial.params == {name: getattr(defaults, name) for name in tuning.free_fields(config)}
        assert found.rmse == found.default_rmse == trial.value

    def test_a_search_goes_on_where_it_was(self, config, output: pathlib.Path) -> None:
        (earlier,) = self.trials(output)
        # As a process leaves it that is killed while it fits.
        storage = f"sqlite:///{output / tuning.STORAGE_FILE}"
        optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage).ask()
        found = self.search(config, trials=3)
        trials = self.trials(output)
        assert [trial.state for trial in trials] == [
            TrialState.COMPLETE,
            TrialState.FAIL,
            TrialState.COMPLETE,
            TrialState.COMPLETE,
        ]
        assert trials[0].value == earlier.value
        assert trials[2].params != trials[3].params != trials[0].params
        complete = [trial for trial in trials if trial.value is not None]
        assert found.trials == 3
        assert found.rmse == min(trial.value for trial in complete)

    def test_the_file_is_a_configuration_that_runs(self, config, folder: pathlib.Path, tmp_path, output) -> None:
        found = self.search(config, trials=3)
        assert len(self.trials(output)) == 4
        assert yaml.safe_load(found.config_file.read_text())["trainer"]["preset"] == "fast"
        resolved = resolve.resolve(
            {"data.root": str(folder), "output": str(tmp_path)}, config_file=str(found.config_file)
        )
        assert (resolved.trainer.preset, resolved.trainer.seed) == ("fast", 3)
        assert resolved.trainer.model == {**FIXED, **found.values}
        best = min((trial for trial in self.trials(output) if trial.value is not None), key=lambda trial: trial.value)
        assert found.values == pytest.approx(best.params, rel=1e-3)
        assert run.run(resolved, plain=True, to_component="Trainer") == ExitCode.STOPPED_EARLY

    def test_an_uninterrupted_search_finds_the_same(self, config, output: pathlib.Path, tmp_path) -> None:
        elsewhere = config.model_copy(update={"output": str(tmp_path)})
        self.search(elsewhere, trials=3)
        one, other = (
            [(trial.params, trial.value) for trial in self.trials(folder) if trial.value is not None]
            for folder in (output, tmp_path)
        )
        assert [params for params, _ in one] == [params for params, _ in other]
        np.testing.assert_allclose([value for _, value in one], [value for _, value in other], atol=5e-5)

    def test_test_ratings_are_never_read(self, config, tmp_path: pathlib.Path, monkeypatch) -> None:
        loaded = []
        load = tuning.Transformed.load
        monkeypatch.setattr(tuning.Transformed, "load", lambda self, split: loaded.append(split) or load(self, split))
        self.search(config, trials=1)
        assert loaded == ["train", "eval"]

    def test_the_command(self, folder: pathlib.Path, output: pathlib.Path, capfd) -> None:
        fixed = [each for name, value in FIXED.items() for each in ("--set", f"trainer.model.{name}={value}")]
        options = ["--preset", "fast", "--seed", "3", "--trials", "3", "--data", str(folder), "--output", str(output)]
        with pytest.raises(SystemExit) as done:
            cli.main(["tune", *options, *fixed])
        assert done.value.code == 0
        shown = capfd.readouterr().out
        assert "best of 3 trials: RMSE" in shown
        assert f"movie-ranking run --config {output / 'fast.yaml'}" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "best"], "Invalid value for '--preset'"),
        (["--trials", "0"], "Invalid value for '--trials'"),
        (["--timeout", "0"], "Invalid value for '--timeout'"),
        (["--set", "trainer.model.speed=1"], "speed"),
        (["--data", "/nowhere"], "expected ratings.csv"),
    ],
)
def test_bad_input_is_named(folder, tmp_path, capsys, arguments: list[str], said: str) -> None:
    data = [] if "--data" in arguments else ["--data", str(folder)]
    with pytest.raises(SystemExit) as done:
        cli.main(["tune", *data, "--output", str(tmp_path), *arguments])
    assert done.value.code == ExitCode.BAD_INPUT
    assert said in capsys.readouterr().err
