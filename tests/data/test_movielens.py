from __future__ import annotations

import csv
import pathlib

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError, LayoutError
from data.fetch import RATINGS_SHA256
from data.movielens import release_year
from data.prepare import prepare
from data.sidecar import Sidecar
from tests.data.small_releases import CSV, HUNDRED_K, LAYOUTS, ONE_M, RECBOLE, TEN_M, TEN_M_CSV


@pytest.mark.parametrize("packed", ["folder", "zip", "inner folder"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_release_gives_the_ratings_worked_out_by_hand(layout, packed, make_folder, make_zip, tmp_path):
    files, expected = LAYOUTS[layout]
    if packed == "zip":
        source = make_zip(files)
    else:
        source = make_folder(files, "outer/ml" if packed == "inner folder" else "release")
        source = source.parent if packed == "inner folder" else source
    summary = prepare(source, tmp_path / "out")
    assert (tmp_path / "out" / "ratings.csv").read_bytes().decode() == expected
    rows = list(csv.reader(expected.splitlines()))[1:]
    assert summary.sidecar.rows == len(rows)
    assert summary.sidecar.users == len({row[0] for row in rows})
    assert summary.sidecar.titles == len({row[1] for row in rows})
    assert summary.sidecar.columns == tuple(expected.splitlines()[0].split(","))
    assert summary.rows_read == summary.merged + summary.rejected + summary.sidecar.rows
    assert Sidecar.read(tmp_path / "out") == summary.sidecar
    assert summary.sidecar.matches(tmp_path / "out")
    # Nothing else is left, and nothing else looks like ratings.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ratings.csv", "ratings.json"]


@pytest.mark.parametrize(
    ("layout", "scale"), [("100K", (1, 5)), ("RecBole", (1, 5)), ("1M", (1, 5)), ("10M", (0.5, 5)), ("csv", (0.5, 5))]
)
def test_a_release_has_its_scale_whatever_ratings_occur(layout, scale, make_folder, tmp_path):
    folder = make_folder(LAYOUTS[layout][0])
    assert prepare(folder, tmp_path / "out").sidecar.rating_scale == scale
    assert prepare(folder, tmp_path / "out", scale=(0, 10)).sidecar.rating_scale == (0, 10)


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Toy Story (1995)", 1995),
        ("unknown", None),
        ("1984", None),
        ("2001: A Space Odyssey (1968)", 1968),
        ("(500) Days of Summer (2009)", 2009),
        ("Land Before Time III: The Time of the Great Giving (1995) (V)", 1995),
        ("Fawlty Towers (1975-1979)", 1975),
        ("Doctor Who (2005– )", 2005),
        ("Year (19950)", None),
        ("Nothing (1995) after", None),
    ],
)
def test_release_year_is_the_one_in_brackets_at_the_end(title, year):
    assert release_year(title) == year


def test_optional_files_may_be_missing(make_folder, tmp_path):
    few = {name: HUNDRED_K[name] for name in ("u.data",)}
    # Without u.genre, the 19 flags of the published release are expected.
    few["u.item"] = b"1|A (1990)|||u" + b"|0" * 18 + b"|1\n2|B|||u" + b"|0" * 19 + b"\n3|C|||u" + b"|0" * 19 + b"\n"
    few["u.item"] += b"4|A (1990)|||u" + b"|0" * 19 + b"\n"
    sidecar = prepare(make_folder(few), tmp_path / "out").sidecar
    assert sidecar.columns == ("user_id", "movie_title", "user_rating", "timestamp", "release_year")
    assert (tmp_path / "out/ratings.csv").read_text().splitlines()[1] == "1,A (1990),4.5,30,1990"


def test_a_user_without_a_row_in_the_user_table_has_empty_features(make_folder, tmp_path):
    files = HUNDRED_K | {"u.user": b"1|24|M|technician|85711\n2||F||01002\n"}
    prepare(make_folder(files), tmp_path / "out")
    lines = (tmp_path / "out/ratings.csv").read_text(encoding="utf-8").splitlines()
    assert lines[2].endswith(",1995,,,,")
    assert lines[3].endswith(",,,F,,01002")


