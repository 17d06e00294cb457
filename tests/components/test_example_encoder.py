"""Wire format against protobuf's own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from components import example_encoder
from modules import features

INTEGERS = [0, 1, 127, 128, 16_383, 16_384, 880_000_000, 2**35 - 1, 2**35, 10**18 - 1, 2**63 - 1, -1, -(2**62)]


def serialized(**values: list) -> bytes:
    example = tf.train.Example()
    for name, each in values.items():
        feature = example.features.feature[name]
        if isinstance(each[0], int):
            feature.int64_list.value[:] = each
        elif isinstance(each[0], float):
            feature.float_list.value[:] = each
        else:
            feature.bytes_list.value[:] = [text.encode() for text in each]
    return example.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (features.USER_ID, ["007"]),
        (features.MOVIE_TITLE, ["七人の侍" * 5000]),
        (features.GENRES, ["Action", "Crime", "x" * 200]),
        (features.USER_RATING, [0.1]),
        (features.USER_RATING, [-1e-3]),
        *((features.TIMESTAMP, [value]) for value in INTEGERS),
    ],
)
def test_one_row_is_encoded_as_protobuf_does(column: features.Column, values: list) -> None:
    entry = example_encoder.encode_feature(column, values)
    assert example_encoder.encode_example([entry]) == serialized(**{column.name: values})
    assert example_encoder.encode_feature(column, []) == b""


def test_many_rows_are_encoded_as_protobuf_does() -> None:
    missing = -5
    users = [f"user {number}" for number in range(len(INTEGERS))]
    entries = {
        "user_id": pa.array([example_encoder.encode_feature(features.USER_ID, [user]) for user in users], pa.binary()),
        "timestamp": example_encoder.encode_integers(features.TIMESTAMP, np.array(INTEGERS), missing),
    }
    assert example_encoder.encode_examples(entries).to_pylist() == [
        serialized(user_id=[user], timestamp=[value]) for user, value in zip(users, INTEGERS, strict=True)
    ]
    absent = example_encoder.encode_integers(features.TIMESTAMP, np.array([missing, 7]), missing)
    assert absent.to_pylist() == [b"", example_encoder.encode_feature(features.TIMESTAMP, [7])]


def test_no_rows_give_no_examples() -> None:
    none = example_encoder.encode_integers(features.TIMESTAMP, np.array([], np.int64), -1)
    assert len(example_encoder.encode_examples({"timestamp": none})) == 0
