from __future__ import annotations

import pathlib

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_artifacts

from components.curated_schema import CuratedSchema, columns_present, curate, read_statistics


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


def test_a_timestamp_that_no_split_has_is_left_out() -> None:
    assert [feature.name for feature in curate(1, 10, {"user_id"}).feature] == ["user_id", "movie_title", "user_rating"]


def test_a_timestamp_of_any_split_is_in_the_schema(tmp_path: pathlib.Path) -> None:
    """Of few timestamps, all may fall into the test rows, where a column without a schema would stop the run."""
    statistics, schema = standard_artifacts.ExampleStatistics(), standard_artifacts.Schema()
    statistics.uri, schema.uri = str(tmp_path), str(tmp_path)
    statistics.split_names = artifact_utils.encode_split_names(["train", "test"])
    rows = {"user_id": ["1"], "movie_title": ["A"], "user_rating": [3.0]}
    for split, more in (("train", {}), ("test", {"timestamp": [10]})):
        made = tfdv.generate_statistics_from_dataframe(pd.DataFrame({**rows, **more}))
        (tmp_path / f"Split-{split}").mkdir()
        (tmp_path / f"Split-{split}" / "FeatureStats.pb").write_bytes(made.SerializeToString())
    executor = CuratedSchema.EXECUTOR_SPEC.executor_class(base_executor.BaseExecutor.Context())
    scale = {"rating_low": 1.0, "rating_high": 5.0}
    executor.Do({"statistics": [statistics]}, {"schema": [schema]}, {**scale, "code_fingerprint": ""})
    written = text_format.Parse((tmp_path / "schema.pbtxt").read_text(), schema_pb2.Schema())
    assert written == curate(1.0, 5.0, {"timestamp"})
    for split in ("train", "test"):
        assert not tfdv.validate_statistics(read_statistics(statistics, split), written).anomaly_info


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