def test_columns_of_a_release_may_stand_in_another_order(make_folder, tmp_path):
    files = CSV | {"ratings.csv": b"timestamp,extra,rating,movieId,userId\n10,x,0.5,1,1\n"}
    prepare(make_folder(files), tmp_path / "out")
    assert (tmp_path / "out/ratings.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        '1,"Misérables, Les (1995)",0.5,10,Drama,1995'
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_id(make_folder, tmp_path):
    files = {name: b"\xef\xbb\xbf" + content for name, content in TEN_M.items()}
    prepare(make_folder(files), tmp_path / "out")
    assert (tmp_path / "out/ratings.csv").read_text(encoding="utf-8") == TEN_M_CSV


# A CSV of the user's own.

NAMES = {"user_id": "userId", "movie_title": "title", "user_rating": "stars"}


def own(tmp_path: pathlib.Path, text: str, **arguments) -> str:
    path = tmp_path / "own.csv"
    path.write_text(text, encoding="utf-8", newline="")
    prepare(path, tmp_path / "out", **arguments)
    return (tmp_path / "out/ratings.csv").read_bytes().decode()


def test_own_csv_with_names_of_its_own(tmp_path):
    text = 'title,ignored,stars,userId\n"A, B",x,1.50,007\nC,y,-3,7\n'
    assert own(tmp_path, text, columns=NAMES) == 'user_id,movie_title,user_rating\n007,"A, B",1.5\n7,C,-3\n'
    assert Sidecar.read(tmp_path / "out").rating_scale == (-3, 1.5)


def test_own_csv_with_our_names_keeps_all_optional_columns(make_folder, tmp_path):
    prepare(make_folder(HUNDRED_K), tmp_path / "first")
    prepare(tmp_path / "first" / "ratings.csv", tmp_path / "second", scale=(1, 5))
    prepare(tmp_path / "first", tmp_path / "third")
    first = (tmp_path / "first/ratings.csv").read_bytes()
    assert (tmp_path / "second/ratings.csv").read_bytes() == first
    assert (tmp_path / "third/ratings.csv").read_bytes() == first


def test_own_csv_takes_a_users_and_a_titles_features_from_the_first_row_that_has_them(tmp_path):
    text = (
        "user_id,movie_title,user_rating,release_year,user_gender,timestamp\n"
        "1,A,1,,,\n1,B,2,1990,F,5\n2,A,3,1991,,\n1,A,4,1992,M,6\n"
    )
    assert own(tmp_path, text) == (
        "user_id,movie_title,user_rating,timestamp,release_year,user_gender\n"
        "1,A,2.5,6,1991,F\n1,B,2,5,1990,F\n2,A,3,,1991,\n"
    )


def test_own_csv_may_have_byte_order_mark_crlf_blank_lines_and_no_last_line_end(tmp_path):
    text = "\ufeffuser_id,movie_title,user_rating\r\n1,A,1\r\n\r\n2,A,2"
    assert own(tmp_path, text) == "user_id,movie_title,user_rating\n1,A,1\n2,A,2\n"


def test_ratings_are_the_shortest_decimals_that_read_back(tmp_path):
    values = ["4", "4.0", "3.5", "0.1", "3.6666666667", "1e3", ".5", "+2"]
    text = "user_id,movie_title,user_rating\n" + "".join(f"{u},A,{value}\n" for u, value in enumerate(values))
    written = [line.split(",")[2] for line in own(tmp_path, text).splitlines()[1:]]
    assert written == ["4", "4", "3.5", "0.1", "3.6666667", "1000", "0.5", "2"]
    assert [np.float32(value) for value in written] == [np.float32(value) for value in values]


def test_rows_are_sorted_by_the_ids_as_text_whatever_their_order(tmp_path):
    pairs = [("9", "b"), ("10", "é"), ("10", "z"), ("10", "Z"), ("9", "a")]
    text = "user_id,movie_title,user_rating\n" + "".join(f"{u},{t},{i}\n" for i, (u, t) in enumerate(pairs))
    written = [tuple(line.split(",")[:2]) for line in own(tmp_path, text).splitlines()[1:]]
    assert written == sorted(pairs)


# What is not accepted.


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b,c\n1,2,3\n", None, "expected user_id, movie_title, user_rating among.*available: a, b, c"),
        ("userId,title,star\n1,A,3\n", NAMES, r"expected stars \(for user_rating\).*available: userId, title, star;"),
        ("userId,title,stars\n1,A,3\n", NAMES | {"user": "x"}, "expected names of ours.*user_id.*got 'user'"),
        ("userId,title,stars,title\n1,A,3,B\n", NAMES, "each column.*once; got title more than once"),
        ("\n1,A,3\n", NAMES, "got an empty line"),
        ("", NAMES, "got an empty line"),
        ("userId,title,stars\n", NAMES, "got none that is good"),
        ("userId,title,stars\n1,A,3\n2,B,3\n", NAMES, "ratings that differ.*got 3 alone"),
    ],
)
def test_own_csv_that_cannot_be_read_says_why(text, columns, message, tmp_path):
    with pytest.raises(DataError, match=message):
        own(tmp_path, text, columns=columns)
    assert not (tmp_path / "out").exists()


