from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.curated_schema import columns_present, curate


def test_the_schema_is_that_of_the_ratings() -> None:
    expected = text_format.Parse(
        """
        feature { name: "user_id" type: BYTES presence { min_fraction: 1.0 min_count: 1 } shape {} }
        feature { name: "movie_title" type: BYTES presence { min_fraction: 1.0 min_count: 1 } shape {} }
        feature {
          name: "user_rating" type: FLOAT presence { min_fraction: 1.0 min_count: 1 } shape {}
          float_domain { min: 0.5 max: 5.0 disallow_nan: true disallow_inf: true }
        }
        feature { name: "timestamp" type: INT value_count { max: 1 } int_domain { min: 0 } }
        """,
        schema_pb2.Schema(),
    )
    assert curate(0.5, 5.0, {"timestamp"}) == expected


def test_a_timestamp_that_train_does_not_have_is_left_out() -> None:
    assert [feature.name for feature in curate(1, 10, {"user_id"}).feature] == ["user_id", "movie_title", "user_rating"]


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
