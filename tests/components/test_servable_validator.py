"""The verdict on what a process of its own says of a model."""

from __future__ import annotations

import pathlib

import pytest
from tfx import types
from tfx.types import standard_artifacts

from components import model_digest, probe_process
from components.errors import IntegrityError
from components.servable_validator import ServableValidator
from tests.components.test_model_pusher import artifact


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "model" / "Format-Serving"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


def judge(folder: pathlib.Path, model: pathlib.Path) -> types.Artifact:
    blessing = artifact(standard_artifacts.InfraBlessing, folder / "blessing")
    ServableValidator.EXECUTOR_SPEC.executor_class().Do(
        {"model": [artifact(standard_artifacts.Model, model.parent)]},
        {"blessing": [blessing]},
        {"rating_low": 1.0, "rating_high": 5.0, "code_fingerprint": ""},
    )
    return blessing


@pytest.mark.parametrize(
    ("failures", "file", "blessed"),
    [([], "INFRA_BLESSED", 1), (["not finite", "worst first"], "INFRA_NOT_BLESSED", 0)],
)
def test_a_verdict_has_its_reasons_and_names_the_model(
    tmp_path: pathlib.Path,
    model: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: list[str],
    file: str,
    blessed,
) -> None:
    asked = []
    monkeypatch.setattr(probe_process, "probe", lambda *arguments: asked.append(arguments) or failures)
    verdict = judge(tmp_path, model)
    assert asked == [(str(model), 1.0, 5.0)]
    (written,) = (tmp_path / "blessing").iterdir()
    assert (written.name, written.read_text()) == (file, "\n".join(failures))
    properties = verdict.mlmd_artifact.custom_properties
    assert {name: value.int_value for name, value in properties.items() if value.HasField("int_value")} == {
        "blessed": blessed,
        # It brings no model of its own, which TFX's Pusher would push instead.
        "has_model": 0,
    }
    assert properties["model_digest"].string_value == model_digest.of_folder(str(model))


def test_a_model_that_changes_while_it_is_asked_gets_no_verdict(
    tmp_path: pathlib.Path, model: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(*_: object) -> list[str]:
        (model / "saved_model.pb").write_bytes(b"grapi")
        return []

    monkeypatch.setattr(probe_process, "probe", probe)
    with pytest.raises(IntegrityError, match="the files that were judged"):
        judge(tmp_path, model)
    assert not list((tmp_path / "blessing").iterdir())
