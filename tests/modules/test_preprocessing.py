"""Vocabularies and transformed values against plain Python."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.support import ROWS, analyze, serialize


@pytest.fixture(scope="module")
def output() -> tft.TFTransformOutput:
    return analyze(ROWS)


def transform(output: tft.TFTransformOutput, rows: list[dict]) -> dict[str, np.ndarray]:
    raw = tf.io.parse_example([serialize(row) for row in rows], output.raw_feature_spec())
    return {name: value.numpy() for name, value in output.transform_raw_features(raw).items()}


def test_ids_follow_frequency_and_stay_strings(output: tft.TFTransformOutput) -> None:
    counts = collections.Counter(row["user_id"] for row in ROWS)
    expected = [user.encode() for user, _ in counts.most_common()]
    assert output.vocabulary_by_name("user_id") == expected == [b"7", b"07"]
    ids = transform(output, ROWS)["user_id"]
    np.testing.assert_array_equal(ids, [expected.index(row["user_id"].encode()) for row in ROWS])
    assert ids.dtype == np.int64


def test_titles_keep_accents(output: tft.TFTransformOutput) -> None:
    vocabulary = output.vocabulary_by_name("movie_title")
    titles = [vocabulary[number].decode() for number in transform(output, ROWS)["movie_title"]]
    assert titles == [row["movie_title"] for row in ROWS]


def test_names_are_the_same_in_every_spelling() -> None:
    """The vocabularies hold the one spelling of each name, counted together; the graph finds it from every other."""
    titles = ["Élan vital", "E\u0301lan vital", " Élan \n vital\t", "\u3000E\u0301lan\u2028vital", "Heat (1995)"]
    users = ["zoë", "zoe\u0308 ", "a", "a", "a"]
    rows = [{**ROWS[0], "user_id": user, "movie_title": title} for user, title in zip(users, titles, strict=True)]
    found = analyze(rows)
    assert found.vocabulary_by_name("movie_title") == ["Élan vital".encode(), b"Heat (1995)"]
    assert found.vocabulary_by_name("user_id") == [b"a", "zoë".encode()]
    values = transform(found, [*rows, {**ROWS[0], "user_id": "z", "movie_title": "E\u0301lan "}])
    assert values["movie_title"].tolist() == [0, 0, 0, 0, 1, 2]
    assert values["user_id"].tolist() == [1, 1, 0, 0, 0, 2]


def test_unknown_values_fall_into_the_bucket_behind_the_vocabulary(output: tft.TFTransformOutput) -> None:
    values = transform(output, [{**ROWS[0], "user_id": "?", "movie_title": "?"}])
    assert values["user_id"].tolist() == [2]
    assert values["movie_title"].tolist() == [3]


def test_rating_passes_through_and_nothing_else_does(output: tft.TFTransformOutput) -> None:
    values = transform(output, ROWS)
    np.testing.assert_array_equal(values["user_rating"], [4, 3, 5, 1])
    assert sorted(values) == ["movie_title", "user_id", "user_rating"]
