"""The schema and the gate together: each kind of anomaly trips it, clean data passes."""

from __future__ import annotations

import json
import pathlib

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.anomaly_gate import AnomalyGate, check, describe
from components.curated_schema import columns_present, curate
from components.errors import AnomaliesError
from tests.components.test_model_pusher import artifact

CLEAN = {
    "user_id": ["1", "2", "3"],
    "movie_title": ["A", "B", "C"],
    "user_rating": [1.0, 5.0, 3.5],
    "timestamp": [881250949, 881250950, 881250951],
}


def validate(**changed: list) -> anomalies_pb2.Anomalies:
    columns = {**CLEAN, **changed}
    frame = pd.DataFrame({name: pd.Series(values) for name, values in columns.items() if values is not None})
    schema = curate(1.0, 5.0, columns_present(tfdv.generate_statistics_from_dataframe(pd.DataFrame(CLEAN))))
    return tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(frame), schema)


def test_clean_data_pass() -> None:
    check({"train": validate(), "eval": validate()})


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        ("user_rating", [0.5, 5.0, 3.0]),
        ("user_rating", [1.0, 5.5, 3.0]),
        ("user_rating", [1.0, float("nan"), 3.0]),
        ("user_rating", [1.0, float("inf"), 3.0]),
        ("user_rating", ["1", "5", "3"]),
        ("user_id", [1, 2, 3]),
        ("user_id", ["1", None, "3"]),
        ("movie_title", None),
        ("timestamp", [-5, 881250950, 881250951]),
        ("timestamp", [[881250949, 881250950], [881250951], [881250952]]),
        ("mood", ["good", "bad", "good"]),
    ],
)
def test_each_anomaly_trips_the_gate_and_is_named(feature: str, values: list | None) -> None:
    with pytest.raises(AnomaliesError) as caught:
        check({"train": validate(), "test": validate(**{feature: values})})
    named = [line for line in str(caught.value).splitlines() if line.startswith("  test: ")]
    assert [line.split(": ")[1] for line in named] == [feature]


def test_missing_data_is_an_anomaly() -> None:
    assert describe("eval", anomalies_pb2.Anomalies(data_missing=True)) == [
        "eval: whole data set: no examples; expected at least one"
    ]


def test_what_is_wrong_with_the_whole_is_an_anomaly() -> None:
    found = anomalies_pb2.Anomalies()
    found.dataset_anomaly_info.description = "fewer examples than expected"
    assert describe("train", found) == ["train: whole data set: fewer examples than expected"]


def pass_gate(folder: pathlib.Path, **found: anomalies_pb2.Anomalies) -> pathlib.Path:
    """Runs the component on what was found by split; returns the folder of its verdict."""
    anomalies = artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
    anomalies.split_names = artifact_utils.encode_split_names(list(found))
    for split, each in found.items():
        (folder / "anomalies" / f"Split-{split}").mkdir()
        (folder / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").write_bytes(each.SerializeToString())
    verdict = artifact(standard_artifacts.ExampleValidationMetrics, folder / "verdict")
    AnomalyGate.EXECUTOR_SPEC.executor_class().Do(
        {"anomalies": [anomalies]}, {"verdict": [verdict]}, {"code_fingerprint": ""}
    )
    return folder / "verdict"


def test_the_component_tells_which_splits_were_looked_at(tmp_path: pathlib.Path) -> None:
    (file,) = pass_gate(tmp_path, train=anomalies_pb2.Anomalies(), eval=anomalies_pb2.Anomalies()).iterdir()
    assert json.loads(file.read_text()) == {"splits": ["train", "eval"], "anomalies": 0}


def test_the_component_stops_the_run_for_any_split(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AnomaliesError, match="eval: whole data set: no examples"):
        pass_gate(tmp_path, train=anomalies_pb2.Anomalies(), eval=anomalies_pb2.Anomalies(data_missing=True))
    assert not list((tmp_path / "verdict").iterdir())
