"""Vocabularies and transformed values against plain Python."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from modules import features
from tests.support import OPTIONAL, REQUIRED, ROWS, serialize, transform


@pytest.fixture(scope="module")
def full() -> tuple[dict[str, np.ndarray], tft.TFTransformOutput]:
    return transform(ROWS, REQUIRED + OPTIONAL)


def test_ids_follow_frequency_and_stay_strings(full) -> None:
    values, output = full
    counts = collections.Counter(row["user_id"] for row in ROWS)
    expected = [user.encode() for user, _ in counts.most_common()]
    assert output.vocabulary_by_name("user_id") == expected == [b"7", b"07"]
    np.testing.assert_array_equal(values["user_id"], [expected.index(row["user_id"].encode()) for row in ROWS])
    assert values["user_id"].dtype == np.int64


def test_titles_keep_accents(full) -> None:
    values, output = full
    vocabulary = output.vocabulary_by_name("movie_title")
    assert [vocabulary[number].decode() for number in values["movie_title"]] == [row["movie_title"] for row in ROWS]


def test_unknown_values_fall_into_the_bucket_behind_the_vocabulary(full) -> None:
    _, output = full
    raw = tf.io.parse_example([serialize({**ROWS[0], "user_id": "?", "movie_title": "?"})], output.raw_feature_spec())
    values = output.transform_raw_features(raw)
    assert values["user_id"].numpy().tolist() == [2]
    assert values["movie_title"].numpy().tolist() == [3]


def test_age_is_binned_with_exclusive_upper_edges(full) -> None:
    values, _ = full
    ages = values["user_features"][:, : len(features.AGE_BOUNDARIES) + 1]
    expected = np.zeros_like(ages)
    for row, age in enumerate(row["user_age"] for row in ROWS):
        if age:
            expected[row, np.digitize(age[0], features.AGE_BOUNDARIES)] = 1
    np.testing.assert_array_equal(ages, expected)
    assert ages[3].argmax() == 1


def test_missing_side_features_are_zeros(full) -> None:
    values, _ = full
    assert not values["user_features"][2].any()
    assert not values["title_features"][2].any()


def categories(output: tft.TFTransformOutput) -> list[str]:
    return [value.decode() for value in output.vocabulary_by_name("categories")]


def test_genres_are_divided_by_the_root_of_their_number(full) -> None:
    values, output = full
    vocabulary = categories(output)
    start = len(features.YEAR_BOUNDARIES) + 1
    expected = np.zeros((len(ROWS), features.CATEGORIES_LIMIT), np.float32)
    for row, genres in enumerate(row["genres"] for row in ROWS):
        for genre in genres:
            expected[row, vocabulary.index(f"genres={genre}")] = 1 / np.sqrt(len(genres))
    np.testing.assert_allclose(values["title_features"][:, start:], expected, rtol=1e-6)


def test_user_categories_are_multi_hot(full) -> None:
    values, output = full
    vocabulary = categories(output)
    expected = np.zeros((len(ROWS), features.CATEGORIES_LIMIT), np.float32)
    for number, row in enumerate(ROWS):
        for column in ("user_gender", "user_occupation"):
            for value in row[column]:
                expected[number, vocabulary.index(f"{column}={value}")] = 1
        for value in row["user_zip_code"]:
            expected[number, vocabulary.index(f"user_zip_code={value[0]}")] = 1
    np.testing.assert_array_equal(values["user_features"][:, len(features.AGE_BOUNDARIES) + 1 :], expected)


def test_release_years_are_binned(full) -> None:
    values, _ = full
    years = values["title_features"][:, : len(features.YEAR_BOUNDARIES) + 1]
    assert years[[0, 1, 3]].sum(1).tolist() == [1, 1, 1]
    assert years[0].argmax() == np.digitize(1979, features.YEAR_BOUNDARIES)
    assert years[3].argmax() == len(features.YEAR_BOUNDARIES)


def test_the_same_text_in_two_columns_is_two_categories(full) -> None:
    _, output = full
    assert sorted(categories(output)) == [
        "genres=Crime", "genres=Horror", "genres=Sci-Fi", "user_gender=F", "user_gender=M", "user_occupation=doctor",
        "user_occupation=none", "user_zip_code=9",
    ]  # fmt: skip


def test_rating_passes_through(full) -> None:
    np.testing.assert_array_equal(full[0]["user_rating"], [4, 3, 5, 1])


def test_without_optional_columns_the_vectors_are_zeros_of_the_same_size() -> None:
    values, _ = transform(ROWS, REQUIRED)
    assert values["user_features"].shape == (4, features.USER_FEATURES_SIZE)
    assert values["title_features"].shape == (4, features.TITLE_FEATURES_SIZE)
    assert not values["user_features"].any()
    assert not values["title_features"].any()


def test_an_optional_column_without_a_single_value_is_no_error() -> None:
    optional = ("genres", "user_gender", "user_occupation", "user_zip_code")
    rows = [{**row, **{column: [] for column in optional}} for row in ROWS]
    values, _ = transform(rows, REQUIRED + OPTIONAL)
    assert not values["title_features"][:, len(features.YEAR_BOUNDARIES) + 1 :].any()
    assert values["user_features"].sum() == 3
