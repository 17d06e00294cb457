"""Loading against the rows that were written."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from modules import dataset, features
from tests.support import OPTIONAL, REQUIRED, ROWS, analyze, write_examples


@pytest.fixture(scope="module")
def transform_output():
    return analyze(ROWS, REQUIRED + OPTIONAL)


def load(path: str, transform_output, **options):
    return dataset.load_ratings([path], transform_output, low=1.0, high=5.0, report=lambda _: None, **options)


def test_ratings_are_sorted_whatever_the_order_of_the_files(tmp_path: pathlib.Path, transform_output) -> None:
    forward = load(write_examples(tmp_path / "a.gz", ROWS), transform_output)
    backward = load(write_examples(tmp_path / "b.gz", ROWS[::-1]), transform_output)
    users = [name.decode() for name in transform_output.vocabulary_by_name("user_id")]
    titles = [name.decode() for name in transform_output.vocabulary_by_name("movie_title")]
    expected = sorted(
        (users.index(row["user_id"]), titles.index(row["movie_title"]), row["user_rating"]) for row in ROWS
    )
    for loaded in (forward, backward):
        triples = zip(loaded.user.tolist(), loaded.title.tolist(), loaded.rating.tolist(), strict=True)
        assert list(triples) == expected
        assert (loaded.num_users, loaded.num_titles, loaded.low, loaded.high) == (2, 3, 1.0, 5.0)
    np.testing.assert_array_equal(forward.user_features, backward.user_features)
    np.testing.assert_array_equal(forward.title_features, backward.title_features)


def test_side_features_are_those_of_the_user_and_the_title(tmp_path: pathlib.Path, transform_output) -> None:
    loaded = load(write_examples(tmp_path / "a.gz", ROWS), transform_output)
    heat = transform_output.vocabulary_by_name("movie_title").index(b"Heat (1995)")
    year = np.digitize(1995, features.YEAR_BOUNDARIES)
    # One of its two rows has no year and no genre: what is known is kept.
    assert loaded.title_features[heat, year] == 1
    assert loaded.title_features[heat, len(features.YEAR_BOUNDARIES) + 1 :].sum() == 1
    silent = transform_output.vocabulary_by_name("user_id").index(b"07")
    assert not loaded.user_features[silent].any()


def test_out_of_vocabulary_rows_are_kept_and_touch_no_known_features(tmp_path: pathlib.Path, transform_output) -> None:
    stranger = {**ROWS[0], "user_id": "new", "movie_title": "New"}
    known = load(write_examples(tmp_path / "a.gz", ROWS), transform_output)
    loaded = load(write_examples(tmp_path / "b.gz", [*ROWS, stranger]), transform_output)
    assert (loaded.user.max(), loaded.title.max()) == (2, 3)
    np.testing.assert_array_equal(loaded.user_features, known.user_features)
    np.testing.assert_array_equal(loaded.title_features, known.title_features)


def test_a_pattern_without_files_is_refused(tmp_path: pathlib.Path, transform_output) -> None:
    with pytest.raises(ValueError, match="expected example files at"):
        load(str(tmp_path / "none-*"), transform_output)


def test_files_without_ratings_are_refused(tmp_path: pathlib.Path, transform_output) -> None:
    with pytest.raises(ValueError, match="expected ratings in"):
        load(write_examples(tmp_path / "a.gz", []), transform_output)


def test_carving_is_a_partition_of_about_the_right_size(rng: np.random.Generator, small_ratings) -> None:
    import dataclasses

    pairs = np.unique(rng.integers(0, 300, size=(20_000, 2)), axis=0).astype(np.int32)
    many = dataclasses.replace(
        small_ratings, user=pairs[:, 0], title=pairs[:, 1], rating=rng.random(len(pairs)).astype(np.float32)
    )
    rest, carved = dataset.carve(many, percent=10)
    assert len(rest) + len(carved) == len(many)
    assert not set(zip(rest.user, rest.title, strict=True)) & set(zip(carved.user, carved.title, strict=True))
    # Four standard deviations of a binomial.
    assert abs(len(carved) / len(many) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / len(many))


def test_a_rating_is_carved_whatever_else_there_is(small_ratings) -> None:
    _, carved = dataset.carve(small_ratings, percent=50)
    _, alone = dataset.carve(small_ratings.select(np.arange(3)), percent=50)
    first_three = set(zip(small_ratings.user[:3].tolist(), small_ratings.title[:3].tolist(), strict=True))
    carved_pairs = set(zip(carved.user.tolist(), carved.title.tolist(), strict=True))
    assert set(zip(alone.user.tolist(), alone.title.tolist(), strict=True)) == carved_pairs & first_three


def test_concatenation_restores_what_was_carved(small_ratings) -> None:
    joined = dataset.concatenate(*dataset.carve(small_ratings, percent=50))
    for name in ("user", "title", "rating"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(small_ratings, name))
