"""CuratedSchema: the schema of the ratings, made of the columns' records and the rating scale."""

import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from modules import features

_TYPES = {"string": schema_pb2.BYTES, "int": schema_pb2.INT, "float": schema_pb2.FLOAT}
_FILE = "schema.pbtxt"


def curate(rating_low: float, rating_high: float, present: set[str]) -> schema_pb2.Schema:
    """The schema of the ratings' columns, without the optional ones that are not `present`.

    Raises:
      ValueError: the scale is empty or upside down.
    """
    if not rating_low < rating_high:
        raise ValueError(
            f"the rating scale must run from a lower to a higher value; got {rating_low} to {rating_high}; "
            "set data.rating_low and data.rating_high"
        )
    schema = schema_pb2.Schema()
    for column in features.RATINGS.columns:
        if not column.required and column.name not in present:
            continue
        feature = schema.feature.add(name=column.name, type=_TYPES[column.dtype])
        if column.required:
            feature.presence.min_fraction, feature.presence.min_count = 1.0, 1
            feature.shape.SetInParent()
        else:
            feature.value_count.max = 1
        if column.low is not None:
            feature.int_domain.min = column.low
        if column.high is not None:
            feature.int_domain.max = column.high
        if column is features.USER_RATING:
            domain = feature.float_domain
            domain.min, domain.max, domain.disallow_nan, domain.disallow_inf = rating_low, rating_high, True, True
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


def read_scale(artifact: standard_artifacts.Schema) -> tuple[float, float]:
    """Reads the lowest and the highest rating that CuratedSchema allows."""
    with fileio.open(os.path.join(artifact.uri, _FILE)) as file:
        schema = text_format.Parse(file.read(), schema_pb2.Schema())
    (domain,) = (each.float_domain for each in schema.feature if each.name == features.USER_RATING.name)
    # The digits that a float32 has.
    return float(f"{domain.min:.7g}"), float(f"{domain.max:.7g}")


@component
def CuratedSchema(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: OutputArtifact[standard_artifacts.Schema],
    rating_low: Parameter[float],
    rating_high: Parameter[float],
    code_fingerprint: Parameter[str],
) -> None:
    """Writes the schema of `modules.features.RATINGS`, the rating within its scale, no column that no split has.

    SchemaGen, the stock one, infers types, domains and presence from the statistics, so that whatever the data hold is
    as it should be, and ExampleValidator finds nothing in the examples that the schema came from. ImportSchemaGen takes
    a file, in which columns, bounds and scale would be spelled a second time. What this one cannot do: follow columns
    that `modules.features` does not have.

    Args:
      statistics: of the examples.
      schema: where the schema goes.
      rating_low: lowest rating of the scale.
      rating_high: highest rating of the scale.
      code_fingerprint: of this component's code, so that an edit invalidates the cache.
    """
    del code_fingerprint
    splits = artifact_utils.decode_split_names(statistics.split_names)
    present = set().union(*(columns_present(read_statistics(statistics, split)) for split in splits))
    curated = curate(rating_low, rating_high, present)
    with fileio.open(os.path.join(schema.uri, _FILE), "w") as file:
        file.write(text_format.MessageToString(curated))
