"""Pushers push what both verdicts name, and nothing else."""

from __future__ import annotations

import json
import pathlib

import pytest
from tfx import types
from tfx.components.pusher import executor as tfx_pusher
from tfx.types import standard_artifacts

from components import model_digest, model_pusher
from components.errors import IntegrityError


def artifact(kind: type[types.Artifact], folder: pathlib.Path, **properties: str | int) -> types.Artifact:
    made = kind()
    made.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in properties.items():
        set_property = made.set_int_custom_property if isinstance(value, int) else made.set_string_custom_property
        set_property(name, value)
    return made


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "model" / "Format-Serving"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


def verdicts(tmp_path: pathlib.Path, model: pathlib.Path, **changes: dict) -> dict[str, list[types.Artifact]]:
    """A model and what was said of it; changes are properties of one verdict."""
    digest = model_digest.of_folder(str(model))
    kinds = {"model_blessing": standard_artifacts.ModelBlessing, "infra_blessing": standard_artifacts.InfraBlessing}
    given = {
        name: [artifact(kind, tmp_path / name, **{"blessed": 1, "model_digest": digest, **changes.get(name, {})})]
        for name, kind in kinds.items()
    }
    # What TFX's InfraValidator writes, and Pusher asks for.
    (tmp_path / "infra_blessing" / "INFRA_BLESSED").write_text("")
    return {"model": [artifact(standard_artifacts.Model, model.parent)], **given}


def push(tmp_path: pathlib.Path, inputs: dict[str, list[types.Artifact]]) -> types.Artifact:
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    destination = {"filesystem": {"base_directory": str(tmp_path / "serving_model")}}
    model_pusher.Executor().Do(inputs, {"pushed_model": [pushed]}, {"push_destination": json.dumps(destination)})
    return pushed


def test_a_blessed_model_is_pushed_with_its_digest(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    pushed = push(tmp_path, verdicts(tmp_path, model))
    (version,) = (tmp_path / "serving_model").iterdir()
    digest = model_digest.of_folder(str(version))
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_string_custom_property("model_digest") == digest == model_digest.of_folder(str(model))
    record = tmp_path / ".serving_model.judged" / f"{version.name}.json"
    assert json.loads(record.read_text()) == {"model_digest": digest}


@pytest.mark.parametrize("judge", ["model_blessing", "infra_blessing"])
def test_a_model_that_one_judge_did_not_bless_is_not_pushed(tmp_path, model: pathlib.Path, judge: str) -> None:
    pushed = push(tmp_path, verdicts(tmp_path, model, **{judge: {"blessed": 0}}))
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.has_custom_property("pushed"), "what is not said reads as 0, too"
    assert not (tmp_path / "serving_model").exists()


@pytest.mark.parametrize("judge", ["model_blessing", "infra_blessing"])
@pytest.mark.parametrize(
    ("digest", "said"),
    [("", "expected a verdict that names the digest .*; run with"), ("0" * 64, "expected verdicts on the same files")],
)
def test_verdicts_that_do_not_name_the_model_push_nothing(tmp_path, model, judge: str, digest: str, said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        push(tmp_path, verdicts(tmp_path, model, **{judge: {"model_digest": digest}}))
    assert not (tmp_path / "serving_model").exists()


def test_what_was_damaged_after_the_verdicts_is_not_pushed(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    inputs = verdicts(tmp_path, model)
    (model / "saved_model.pb").write_bytes(b"grapi")
    with pytest.raises(IntegrityError, match=r"the files that were judged, .* run with --from Trainer --no-cache"):
        push(tmp_path, inputs)
    assert not list((tmp_path / "serving_model").iterdir())


def test_the_component_carries_the_folder_and_what_the_cache_compares() -> None:
    kinds = {
        "model": standard_artifacts.Model,
        "model_blessing": standard_artifacts.ModelBlessing,
        "infra_blessing": standard_artifacts.InfraBlessing,
    }
    channels = {key: types.Channel(type=kind) for key, kind in kinds.items()}
    component = model_pusher.ModelPusher(**channels, folder="serving_model", code_fingerprint="abc")
    assert component.inputs == channels
    destination = {"filesystem": {"base_directory": "serving_model"}}
    assert json.loads(component.exec_properties["push_destination"]) == destination
    assert json.loads(component.exec_properties["custom_config"]) == {"code_fingerprint": "abc"}


def test_it_is_a_pusher_to_tfx() -> None:
    assert issubclass(model_pusher.Executor, tfx_pusher.Executor)


def test_an_endpoint_gets_what_was_judged_alone(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    pytest.importorskip("google.cloud.aiplatform", reason="the extra `vertex` is not installed")
    from components import vertex_pusher

    inputs = verdicts(tmp_path, model)
    executor = vertex_pusher.Executor()
    assert executor.CheckBlessing(inputs)
    assert not executor.CheckBlessing(verdicts(tmp_path, model, model_blessing={"blessed": 0}))
    (model / "saved_model.pb").write_bytes(b"grapi")
    with pytest.raises(IntegrityError, match="the files that were judged"):
        executor.CheckBlessing(inputs)
