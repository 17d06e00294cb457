"""Which model a candidate is compared with, run by run."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from tfx.types import standard_artifacts

from components import model_digest
from pipeline.graph.blessed_model import OtherBlessedModelStrategy

CONTENT = b"graph"


def model(folder: pathlib.Path, number: int) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.id, artifact.uri = number, str(folder / str(number))
    (folder / str(number) / "Format-Serving").mkdir(parents=True)
    (folder / str(number) / "Format-Serving" / "saved_model.pb").write_bytes(CONTENT)
    return artifact


@pytest.fixture(scope="module", autouse=True)
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models")
    return model_digest.of_folder(model(folder, 1).uri + "/Format-Serving")


def blessing(number: int, of: int, blessed: bool = True) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = number
    artifact.set_int_custom_property("current_model_id", of)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def resolve(models: list, blessings: list, candidate: standard_artifacts.Model, digest: str) -> dict:
    for each in blessings:
        each.set_string_custom_property("model_digest", digest)
    given = {"model": models, "model_blessing": blessings, "candidate": [candidate]}
    return OtherBlessedModelStrategy().resolve_artifacts(None, given)


@pytest.mark.parametrize(
    ("models", "blessings", "candidate", "expected"),
    [
        ([], [], 1, None),
        ([1], [], 1, None),
        # An unchanged re-run: the only blessed model is the candidate itself.
        ([1], [blessing(10, 1)], 1, None),
        ([1, 2], [blessing(10, 1)], 2, 1),
        ([1, 2, 3], [blessing(10, 1), blessing(11, 2)], 3, 2),
        ([1, 2, 3], [blessing(10, 1), blessing(11, 2, blessed=False)], 3, 1),
        # Back to the first configuration: it has to hold its own against the second model.
        ([1, 2], [blessing(10, 1), blessing(11, 2)], 1, 2),
        # The first model was blessed again after the second; a third is compared with it.
        ([1, 2, 3], [blessing(10, 1), blessing(11, 2), blessing(12, 1)], 3, 1),
        ([1, 2, 3], [blessing(12, 1), blessing(11, 2), blessing(10, 1)], 3, 1),
    ],
)
def test_the_latest_blessed_model_other_than_the_candidate(
    tmp_path: pathlib.Path, digest: str, models, blessings, candidate, expected
) -> None:
    found = [model(tmp_path, number) for number in models]
    judged = next((each for each in found if each.id == candidate), None) or model(tmp_path, candidate)
    resolved = resolve(found, blessings, judged, digest)
    assert [artifact.id for artifact in resolved["model"]] == ([] if expected is None else [expected])
    assert len(resolved["model_blessing"]) == len(resolved["model"])
    assert [artifact.id for artifact in resolved["candidate"]] == [candidate]


def test_what_is_gone_or_damaged_is_passed_over(tmp_path: pathlib.Path, digest: str, caplog) -> None:
    models = {number: model(tmp_path, number) for number in (1, 2, 3, 4)}
    shutil.rmtree(models[3].uri)
    (tmp_path / "2" / "Format-Serving" / "saved_model.pb").write_bytes(CONTENT[:-1])
    blessings = [blessing(10 + number, number) for number in (1, 2, 3)]
    resolved = resolve(list(models.values()), blessings, models[4], digest)
    assert [artifact.id for artifact in resolved["model"]] == [1]
    assert [artifact.id for artifact in resolved["model_blessing"]] == [11]
    assert [record.getMessage() for record in caplog.records if record.name == "movie_ranking.notes"] == [
        f"blessed model 3 is passed over: its files are gone from {models[3].uri}",
        f"blessed model 2 is passed over: the files in {models[2].uri} are not those that were blessed",
    ]
    shutil.rmtree(models[1].uri)
    assert resolve(list(models.values()), blessings, models[4], digest)["model"] == []
