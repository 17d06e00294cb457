"""Feature vectors of users and titles against plain Python, read from files as TablesExampleGen writes them."""

from __future__ import annotations

import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from modules import features, side_tables
from modules.side_features import DESCRIBED, LISTED, SideFeatures
from tests.support import TITLES, USERS, serialize, side_features, write_tables

# Where the flags begin, from the end.
FLAGS = -features.FLAGS
AGES, YEARS = len(features.AGE_BOUNDARIES) + 1, len(features.YEAR_BOUNDARIES) + 1


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> SideFeatures:
    return SideFeatures(side_tables.read(write_tables(tmp_path_factory.mktemp("tables") / "1", TITLES, USERS)))


def of_titles(side: SideFeatures, rows: list[dict] = TITLES) -> np.ndarray:
    return side.of_ids(features.TITLES, [row["movie_title"].encode() for row in rows])


def of_users(side: SideFeatures, rows: list[dict] = USERS) -> np.ndarray:
    return side.of_ids(features.USERS, [row["user_id"].encode() for row in rows])


def one_hot(values: list[list[int]], boundaries: tuple[float, ...]) -> np.ndarray:
    made = np.zeros((len(values), len(boundaries) + 1), np.float32)
    for row, value in enumerate(values):
        if value:
            made[row, np.digitize(value[0], boundaries)] = 1
    return made


def test_ages_and_years_are_binned_with_exclusive_upper_edges(side: SideFeatures) -> None:
    ages, years = of_users(side)[:, :AGES], of_titles(side)[:, :YEARS]
    np.testing.assert_array_equal(ages, one_hot([row["user_age"] for row in USERS], features.AGE_BOUNDARIES))
    np.testing.assert_array_equal(years, one_hot([row["release_year"] for row in TITLES], features.YEAR_BOUNDARIES))
    # 18 is the lower edge of the second bin, 2031 lies above the last edge.
    assert ages[1].argmax() == 1
    assert years[2].argmax() == len(features.YEAR_BOUNDARIES)


def test_categories_are_the_most_frequent_values_of_the_tables_with_ties_by_text(side: SideFeatures) -> None:
    counts = collections.Counter(
        f"{column}={value[0] if column == 'user_zip_code' else value}"
        for row in TITLES + USERS
        for column in ("genres", "user_gender", "user_occupation", "user_zip_code")
        for value in row.get(column, [])
    )
    expected = sorted(counts, key=lambda text: (-counts[text], text))
    assert expected[:3] == ["genres=Crime", "genres=Horror", "genres=Sci-Fi"]
    # "9" and "94105" are one area.
    assert counts["user_zip_code=9"] == 2
    assert [category.decode() for category in side.categories] == sorted(counts, key=lambda t: (-counts[t], t))


def test_genres_are_divided_by_the_root_of_their_number(side: SideFeatures) -> None:
    expected = np.zeros((len(TITLES), features.CATEGORIES_LIMIT), np.float32)
    for row, genres in enumerate(row["genres"] for row in TITLES):
        for genre in genres:
            expected[row, side.categories.index(f"genres={genre}".encode())] = 1 / np.sqrt(len(genres))
    np.testing.assert_allclose(of_titles(side)[:, YEARS:FLAGS], expected, rtol=1e-6)


def test_user_categories_are_multi_hot(side: SideFeatures) -> None:
    expected = np.zeros((len(USERS), features.CATEGORIES_LIMIT), np.float32)
    for number, row in enumerate(USERS):
        texts = [f"{column}={row[column][0]}" for column in ("user_gender", "user_occupation")]
        for text in [*texts, f"user_zip_code={row['user_zip_code'][0][0]}"]:
            expected[number, side.categories.index(text.encode())] = 1
    np.testing.assert_array_equal(of_users(side)[:, AGES:FLAGS], expected)


def test_the_area_of_a_postal_code_is_a_character_of_any_length() -> None:
    # In UTF-8 both begin with the same byte.
    side = side_features(users=[{"user_id": zip_code, "user_zip_code": [zip_code]} for zip_code in ("Ä1", "Ä2", "Ö1")])
    assert [category.decode() for category in side.categories] == ["user_zip_code=Ä", "user_zip_code=Ö"]
    vectors = side.of_ids(features.USERS, ["Ä1".encode(), "Ä2".encode(), "Ö1".encode()])[:, AGES:]
    np.testing.assert_array_equal(vectors.argmax(axis=1), [0, 0, 1])


