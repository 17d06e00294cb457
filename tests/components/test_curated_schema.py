from __future__ import annotations

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.curated_schema import columns_present, curate
from modules import features

EVERY_OPTIONAL = {column.name for column in features.OPTIONAL_COLUMNS}
TYPES = {"string": schema_pb2.BYTES, "int": schema_pb2.INT, "float": schema_pb2.FLOAT}


def test_the_schema_file_and_the_column_records_agree() -> None:
    schema = curate(0.5, 5.0, EVERY_OPTIONAL)
    assert [feature.name for feature in schema.feature] == [column.name for column in features.COLUMNS]
    for feature, column in zip(schema.feature, features.COLUMNS, strict=True):
        assert feature.type == TYPES[column.dtype], column.name
        assert (feature.presence.min_fraction == 1.0) == column.required, column.name
        assert (feature.value_count.max == 1) == (not column.required and not column.multivalent), column.name


def test_the_rating_domain_is_the_scale() -> None:
    rating = next(feature for feature in curate(1, 10, set()).feature if feature.name == "user_rating")
    assert (rating.float_domain.min, rating.float_domain.max) == (1.0, 10.0)
    assert rating.float_domain.disallow_nan


def test_absent_optional_columns_are_left_out() -> None:
    names = [feature.name for feature in curate(1, 5, {"genres", "user_id"}).feature]
    assert names == ["user_id", "movie_title", "user_rating", "genres"]


@pytest.mark.parametrize(("low", "high"), [(5.0, 1.0), (3.0, 3.0), (float("nan"), 5.0)])
def test_a_scale_upside_down_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="lower to a higher"):
        curate(low, high, set())


def test_columns_count_as_present_with_a_single_value() -> None:
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    features_ = statistics.datasets.add().features
    for name, count in (("genres", 1), ("user_age", 0)):
        feature = features_.add()
        feature.path.step.append(name)
        feature.string_stats.common_stats.num_non_missing = count
    assert columns_present(statistics) == {"genres"}
