"""Loading against the rows that were written."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from modules import dataset, features
from tests.support import ROWS, TITLES, USERS, analyze, load, side_features, write_examples


@pytest.fixture(scope="module")
def output():
    return analyze(ROWS)


@pytest.fixture(scope="module")
def side():
    return side_features(TITLES, USERS)


def test_ratings_are_sorted_whatever_the_order_of_the_files(tmp_path: pathlib.Path, output, side) -> None:
    users = [name.decode() for name in output.vocabulary_by_name("user_id")]
    titles = [name.decode() for name in output.vocabulary_by_name("movie_title")]
    expected = sorted(
        (users.index(row["user_id"]), titles.index(row["movie_title"]), row["user_rating"]) for row in ROWS
    )
    for rows in (ROWS, ROWS[::-1]):
        loaded = load(write_examples(tmp_path / "rows.gz", rows), output, side)
        triples = zip(loaded.user.tolist(), loaded.title.tolist(), loaded.rating.tolist(), strict=True)
        assert list(triples) == expected
        assert (loaded.num_users, loaded.num_titles, loaded.low, loaded.high) == (2, 3, 1.0, 5.0)
        assert (loaded.user.dtype, loaded.title.dtype, loaded.rating.dtype) == (np.int32, np.int32, np.float32)


def test_batches_are_counted_as_they_are_read(tmp_path: pathlib.Path, output, side, monkeypatch) -> None:
    monkeypatch.setattr(dataset, "READ_BATCH", 3)
    lines: list[str] = []
    path = write_examples(tmp_path / "rows.gz", ROWS)
    loaded = dataset.load_ratings([path], output, side, low=1.0, high=5.0, report=lines.append)
    assert lines == ["read 3 ratings", "read 4 ratings"]
    assert sorted(loaded.rating.tolist()) == sorted(row["user_rating"] for row in ROWS)


def test_side_features_are_those_of_the_user_and_the_title(tmp_path: pathlib.Path, output, side) -> None:
    loaded = load(write_examples(tmp_path / "a.gz", ROWS), output, side)
    for table, vectors in ((features.USERS, loaded.user_features), (features.TITLES, loaded.title_features)):
        names = output.vocabulary_by_name(table.key.name)
        np.testing.assert_array_equal(vectors, side.of_ids(table, names))
        assert vectors.any()
    # In no table.
    assert not loaded.user_features[output.vocabulary_by_name("user_id").index(b"07")].any()


def test_out_of_vocabulary_rows_are_kept(tmp_path: pathlib.Path, output, side) -> None:
    stranger = {**ROWS[0], "user_id": "8", "movie_title": "Aliens (1986)"}
    loaded = load(write_examples(tmp_path / "b.gz", [*ROWS, stranger]), output, side)
    assert (loaded.user.max(), loaded.title.max()) == (2, 3)
    assert (len(loaded.user_features), len(loaded.title_features)) == (2, 3)


def test_files_without_ratings_are_refused(tmp_path: pathlib.Path, output, side) -> None:
    with pytest.raises(ValueError, match="expected ratings in"):
        load(write_examples(tmp_path / "a.gz", []), output, side)


def test_carving_is_a_partition_of_about_the_right_size(rng: np.random.Generator, small_ratings) -> None:
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


def test_what_is_carved_stays_the_same_in_every_version(rng: np.random.Generator, small_ratings) -> None:
    """By the hash in integers that do not overflow, so that models of two versions are chosen on the same ratings."""
    pairs = np.unique(rng.integers(0, 900, size=(2_000, 2)), axis=0).astype(np.int32)
    many = dataclasses.replace(
        small_ratings, user=pairs[:, 0], title=pairs[:, 1], rating=np.arange(len(pairs), dtype=np.float32)
    )

    def is_carved(user: int, title: int) -> bool:
        key = user * 0x9E3779B97F4A7C15 % 2**64 ^ title * 0xC2B2AE3D27D4EB4F % 2**64
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ key >> shift) * factor % 2**64
        return (key ^ key >> 31) % 100 < 10

    _, carved = dataset.carve(many)
    assert carved.rating.tolist() == [place for place, pair in enumerate(pairs.tolist()) if is_carved(*pair)]


def test_concatenation_restores_what_was_carved(small_ratings) -> None:
    joined = dataset.concatenate(*dataset.carve(small_ratings, percent=50))
    for name in ("user", "title", "rating"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(small_ratings, name))


def test_some_users_stand_for_all_only_where_there_are_very_many_ratings(small_ratings, monkeypatch) -> None:
    np.testing.assert_array_equal(dataset.some_users(small_ratings, seed=0), [0, 1, 2])
    monkeypatch.setattr(dataset, "PLENTY", 4)
    counts = np.array([3, 3, 2])
    chosen = [dataset.some_users(small_ratings, seed=seed) for seed in range(20)]
    for users in chosen:
        assert len(set(users)) == len(users) == 2
        assert (np.diff(users) > 0).all()
        assert counts[users].sum() >= 4
    assert len({tuple(users) for users in chosen}) == 3
    np.testing.assert_array_equal(chosen[0], dataset.some_users(small_ratings, seed=0))
    # One user at least, however much is rated.
    monkeypatch.setattr(dataset, "PLENTY", 1)
    assert all(len(dataset.some_users(small_ratings, seed=seed)) == 1 for seed in range(5))