def test_header_that_is_not_utf8(tmp_path):
    (tmp_path / "own.csv").write_bytes(b"user_id,movie_title,\xff\n")
    with pytest.raises(LayoutError, match="header in UTF-8"):
        prepare(tmp_path / "own.csv", tmp_path / "out")


def test_movielens_header_lacks_a_column(make_folder, tmp_path):
    files = CSV | {"movies.csv": b"movieId,name,genres\n1,A,B\n"}
    with pytest.raises(LayoutError, match=r"movies\.csv; missing: title; available: movieId, name, genres"):
        prepare(make_folder(files), tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "got nothing"),
        (
            {"u.data": b"", "notes.txt": b""},
            r"u\.data and u\.item.*ratings\.dat.*ratings\.csv.*got notes\.txt, u\.data",
        ),
    ],
)
def test_unknown_layout_lists_what_is_accepted(files, message, make_folder, make_zip, tmp_path):
    for source in (make_folder(files), make_zip(files)):
        with pytest.raises(LayoutError, match=message):
            prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_releases_in_one_folder(make_folder, tmp_path):
    make_folder(HUNDRED_K, "both/a")
    make_folder(ONE_M, "both/b")
    with pytest.raises(LayoutError, match=r"expected one release.*a/u\.data, b/ratings\.dat"):
        prepare(tmp_path / "both", tmp_path / "out")


