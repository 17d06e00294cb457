"""CuratedSchema: the schema that this project keeps, fitted to the data at hand."""

import importlib.resources
import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from modules import features


def curate(rating_low: float, rating_high: float, present: set[str]) -> schema_pb2.Schema:
    """The curated schema with the rating's domain set and the optional columns that are not `present` left out.

    Raises:
      ValueError: the scale is empty or upside down.
    """
    if not rating_low < rating_high:
        raise ValueError(
            f"the rating scale must run from a lower to a higher value; got {rating_low} to {rating_high}; "
            "set data.rating_low and data.rating_high"
        )
    text = importlib.resources.files("data").joinpath("schema.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    absent = {column.name for column in features.OPTIONAL_COLUMNS} - present
    kept = [feature for feature in schema.feature if feature.name not in absent]
    del schema.feature[:]
    schema.feature.extend(kept)
    rating = next(feature for feature in schema.feature if feature.name == features.USER_RATING.name)
    rating.float_domain.min, rating.float_domain.max = rating_low, rating_high
    return schema


def columns_present(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> set[str]:
    """Names of the features that have a value in at least one example."""
    return {
        feature.path.step[0] if feature.HasField("path") else feature.name
        for dataset in statistics.datasets
        for feature in dataset.features
        if _common(feature).num_non_missing > 0
    }


def _common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def read_statistics(
    artifact: standard_artifacts.ExampleStatistics, split: str
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Reads what StatisticsGen wrote for a split."""
    path = os.path.join(artifact_utils.get_split_uri([artifact], split), "FeatureStats.pb")
    with fileio.open(path, "rb") as file:
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())


@component
def CuratedSchema(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: OutputArtifact[standard_artifacts.Schema],
    rating_low: Parameter[float],
    rating_high: Parameter[float],
    code: Parameter[str],
) -> None:
    """Writes `data/schema.pbtxt` with the domain of the rating scale, and without columns that train does not have.

    Args:
      statistics: of the examples.
      schema: where the schema goes.
      rating_low: lowest rating of the scale.
      rating_high: highest rating of the scale.
      code: fingerprint of this component's code, so that an edit invalidates the cache.
    """
    del code
    curated = curate(rating_low, rating_high, columns_present(read_statistics(statistics, "train")))
    with fileio.open(os.path.join(schema.uri, "schema.pbtxt"), "w") as file:
        file.write(text_format.MessageToString(curated))
