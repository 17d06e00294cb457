"""AnomalyGate: stops the run before training when the data does not fit the schema."""

import json
import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from components.errors import AnomaliesError


def describe(split: str, anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One line an anomaly: split, feature, reason."""
    lines = [
        f"{split}: {name}: {info.short_description}: {info.description}"
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"{split}: whole data set: {anomalies.dataset_anomaly_info.description}")
    if anomalies.data_missing:
        lines.append(f"{split}: whole data set: no examples; expected at least one")
    return lines


def check(found: dict[str, anomalies_pb2.Anomalies]) -> None:
    """Accepts anomalies by split if there are none.

    Raises:
      AnomaliesError: names each split, feature and reason.
    """
    lines = [line for split, anomalies in found.items() for line in describe(split, anomalies)]
    if lines:
        raise AnomaliesError(
            "the data does not fit the schema; nothing was trained:\n  "
            + "\n  ".join(lines)
            + "\nMend the data (`movie-ranking data prepare` finds bad rows), or the schema if the data is right."
        )


def read_anomalies(artifact: standard_artifacts.ExampleAnomalies, split: str) -> anomalies_pb2.Anomalies:
    """Reads what ExampleValidator wrote for a split."""
    path = os.path.join(artifact_utils.get_split_uri([artifact], split), "SchemaDiff.pb")
    with fileio.open(path, "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


@component
def AnomalyGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    verdict: OutputArtifact[standard_artifacts.ExampleValidationMetrics],
    code_fingerprint: Parameter[str],
) -> None:
    """Lets a run go on only if ExampleValidator found nothing in any split.

    ExampleValidator itself writes what it finds, and the run goes on.

    Args:
      anomalies: what ExampleValidator found.
      verdict: the splits that were looked at, as JSON.
      code_fingerprint: of this component's code, so that an edit invalidates the cache.

    Raises:
      AnomaliesError: names each split, feature and reason.
    """
    del code_fingerprint
    splits = artifact_utils.decode_split_names(anomalies.split_names)
    check({split: read_anomalies(anomalies, split) for split in splits})
    with fileio.open(os.path.join(verdict.uri, "verdict.json"), "w") as file:
        json.dump({"splits": splits, "anomalies": 0}, file)