def test_path_that_is_not_there_or_is_one_file_of_a_release(make_folder, tmp_path):
    with pytest.raises(LayoutError, match="does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(LayoutError, match=r"the folder that u\.data lies in"):
        prepare(make_folder(HUNDRED_K) / "u.data", tmp_path / "out")


def test_broken_zip(make_zip, tmp_path):
    path = make_zip(HUNDRED_K)
    content = bytearray(path.read_bytes())
    content[40:80] = bytes(40)  # inside the first member
    path.write_bytes(content)
    with pytest.raises(LayoutError, match="complete, unencrypted zip"):
        prepare(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_paths_in_a_zip_lead_nowhere_else(make_zip, tmp_path):
    source = make_zip(HUNDRED_K, inside="../../escaped/")
    prepare(source, tmp_path / "deep" / "out")
    assert (tmp_path / "deep/out/ratings.csv").exists()
    assert not list(tmp_path.rglob("u.data"))


def test_columns_and_splits_fit_only_what_they_are_for(make_folder, tmp_path):
    with pytest.raises(LayoutError, match="own with --columns"):
        prepare(make_folder(ONE_M, "a"), tmp_path / "out", columns=NAMES)
    with pytest.raises(LayoutError, match=r"u\.data.*for the split u1"):
        prepare(make_folder(RECBOLE, "b"), tmp_path / "out", split="u1")
    with pytest.raises(LayoutError, match=r"missing: u2\.base, u2\.test"):
        prepare(make_folder(HUNDRED_K, "c"), tmp_path / "out", split="u2")
    with pytest.raises(DataError, match=r"one of u1, .*got 'u9'"):
        prepare(tmp_path / "c", tmp_path / "out", split="u9")
    (tmp_path / "own.csv").write_text("user_id,movie_title,user_rating\n1,A,3\n")
    with pytest.raises(LayoutError, match="a CSV"):
        prepare(tmp_path / "own.csv", tmp_path / "out", split="u1")
    with pytest.raises(DataError, match="lowest value is below"):
        prepare(tmp_path / "own.csv", tmp_path / "out", scale=(5, 1))


# Published splits.


def test_split_keeps_the_published_parts(make_folder, tmp_path):
    summary = prepare(make_folder(HUNDRED_K), tmp_path / "out", split="u1")
    header, first, second, third = LAYOUTS["100K"][1].splitlines(keepends=True)
    train = (tmp_path / "out/train/ratings.csv").read_text(encoding="utf-8")
    test = (tmp_path / "out/test/ratings.csv").read_text(encoding="utf-8")
    assert train == header + first.replace(",4.5,30,", ",4,10,") + third
    assert test == header + first.replace(",4.5,30,", ",5,30,") + second
    assert summary.pairs_in_both == 1
    assert summary.sidecar.files == ("train/ratings.csv", "test/ratings.csv")
    assert (summary.sidecar.rows, summary.sidecar.users, summary.sidecar.titles) == (4, 3, 3)
    assert summary.sidecar.matches(tmp_path / "out")
    assert not (tmp_path / "out/ratings.csv").exists()


# The real data, against pandas.


def oracle(folder: pathlib.Path, name: str) -> pd.DataFrame:
    """Ratings with pandas alone: merged, with features, sorted."""
    ratings = pd.read_csv(folder / name, sep="\t", names=["user_id", "item", "user_rating", "timestamp"])
    genres = pd.read_csv(folder / "u.genre", sep="|", names=["genre", "index"])["genre"].tolist()
    items = pd.read_csv(
        folder / "u.item", sep="|", encoding="latin-1", names=["item", "movie_title", "a", "b", "c", *genres]
    )
    items["movie_title"] = items["movie_title"].str.strip()
    items["genres"] = ["|".join(g for g in genres[1:] if row[g]) for _, row in items.iterrows()]
    items["release_year"] = items["movie_title"].str.extract(r"\((\d{4})\)(?: \(V\))?$")[0]
    users = pd.read_csv(
        folder / "u.user", sep="|", dtype=str, names=["user_id", "age", "gender", "occupation", "zip_code"]
    ).add_prefix("user_")
    users = users.rename(columns={"user_user_id": "user_id"})
    merged = ratings.merge(items[["item", "movie_title"]], on="item")
    merged = merged.groupby(["user_id", "movie_title"], as_index=False).agg({"user_rating": "mean", "timestamp": "max"})
    merged["user_id"] = merged["user_id"].astype(str)
    features = items.drop_duplicates("movie_title")[["movie_title", "genres", "release_year"]]
    merged = merged.merge(features, on="movie_title").merge(users, on="user_id")
    return merged.sort_values(["user_id", "movie_title"]).reset_index(drop=True).fillna("")


def read_back(path: pathlib.Path) -> pd.DataFrame:
    numbers = {"user_rating": float, "timestamp": int}
    columns = path.read_text(encoding="utf-8").partition("\n")[0].split(",")
    dtypes = {column: numbers.get(column, str) for column in columns}
    return pd.read_csv(path, dtype=dtypes, keep_default_na=False)


def test_movielens_100k_equals_pandas(movielens_100k, tmp_path):
    summary = prepare(movielens_100k, tmp_path / "out", sha256=RATINGS_SHA256)
    assert (summary.rows_read, summary.merged, summary.rejected) == (100_000, 307, 0)
    assert (summary.sidecar.rows, summary.sidecar.users, summary.sidecar.titles) == (99_693, 943, 1_664)
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/ratings.csv"), oracle(movielens_100k, "u.data"))


def test_published_split_of_movielens_100k_equals_pandas(movielens_100k, tmp_path):
    summary = prepare(movielens_100k, tmp_path / "out", split="u1")
    train, test = (oracle(movielens_100k, f"u1.{part}") for part in ("base", "test"))
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/train/ratings.csv"), train)
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/test/ratings.csv"), test)
    assert summary.pairs_in_both == len(train.merge(test, on=["user_id", "movie_title"]))
