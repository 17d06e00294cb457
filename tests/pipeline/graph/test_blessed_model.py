"""Which model a candidate is compared with, run by run."""

from __future__ import annotations

import pytest
from tfx.types import standard_artifacts

from pipeline.graph.blessed_model import OtherBlessedModelStrategy


def model(number: int) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.id = number
    return artifact


def blessing(number: int, of: int, blessed: bool = True) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = number
    artifact.set_int_custom_property("current_model_id", of)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


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
def test_the_latest_blessed_model_other_than_the_candidate(models, blessings, candidate, expected) -> None:
    resolved = OtherBlessedModelStrategy().resolve_artifacts(
        None,
        {"model": [model(number) for number in models], "model_blessing": blessings, "candidate": [model(candidate)]},
    )
    assert [artifact.id for artifact in resolved["model"]] == ([] if expected is None else [expected])
    assert len(resolved["model_blessing"]) == len(resolved["model"])
    assert [artifact.id for artifact in resolved["candidate"]] == [candidate]