def test_a_genre_that_stands_twice_counts_once() -> None:
    rows = [{"movie_title": name, "genres": genres} for name, genres in (("A", ["Drama"]), ("B", ["Drama", "Drama"]))]
    once, twice = of_titles(side_features(rows), rows)
    np.testing.assert_array_equal(once, twice)


def test_values_beyond_the_limit_of_categories_count_as_unknown() -> None:
    limit = features.CATEGORIES_LIMIT
    rows = [{"movie_title": str(k), "genres": [f"genre {k}"]} for k in range(limit + 2)]
    side = side_features([*rows, {"movie_title": "last", "genres": [f"genre {limit + 1}", "genre 0"]}])
    assert len(side.categories) == limit
    assert side.categories[:2] == [b"genres=genre 0", f"genres=genre {limit + 1}".encode()]
    left_out = [k for k in range(limit + 2) if f"genres=genre {k}".encode() not in side.categories]
    assert len(left_out) == 2
    assert not of_titles(side, [rows[k] for k in left_out])[:, :FLAGS].any()
    assert of_titles(side, rows)[:, :FLAGS].sum() == limit


def test_a_request_is_read_as_the_tables_are(side: SideFeatures) -> None:
    """The columns of one request, in a graph, beside the eager vectors of whole tables."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def read(examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spec = side_tables.column_spec(features.USERS) | side_tables.column_spec(features.TITLES)
        columns = tf.io.parse_example(examples, spec)
        return side.users(columns, tf.size(examples)), side.titles(columns, tf.size(examples))

    rows = [{**user, **title} for user in USERS for title in TITLES]
    users, titles = read(tf.constant([serialize(row) for row in rows]))
    for request, table in ((users, of_users(side, rows)), (titles, of_titles(side, rows))):
        # Processors differ in how far they round the same sums in a graph and out of it.
        np.testing.assert_allclose(request[:, :LISTED], table[:, :LISTED], rtol=5e-7)
        # A request says nothing of what is listed.
        assert not request.numpy()[:, LISTED].any()
        assert table[:, LISTED].all()
    users, titles = read(tf.constant([serialize({"user_id": "7"})]))
    assert users.shape == (1, features.USER_FEATURES_SIZE)
    assert titles.shape == (1, features.TITLE_FEATURES_SIZE)
    assert not tf.reduce_any(users != 0)
    assert not tf.reduce_any(titles != 0)
    assert [each.shape[0] for each in read(tf.zeros([0], tf.string))] == [0, 0]


def test_flags_tell_what_is_described_and_what_is_listed(side: SideFeatures) -> None:
    vectors = side.of_ids(features.TITLES, [b"Untold", b"No such title", b"Heat (1995)"])
    np.testing.assert_array_equal(vectors[:, :FLAGS].any(axis=1), [False, False, True])
    np.testing.assert_array_equal(vectors[:, DESCRIBED], [0, 0, 1])
    np.testing.assert_array_equal(vectors[:, LISTED], [1, 0, 1])
    assert side.of_ids(features.USERS, []).shape == (0, features.USER_FEATURES_SIZE)


def test_ids_beside_those_that_are_known_are_those_a_vocabulary_can_hold() -> None:
    names = ["b", "", "a", "two\nlines", "c"]
    side = side_features([{"movie_title": name, "genres": ["Drama"]} for name in names])
    assert side.ids_beside(features.TITLES, [b"a", b"elsewhere"]) == [b"b", b"c"]


@pytest.mark.parametrize("zero_bytes", [False, True])
def test_without_tables_there_are_no_categories_and_no_ids(tmp_path: pathlib.Path, zero_bytes: bool) -> None:
    folder = write_tables(tmp_path / "tables")
    if zero_bytes:
        for file in pathlib.Path(folder).rglob("*.gz"):
            file.write_bytes(b"")
    for tables in (side_tables.read(folder), side_tables.read(None)):
        side = SideFeatures(tables)
        assert side.categories == []
        assert side.ids_beside(features.USERS, []) == []
        assert not side.of_ids(features.TITLES, [b"Heat (1995)"]).any()


def test_a_table_may_lack_any_column() -> None:
    side = side_features([{"movie_title": "A", "release_year": [1995]}], [{"user_id": "1"}])
    assert of_titles(side, [{"movie_title": "A"}])[:, :FLAGS].sum() == 1
    np.testing.assert_array_equal(of_users(side, [{"user_id": "1"}])[0].nonzero()[0], [features.USER_FEATURES_SIZE - 1])


def test_a_folder_without_the_split_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"expected example files in .*Split-titles; got none"):
        side_tables.read(str(tmp_path))
