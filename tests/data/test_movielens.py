from __future__ import annotations

import csv
import pathlib

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError, LayoutError
from data.fetch import CHECKSUMS
from data.movielens import release_year
from data.prepare import prepare
from data.sidecar import Sidecar
from tests.data.small_releases import (
    CSV,
    HUNDRED_K,
    HUNDRED_K_TABLES,
    LAYOUTS,
    ONE_M,
    OWN_NAMES,
    RECBOLE,
    TEN_M,
    TEN_M_TABLES,
    tables_in,
)


@pytest.mark.parametrize("packed", ["folder", "zip", "inner folder"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_release_gives_the_tables_worked_out_by_hand(layout, packed, make_folder, make_zip, tmp_path):
    files, expected = LAYOUTS[layout]
    if packed == "zip":
        source = make_zip(files)
    else:
        source = make_folder(files, "outer/ml" if packed == "inner folder" else "release")
        source = source.parent if packed == "inner folder" else source
    summary = prepare(source, tmp_path / "out")
    assert tables_in(tmp_path / "out") == expected
    sidecar = summary.sidecar
    assert {file.name: file.columns for file in sidecar.files} == {
        name: tuple(text.splitlines()[0].split(",")) for name, text in expected.items()
    }
    assert [file.rows for file in sidecar.files] == [len(text.splitlines()) - 1 for text in expected.values()]
    rows = list(csv.reader(expected["ratings.csv"].splitlines()))[1:]
    assert (sidecar.rows, sidecar.users, sidecar.titles) == (
        len(rows),
        len({row[0] for row in rows}),
        len({row[1] for row in rows}),
    )
    assert sidecar.rows_read == sidecar.merged + sidecar.rejected + sidecar.rows
    assert Sidecar.read(tmp_path / "out") == sidecar
    assert sidecar.matches(tmp_path / "out")
    # Nothing else is left.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*expected, "ratings.json"])


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
        ("Roundhay Garden Scene (1888)", 1888),
        ("1000 (0999)", None),
        ("Before the movies (1869)", None),
        ("As early as can be (1870)", 1870),
        ("As late as can be (2100)", 2100),
        ("Later (2101)", None),
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
    assert [file.name for file in sidecar.files] == ["ratings.csv", "titles.csv"]
    assert sidecar.side_columns == ("release_year",)
    assert tables_in(tmp_path / "out")["titles.csv"] == "movie_title,release_year\nA (1990),1990\nB,\nC,\n"


def test_the_user_table_has_those_of_the_source_rated_or_not(make_folder, tmp_path):
    files = HUNDRED_K | {"u.user": b"1|24|M|technician|85711\n2||F||01002\n99|||none|\n"}
    prepare(make_folder(files), tmp_path / "out")
    assert tables_in(tmp_path / "out")["users.csv"].splitlines()[1:] == [
        "1,24,M,technician,85711",
        "2,,F,,01002",
        "99,,,none,",
    ]


def test_columns_of_a_release_may_stand_in_another_order(make_folder, tmp_path):
    files = CSV | {"ratings.csv": b"timestamp,extra,rating,movieId,userId\n10,x,0.5,1,1\n"}
    prepare(make_folder(files), tmp_path / "out")
    assert (tmp_path / "out/ratings.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        '1,"Misérables, Les (1995)",0.5,10'
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_id(make_folder, tmp_path):
    files = {name: b"\xef\xbb\xbf" + content for name, content in TEN_M.items()}
    prepare(make_folder(files), tmp_path / "out")
    assert tables_in(tmp_path / "out") == TEN_M_TABLES


# What one film is.


def test_items_that_share_a_title_are_one_film_and_are_listed(make_folder, tmp_path):
    summary = prepare(make_folder(HUNDRED_K), tmp_path / "out")
    assert summary.sidecar.shared_titles == {"Toy Story (1995)": ["1", "4"]}
    assert Sidecar.read(tmp_path / "out").shared_titles == summary.sidecar.shared_titles
    # The two items differ in genres.
    assert summary.contradictions == {"genres": 1}


def test_items_kept_apart_have_their_own_title_ratings_and_genres(make_folder, tmp_path):
    summary = prepare(make_folder(HUNDRED_K), tmp_path / "out", keep_items_apart=True)
    tables = tables_in(tmp_path / "out")
    assert tables["ratings.csv"].splitlines()[1:3] == ["1,Toy Story (1995) [1],4,10", "1,Toy Story (1995) [4],5,30"]
    assert tables["titles.csv"].splitlines()[1:] == [
        '"Misérables, Les (1995)",Action,1995',
        "Toy Story (1995) [1],Action|Comedy,1995",
        "Toy Story (1995) [4],Comedy,1995",
        "Unrated (1931),Action,1931",
        "unknown,,",
    ]
    assert (summary.sidecar.rows, summary.sidecar.merged, summary.contradictions) == (4, 0, {})
    assert summary.sidecar.shared_titles == {"Toy Story (1995)": ["1", "4"]}


def test_titles_alone_cannot_be_kept_apart(tmp_path):
    with pytest.raises(LayoutError, match=r"with item ids.*omit --keep-items-apart"):
        own(tmp_path, OWN_NAMES + "1,A,3\n2,A,4\n", keep_items_apart=True)


# Repeated ratings.


@pytest.mark.parametrize(
    ("rows", "mean", "latest"),
    [
        (["4,10", "1,30", "5,20"], "3.3333333,30", "1,30"),
        # Of equal timestamps the later row counts, and so it does where there are none.
        (["4,30", "5,30", "1,10"], "3.3333333,30", "5,30"),
        (["4,", "5,", "1,"], "3.3333333,", "1,"),
        # A timestamp is later than none.
        (["4,", "5,7", "1,"], "3.3333333,7", "5,7"),
    ],
)
def test_repeated_ratings_become_their_mean_or_the_latest(rows, mean, latest, tmp_path):
    text = "user_id,movie_title,user_rating,timestamp\n2,B,2,1\n" + "".join(f"1,A,{row}\n" for row in rows)
    for repeated, expected in (("mean", mean), ("latest", latest)):
        assert own(tmp_path, text, repeated=repeated).splitlines()[1:] == [f"1,A,{expected}", "2,B,2,1"]
    assert Sidecar.read(tmp_path / "out").merged == 2


def test_without_timestamps_the_latest_is_the_last_in_the_file(tmp_path):
    text = OWN_NAMES + "1,A,5\n1,A,1\n2,A,3\n1,A,2\n"
    assert own(tmp_path, text, repeated="latest").splitlines()[1:] == ["1,A,2", "2,A,3"]


def test_the_scale_spans_the_ratings_of_the_source_not_their_means(tmp_path):
    own(tmp_path, OWN_NAMES + "1,A,1\n1,A,5\n2,A,2\n2,B,4\n")
    assert Sidecar.read(tmp_path / "out").rating_scale == (1, 5)


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


def test_a_data_folder_is_taken_with_its_side_tables(make_folder, make_zip, tmp_path):
    prepare(make_folder(HUNDRED_K), tmp_path / "first")
    assert prepare(tmp_path / "first", tmp_path / "again", scale=(1, 5)).contradictions == {}
    assert tables_in(tmp_path / "again") == HUNDRED_K_TABLES
    packed = make_zip({name: text.encode() for name, text in HUNDRED_K_TABLES.items()}, inside="")
    prepare(packed, tmp_path / "unpacked")
    assert tables_in(tmp_path / "unpacked") == HUNDRED_K_TABLES
    # Its ratings alone, where they are named.
    prepare(tmp_path / "first" / "ratings.csv", tmp_path / "alone")
    assert tables_in(tmp_path / "alone") == {"ratings.csv": HUNDRED_K_TABLES["ratings.csv"]}


def test_a_folder_with_more_ratings_than_are_read_is_refused(make_zip, tmp_path):
    files = {name: (OWN_NAMES + "1,A,3\n2,A,4\n").encode() for name in ("ratings.csv", "ratings-2.csv", "notes.csv")}
    (tmp_path / "own").mkdir()
    for name, content in files.items():
        (tmp_path / "own" / name).write_bytes(content)
    for source in (tmp_path / "own", make_zip(files, inside="")):
        with pytest.raises(LayoutError, match=r"one file of ratings in .*; got ratings\.csv, ratings-2\.csv; join"):
            prepare(source, tmp_path / "out")
    assert prepare(tmp_path / "own" / "ratings.csv", tmp_path / "out").sidecar.rows == 2


def test_joined_columns_are_taken_apart_and_contradictions_counted(tmp_path):
    text = (
        "user_id,movie_title,user_rating,release_year,user_gender,timestamp\n"
        "1,A,1,,,\n1,B,2,1990,F,5\n2,A,3,1991,,\n1,A,4,1992,M,6\n3,A,4,1993,M,6\n3,B,4, 1990,M,6\n"
    )
    (tmp_path / "own.csv").write_text(text)
    summary = prepare(tmp_path / "own.csv", tmp_path / "out")
    assert tables_in(tmp_path / "out") == {
        "ratings.csv": "user_id,movie_title,user_rating,timestamp\n1,A,2.5,6\n1,B,2,5\n2,A,3,\n3,A,4,6\n3,B,4,6\n",
        "titles.csv": "movie_title,release_year\nA,1991\nB,1990\n",
        "users.csv": "user_id,user_gender\n1,F\n2,\n3,M\n",
    }
    assert summary.contradictions == {"release_year": 1, "user_gender": 1}
    assert summary.sidecar.side_columns == ("release_year", "user_gender")


def test_joined_columns_complete_the_side_tables_beside_them(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "ratings.csv").write_text("user_id,movie_title,user_rating,release_year\n1,A,1,1990\n1,C,2,1991\n")
    (folder / "titles.csv").write_text("genres,movie_title,note\n,A,x\nDrama,B,y\n")
    (folder / "users.csv").write_text("user_id,user_age\n7,30\n")
    prepare(folder, tmp_path / "out")
    assert tables_in(tmp_path / "out") == {
        "ratings.csv": "user_id,movie_title,user_rating\n1,A,1\n1,C,2\n",
        "titles.csv": "movie_title,genres,release_year\nA,,1990\nB,Drama,\nC,,1991\n",
        "users.csv": "user_id,user_age\n7,30\n",
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("titles.csv", "title,genres\nA,Drama\n", r"movie_title among the columns of .*titles\.csv; got title, genres"),
        (
            "titles.csv",
            "movie_title,genres\nA,X\nA,Y\n",
            r"titles\.csv, line 3: expected a movie_title that no",
        ),
        ("users.csv", "user_id,user_age\n1,old\n", r"users\.csv, line 2: expected a user_age that is an integer"),
    ],
)
def test_side_tables_of_ones_own_that_are_bad(name, text, message, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ratings.csv").write_text(OWN_NAMES + "1,A,1\n2,A,2\n")
    (tmp_path / "own" / name).write_text(text)
    with pytest.raises(DataError, match=message):
        prepare(tmp_path / "own", tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


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
        ("a,b,c\n1,2,3\n", {}, "expected user_id, movie_title, user_rating among.*got a, b, c"),
        ("userId,title,star\n1,A,3\n", NAMES, r"expected stars \(for user_rating\).*got userId, title, star;"),
        ("userId,title,stars\n1,A,3\n", NAMES | {"user": "x"}, "expected names of ours.*user_id.*got 'user'"),
        ("userId,title,stars,title\n1,A,3,B\n", NAMES, "one column 'title'.*the columns 2, 4"),
        ("\n1,A,3\n", NAMES, "got an empty line"),
        ("", NAMES, "got an empty file"),
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
        prepare(tmp_path / "own.csv", tmp_path / "out", encoding="utf-8")


def test_movielens_header_lacks_a_column(make_folder, tmp_path):
    files = CSV | {"movies.csv": b"movieId,name,genres\n1,A,B\n"}
    with pytest.raises(LayoutError, match=r"title, genres in .*movies\.csv.*got 0 of title: movieId, name, genres"):
        prepare(make_folder(files), tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "got nothing"),
        (
            {"u.data": b"", "notes.txt": b""},
            r"u\.data and u\.item.*ratings\.dat.*ratings\.csv.*got .*notes\.txt",
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
    with pytest.raises(LayoutError, match=r"own\.csv; omit --split"):
        prepare(tmp_path / "own.csv", tmp_path / "out", split="u1")
    for scale in ((5, 1), (3, 3), (1, float("inf")), (float("nan"), 5)):
        with pytest.raises(DataError, match=f"lowest rating below the highest; got {scale[0]:g} {scale[1]:g}"):
            prepare(tmp_path / "own.csv", tmp_path / "out", scale=scale)


# Published splits.


def test_split_keeps_the_published_parts(make_folder, tmp_path):
    summary = prepare(make_folder(HUNDRED_K), tmp_path / "out", split="u1")
    header, first, second, third = HUNDRED_K_TABLES["ratings.csv"].splitlines(keepends=True)
    side = {name: text for name, text in HUNDRED_K_TABLES.items() if name != "ratings.csv"}
    assert tables_in(tmp_path / "out") == side | {
        "train/ratings.csv": header + first.replace(",4.5,30", ",4,10") + third,
        "test/ratings.csv": header + first.replace(",4.5,30", ",5,30") + second,
    }
    assert summary.pairs_in_both == 1
    assert [file.name for file in summary.sidecar.files] == [
        "train/ratings.csv",
        "test/ratings.csv",
        "titles.csv",
        "users.csv",
    ]
    assert (summary.sidecar.rows, summary.sidecar.users, summary.sidecar.titles) == (4, 3, 3)
    assert summary.sidecar.matches(tmp_path / "out")


# The real data, against pandas.


def raw_tables(folder: pathlib.Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Items and users with pandas alone."""
    genres = pd.read_csv(folder / "u.genre", sep="|", names=["genre", "index"])["genre"].tolist()
    items = pd.read_csv(
        folder / "u.item", sep="|", encoding="latin-1", names=["item", "movie_title", "a", "b", "c", *genres]
    )
    items["movie_title"] = items["movie_title"].str.strip()
    items["genres"] = ["|".join(g for g in genres[1:] if row[g]) for _, row in items.iterrows()]
    items["release_year"] = items["movie_title"].str.extract(r"\((\d{4})\)(?: \(V\))?$")[0].fillna("")
    names = ["user_id", "user_age", "user_gender", "user_occupation", "user_zip_code"]
    users = pd.read_csv(folder / "u.user", sep="|", dtype=str, names=names)
    return items[["item", "movie_title", "genres", "release_year"]], users


def raw_ratings(folder: pathlib.Path, name: str) -> pd.DataFrame:
    """Ratings with their titles, in the order of the file, with pandas alone."""
    ratings = pd.read_csv(folder / name, sep="\t", names=["user_id", "item", "user_rating", "timestamp"])
    ratings["user_id"] = ratings["user_id"].astype(str)
    return ratings.merge(raw_tables(folder)[0][["item", "movie_title"]], on="item", how="left")


def by_pair(ratings: pd.DataFrame) -> pd.DataFrame:
    """One row for each user and title: mean rating, latest timestamp."""
    pair = ["user_id", "movie_title"]
    grouped = ratings.groupby(pair, as_index=False).agg({"user_rating": "mean", "timestamp": "max"})
    return grouped.sort_values(pair).reset_index(drop=True)


def read_back(path: pathlib.Path) -> pd.DataFrame:
    numbers = {"user_rating": float, "timestamp": int}
    columns = path.read_text(encoding="utf-8").partition("\n")[0].split(",")
    dtypes = {column: numbers.get(column, str) for column in columns}
    return pd.read_csv(path, dtype=dtypes, keep_default_na=False)


def test_movielens_100k_equals_pandas(movielens_100k, tmp_path):
    summary = prepare(movielens_100k, tmp_path / "out", checksums=CHECKSUMS)
    sidecar = summary.sidecar
    assert (sidecar.rows_read, sidecar.merged, sidecar.rejected) == (100_000, 307, 0)
    assert (sidecar.rows, sidecar.users, sidecar.titles) == (99_693, 943, 1_664)
    pd.testing.assert_frame_equal(
        read_back(tmp_path / "out/ratings.csv"), by_pair(raw_ratings(movielens_100k, "u.data"))
    )
    items, users = raw_tables(movielens_100k)
    titles = items.drop_duplicates("movie_title").drop(columns="item").sort_values("movie_title")
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/titles.csv"), titles.reset_index(drop=True))
    users = users.sort_values("user_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/users.csv"), users)
    shared = items.groupby("movie_title")["item"].apply(lambda ids: [str(each) for each in ids])
    assert sidecar.shared_titles == {title: ids for title, ids in shared.items() if len(ids) > 1}
    assert len(sidecar.shared_titles) == 18


def test_items_of_movielens_100k_kept_apart_and_latest_ratings_equal_pandas(movielens_100k, tmp_path):
    summary = prepare(movielens_100k, tmp_path / "apart", keep_items_apart=True)
    sidecar = summary.sidecar
    assert (sidecar.rows, sidecar.merged, sidecar.titles) == (100_000, 0, 1_682)
    prepare(movielens_100k, tmp_path / "latest", repeated="latest")
    ratings = raw_ratings(movielens_100k, "u.data").sort_values("timestamp", kind="stable")
    last = ratings.groupby(["user_id", "movie_title"], as_index=False)["user_rating"].last()
    written = read_back(tmp_path / "latest/ratings.csv").drop(columns="timestamp")
    pd.testing.assert_frame_equal(written, last.astype({"user_rating": float}))


def test_published_split_of_movielens_100k_equals_pandas(movielens_100k, tmp_path):
    summary = prepare(movielens_100k, tmp_path / "out", split="u1")
    train, test = (by_pair(raw_ratings(movielens_100k, f"u1.{part}")) for part in ("base", "test"))
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/train/ratings.csv"), train)
    pd.testing.assert_frame_equal(read_back(tmp_path / "out/test/ratings.csv"), test)
    assert summary.pairs_in_both == len(train.merge(test, on=["user_id", "movie_title"]))
    assert {file.name: file.rows for file in summary.sidecar.files}["titles.csv"] == 1_664
