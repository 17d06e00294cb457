"""Small files of the kinds that people keep: each gives the tables worked out by hand, or a refusal that says why."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pathlib
import re
import zipfile
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from data.errors import DataError
from data.prepare import prepare
from data.sidecar import Sidecar
from tests.data.small_releases import tables_in

HEADER = "user_id,movie_title,user_rating"
PLAIN = f"{HEADER}\n1,A,3\n2,B,4\n"
TABLE = {"ratings.csv": PLAIN}


@pytest.fixture
def prepared(tmp_path):
    """Writes a file, prepares it, and gives the tables."""

    def run(content: str | bytes, name: str = "own.csv", **chosen: Any) -> dict[str, str]:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        prepare(tmp_path / name, tmp_path / "out", **chosen)
        return tables_in(tmp_path / "out")

    return run


def rows(*lines: str, header: str = "user_id,movie_title,user_rating") -> dict[str, str]:
    return {"ratings.csv": "\n".join([header, *lines, ""])}


NAMED = {"columns": {"user_id": "User, id", "movie_title": "Movie=Title", "user_rating": "Stars"}}
NUMBERED = {"columns": {"user_id": "1", "movie_title": "2", "user_rating": "3"}, "header": False}
TIMED = "user_id,movie_title,user_rating,timestamp"


@pytest.mark.parametrize(
    ("content", "chosen", "tables"),
    [
        pytest.param(PLAIN.replace(",", "\t"), {}, TABLE, id="tabs"),
        pytest.param(PLAIN.replace(",", "|"), {}, TABLE, id="bars"),
        pytest.param(PLAIN.replace(",", "::"), {}, TABLE, id="two colons"),
        pytest.param("sep=,\n" + PLAIN, {}, TABLE, id="Excel's first line"),
        pytest.param("sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"), {}, TABLE, id="Excel's semicolon"),
        pytest.param(
            "user_id;movie_title;user_rating\n1;A;3,5\n2;B;4,0\n1;B;2,5\n",
            {},
            rows("1,A,3.5", "1,B,2.5", "2,B,4"),
            id="decimal commas",
        ),
        pytest.param(PLAIN.encode("utf-16"), {}, TABLE, id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), {}, TABLE, id="byte order mark"),
        pytest.param('"User, id",Movie=Title,Stars\n1,A,3\n2,B,4\n', NAMED, TABLE, id="odd names"),
        pytest.param("1,A,3\n2,B,4\n", NUMBERED, TABLE, id="no header"),
        pytest.param(
            'user_id,"movie\ntitle",user_rating\n1,A,3\n2,B,4\n',
            {"columns": {"movie_title": "movie title"}},
            TABLE,
            id="header over two lines",
        ),
        pytest.param(
            'user_id,movie_title,user_rating,"Why did\nyou like it?"\n1,A,3,x\n2,B,4,y\n', {}, TABLE, id="unused name"
        ),
        pytest.param(
            'user_id,movie_title,user_rating,place\n1,A,3,"M\nx"\n2,B,4,X\n',
            {},
            TABLE,
            id="line break in a cell",
        ),
        pytest.param(
            "user_id,movie_title,user_rating,place\n1,A,3,Mérida\n2,B,4,X\n".encode("latin-1"),
            {},
            TABLE,
            id="latin-1 in an unused cell",
        ),
        pytest.param(
            "user_id,movie_title,user_rating\n1,Café,3\n2,B,4\n".encode("latin-1"),
            {},
            rows("1,Café,3", "2,B,4"),
            id="latin-1",
        ),
        pytest.param(
            "user_id,movie_title,user_rating\n1,‘A’,3\n2,B,4\n".encode("cp1252"),
            {"encoding": "cp1252"},
            rows("1,‘A’,3", "2,B,4"),
            id="an encoding by name",
        ),
        pytest.param(
            'user_id,movie_title,user_rating\n1,"Bob \\"the builder\\"",3\n2,B,4\n',
            {"escape": "\\"},
            rows('1,"Bob ""the builder""",3', "2,B,4"),
            id="escaped quotes",
        ),
        pytest.param(
            'user_id,movie_title,user_rating\n1,"A" of A,3\n2,B,4\n',
            {"quotes": False},
            rows('1,"""A"" of A",3', "2,B,4"),
            id="quotes that are text",
        ),
        pytest.param(
            f"{TIMED}\n1,A,3,2005-09-06\n2,B,4,2005-09-06T12:00:00Z\n",
            {},
            rows("1,A,3,1125964800", "2,B,4,1126008000", header=TIMED),
            id="ISO dates",
        ),
        pytest.param(
            f"{TIMED}\n1,A,3,1362062307.0\n2,B,4,1362062308123\n",
            {},
            rows("1,A,3,1362062307", "2,B,4,1362062308", header=TIMED),
            id="seconds with a point, and milliseconds",
        ),
        pytest.param(
            f"{TIMED}\n1,A,3,yesterday\n2,B,4,5\n", {}, rows("1,A,3,", "2,B,4,5", header=TIMED), id="no timestamp"
        ),
        pytest.param(f"{TIMED}\n1,A,3,yesterday\n2,B,4,5\n", {"drop": ("timestamp",)}, TABLE, id="a dropped column"),
        pytest.param(
            "user_id,movie_title,user_rating,release_year\n1,A,3,1999.0\n2,B,4,2000.0\n",
            {},
            TABLE | {"titles.csv": "movie_title,release_year\nA,1999\nB,2000\n"},
            id="years with a point",
        ),
        pytest.param(
            "1:\n11,3,2005-09-06\n12,5,2005-05-13\n2:\n12,4,2005-05-13\n",
            {},
            rows("11,1,3,1125964800", "12,1,5,1115942400", "12,2,4,1115942400", header=TIMED),
            id="Netflix' blocks",
        ),
    ],
)
def test_read_right(content, chosen, tables, prepared):
    assert prepared(content, **chosen) == tables


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


def parquet(content: bytes) -> bytes:
    return pd.read_csv(io.BytesIO(content)).to_parquet(index=False)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard, parquet])
def test_packed_files_read_as_the_plain_one(pack, prepared):
    assert prepared(pack(PLAIN.encode()), "ratings.bin") == TABLE
    assert prepared(zipped(my_packed=pack(PLAIN.encode())), "own.zip") == TABLE


def test_an_archive_of_several_files_asks_for_one(prepared):
    packed = zipped(a_csv=PLAIN.encode(), b_csv=PLAIN.replace("A", "C").encode())
    with pytest.raises(DataError, match=r"got a\.csv, b\.csv; say which file to read, such as --member 'a\.csv'"):
        prepared(packed, "own.zip")
    assert prepared(packed, "own.zip", member="b.csv") == rows("1,C,3", "2,B,4")
    with pytest.raises(DataError, match=r"expected a file 'c\.csv' in .*got a\.csv, b\.csv; correct --member"):
        prepared(packed, "own.zip", member="c.csv")


# The Netflix Prize's own names and forms: titles in latin-1, with commas, or without a year.
NETFLIX = {
    "combined_data_1.txt": b"1:\n11,3,2005-09-06\n12,5,2005-05-13\n2:\n12,4,2005-05-13\n",
    "combined_data_2.txt": b"3:\n11,1,2005-09-06\n",
    "combined_data_10.txt": b"1:\n13,2,2005-09-06\n",
    "movie_titles.txt": "1,2003,Caf\u00e9, The\n2,NULL,B\n3,1999,C\n4,2000,Unrated\n".encode("latin-1"),
    "README": b"",
    "probe.txt": b"1:\n11\n",
}
NETFLIX_TABLES = {
    **rows(
        "11,C,1,1125964800",
        '11,"Caf\u00e9, The",3,1125964800',
        "12,B,4,1115942400",
        '12,"Caf\u00e9, The",5,1115942400',
        '13,"Caf\u00e9, The",2,1125964800',
        header=TIMED,
    ),
    "titles.csv": 'movie_title,release_year\nB,\nC,1999\n"Caf\u00e9, The",2003\nUnrated,2000\n',
}


def test_the_netflix_prize_is_read_from_its_files(make_folder, make_zip, tmp_path):
    packed = {name: content for name, content in NETFLIX.items() if name != "combined_data_2.txt"}
    packed["combined_data_2.txt.gz"] = gzip.compress(NETFLIX["combined_data_2.txt"])
    kaggle = {name.replace("titles.txt", "titles.csv"): content for name, content in NETFLIX.items()}
    sources = [make_folder(NETFLIX), make_folder(packed, "packed"), make_zip(kaggle, inside="")]
    for source in sources:
        summary = prepare(source, tmp_path / "out")
        assert tables_in(tmp_path / "out") == NETFLIX_TABLES
        assert summary.sidecar.rating_scale == (1, 5)
    told = {pathlib.PurePosixPath(name).name: form for name, form in summary.sidecar.read_as.items()}
    blocks = {"kind": "Netflix' blocks", "encoding": "utf-8", "separator": "comma"}
    assert told == {
        **{f"combined_data_{number}.txt": blocks for number in (1, 2, 10)},
        "movie_titles.csv": {"kind": "text", "encoding": "latin-1", "separator": "comma"},
    }
    assert summary.sidecar.source.split(", ") == [f"{sources[2]}/combined_data_{number}.txt" for number in (1, 2, 10)]


def test_one_file_of_the_netflix_prize_is_read_with_the_titles_beside_it(make_folder, make_zip, tmp_path):
    expected = {"ratings.csv": f"{TIMED}\n11,C,1,1125964800\n", "titles.csv": NETFLIX_TABLES["titles.csv"]}
    prepare(make_folder(NETFLIX) / "combined_data_2.txt", tmp_path / "out")
    assert tables_in(tmp_path / "out") == expected
    prepare(make_zip(NETFLIX, inside="nf/"), tmp_path / "out", member="nf/combined_data_2.txt")
    assert tables_in(tmp_path / "out") == expected
    ratings = {"ratings.txt": NETFLIX["combined_data_2.txt"], "movie_titles.txt": NETFLIX["movie_titles.txt"]}
    prepare(make_folder(ratings, "own"), tmp_path / "out")
    assert tables_in(tmp_path / "out") == expected


def test_a_bad_row_of_the_netflix_prize_is_named_in_its_own_file(make_folder, tmp_path):
    folder = make_folder(
        NETFLIX | {"combined_data_2.txt": b"3:\n11,1,2005-09-06\n11,x,2005-09-06\n9:\n11,1,2005-09-06\n"}
    )
    with pytest.raises(DataError, match=r"release/combined_data_2\.txt, line 3: expected a user_rating.*got 'x'"):
        prepare(folder, tmp_path / "out")
    summary = prepare(folder, tmp_path / "out", max_rejected=2)
    places = [(pathlib.PurePosixPath(reason.file).name, reason.line) for reason in summary.reasons.values()]
    assert places == [("combined_data_2.txt", 3), ("combined_data_2.txt", 5)]


def test_files_named_as_those_of_the_netflix_prize_are_refused_where_they_are_none(make_folder, tmp_path):
    files = {f"combined_data_{number}.txt": PLAIN.encode() for number in (1, 2)}
    with pytest.raises(DataError, match=r"Netflix' blocks.*_1\.txt, .*_2\.txt; got none; give one"):
        prepare(make_folder(files), tmp_path / "out")
    with pytest.raises(DataError, match=r"got ratings\.csv, combined_data_1\.txt, .*; join"):
        prepare(make_folder(NETFLIX | {"ratings.csv": PLAIN.encode()}, "both"), tmp_path / "out")


def test_rows_of_parquet_are_called_rows(tmp_path):
    frame = pd.DataFrame(
        {
            "user_id": ["1", "2", "3"],
            "movie_title": list("ABC"),
            "user_rating": ["3", "x", "4"],
            "timestamp": ["1", "2", "y"],
        }
    )
    frame.to_parquet(tmp_path / "own.parquet", index=False)
    place = rf"{tmp_path}/own\.parquet, row"
    with pytest.raises(DataError, match=f"^{place} 2: expected a user_rating that is a number; got 'x'"):
        prepare(tmp_path / "own.parquet", tmp_path / "out")
    summary = prepare(tmp_path / "own.parquet", tmp_path / "out", max_rejected=1)
    assert (tmp_path / "out/rejected/rejected.csv").read_text().splitlines() == [
        "file,row,reason,raw",
        f"{tmp_path}/own.parquet,2,expected a user_rating that is a number; got 'x',\"2,B,x,2\"",
    ]
    assert [(reason.line, reason.unit) for reason in summary.reasons.values()] == [(2, "row")]
    assert re.match(f"1 rows, the first {place} 3: expected a timestamp", summary.unread["timestamp"])
    stars = pd.DataFrame(
        {"user_id": "1", "movie_title": [f"T{n}" for n in range(30)], "user_rating": [500, *[1, 5] * 14, 2]}
    )
    stars.to_parquet(tmp_path / "own.parquet", index=False)
    with pytest.raises(DataError, match=f"1 off it: {place} 1: '1,T0,500'"):
        prepare(tmp_path / "own.parquet", tmp_path / "out")


def test_bad_rows_of_a_text_and_of_parquet_are_told_apart(tmp_path):
    (tmp_path / "train.csv").write_text(f"{HEADER}\n1,A,3\n1,B,x\n")
    test = pd.DataFrame({"user_id": ["2", "2"], "movie_title": ["A", "B"], "user_rating": ["5", "x"]})
    test.to_parquet(tmp_path / "test.parquet", index=False)
    parts = {"train": tmp_path / "train.csv", "test": tmp_path / "test.parquet"}
    prepare(parts, tmp_path / "out", max_rejected=2)
    header, *bad = (tmp_path / "out/rejected/rejected.csv").read_text().splitlines()
    assert header == "file,line or row,reason,raw"
    assert [line.split(",")[1] for line in bad] == ["3", "2"]


@pytest.mark.parametrize(
    ("first", "second", "mark"), [("3,5", "4", "comma"), ("4", "3,5", "comma"), ("3.5", "4", None), ("3", "4", None)]
)
def test_the_decimal_mark_is_recorded_where_it_is_a_comma(first, second, mark, tmp_path):
    (tmp_path / "own.csv").write_text(f"user_id;movie_title;user_rating\n1;A;{first}\n2;B;{second}\n")
    summary = prepare(tmp_path / "own.csv", tmp_path / "out")
    (form,) = Sidecar.read(tmp_path / "out").read_as.values()
    assert form.get("decimal_mark") == mark
    assert [each.decimal_mark for each in summary.read_as] == [mark or ""]


OPEN_QUOTE = 'user_id,movie_title,user_rating,review\n1,A,3,"good\n2,B,4,fine\n3,C,5,"nice"\n4,D,2,ok\n'


@pytest.mark.parametrize(
    ("content", "chosen", "problem"),
    [
        (OPEN_QUOTE, {}, "line 2: expected fields quoted"),
        (OPEN_QUOTE.replace('"nice"', "nice"), {}, "line 2: expected closed quotes, or --no-quotes"),
        (
            'user_id,user_rating,review,movie_title\n1,3,"good,A\n2,4,fine,B\n3,5,"nice",C\n4,2,ok,D\n',
            {},
            "line 2: expected fields quoted",
        ),
        (
            'user_id,movie_title,user_rating\n1,"Bob \\"the builder\\" movie",3\n2,B,4\n',
            {},
            r"line 2: expected fields quoted.*--escape",
        ),
        ("1,1193,5\n2,914,3\n", {}, "line 1: expected a header.*--no-header.*--header"),
        (
            "1,1193,5\n2,914,3\n",
            {"columns": {"user_id": "1", "movie_title": "1193", "user_rating": "5"}},
            "line 1: expected a header.*--no-header.*--header",
        ),
        ("user_id,movie_title,user_rating\n1,A,3,5\n", {}, "line 2: expected 3 fields; got 4 fields"),
        ("user_id,movie_title,user_rating\n1,A,6\n", {"scale": (1, 5)}, "line 2:.*--scale"),
        (
            "user_id,movie_title,user_rating\n1,Café,3\n".encode() + "2,Café,3\n".encode("latin-1"),
            {},
            "UTF-8 in line 2.*something else in line 3.*--encoding",
        ),
        (f"{TIMED}\n1,A,3,yesterday\n2,B,4,5\n", {"strict": True}, "line 2: expected a timestamp.*got 'yesterday'"),
        ("user_id,movie_title,user_rating,user_rating\n1,A,3,4\n", {}, "one column 'user_rating'.*user_rating=#3"),
        ("", {}, "empty"),
        ("Date,Name,Year,Rating\n2024-06-15,Alpha,2024,5\n", {}, "no column seems to say who rated"),
        (PLAIN.replace("4", "3"), {}, "--implicit"),
        (PLAIN, {"repeated": "sum"}, "mean or latest of ratings"),
    ],
)
def test_refused_with_the_line_and_the_way_on(content, chosen, problem, prepared, tmp_path):
    with pytest.raises(DataError, match=problem):
        prepared(content, **chosen)
    assert not (tmp_path / "out").exists()


def test_the_same_rows_are_good_whatever_else_the_file_holds(prepared):
    """A row is judged by itself: not by what other rows are like, nor by whether its bad cell is used."""
    good = "user_id,movie_title,user_rating,place\n1,A,3,Mérida\n2,B,4,X\n1,B,5,Y\n"
    for encoding in ("utf-8", "latin-1"):
        expected = prepared(good.encode(encoding))["ratings.csv"]
        for bad in ("3,B,bad,Z\n", '4,C,1,"Z\n', "5,C,1\n"):
            assert prepared((good + bad).encode(encoding), max_rejected=1)["ratings.csv"] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize(
    ("layout", "files"),
    [
        (
            "100K",
            {
                "u.data": "1\t1\t5\t1\n1\t2\t3\t2\n2\t1\t4\t3\n",
                "u.item": f"1|Café Été (1999)|||u{'|0' * 19}\n2|Plain (2000)|||u{'|0' * 19}\n",
            },
        ),
        (
            "1M",
            {
                "ratings.dat": "1::1::5::1\n1::2::3::2\n2::1::4::3\n",
                "movies.dat": "1::Café Été (1999)::Drama\n2::Plain (2000)::Comedy\n",
                "users.dat": "1::M::25::4::12345\n2::F::25::4::12345\n",
            },
        ),
    ],
)
def test_a_layout_does_not_tell_the_encoding(layout, files, encoding, make_folder, tmp_path):
    folder = make_folder({name: text.encode(encoding) for name, text in files.items()})
    prepare(folder, tmp_path / "out")
    assert tables_in(tmp_path / "out")["ratings.csv"].splitlines()[1:] == [
        "1,Café Été (1999),5,1",
        "1,Plain (2000),3,2",
        "2,Café Été (1999),4,3",
    ]


def test_another_project_in_a_layout_of_movielens_reads_right(make_folder, tmp_path):
    """As MovieTweetings: up to 10, ids with leading zeros, users that are linked and not described."""
    files = {
        "ratings.dat": "1::0000008::10::1\n1::0000010::0::2\n2::0000008::7::3\n",
        "movies.dat": "0000008::Edison (1894)::Documentary|Short\n0000010::Café (1895)::\n",
        "users.dat": "1::139564917\n2::17528189\n",
    }
    summary = prepare(make_folder({name: text.encode() for name, text in files.items()}), tmp_path / "out")
    assert summary.sidecar.rating_scale == (0, 10)
    tables = tables_in(tmp_path / "out")
    assert sorted(tables) == ["ratings.csv", "titles.csv"]
    assert tables["ratings.csv"].splitlines()[1:] == [
        "1,Café (1895),0,2",
        "1,Edison (1894),10,1",
        "2,Edison (1894),7,3",
    ]


# A split of one's own.


@pytest.fixture
def split(tmp_path):
    def run(parts: dict[str, str], **chosen: Any) -> Any:
        paths: dict[str, pathlib.Path] = {}
        for part, content in parts.items():
            paths[part] = tmp_path / f"{part}.csv"
            paths[part].write_text(content if "user_id" in content else f"{HEADER}\n{content}")
        return prepare(paths, tmp_path / "out", **chosen)

    return run


def test_a_split_of_ones_own_makes_the_folder_that_a_run_takes(split, tmp_path):
    summary = split({"train": "1,A,3\n2,B,4\n", "eval": "1,C,1\n", "test": "2,A,5\n3,B,2\n"})
    assert tables_in(tmp_path / "out") == {
        "train/ratings.csv": rows("1,A,3", "2,B,4")["ratings.csv"],
        "eval/ratings.csv": rows("1,C,1")["ratings.csv"],
        "test/ratings.csv": rows("2,A,5", "3,B,2")["ratings.csv"],
    }
    assert summary.sidecar.rating_scale == (1, 5)
    assert Sidecar.read(tmp_path / "out").rows == 5


def test_a_pair_in_two_parts_is_refused_or_dropped_from_the_earlier(split, tmp_path):
    parts = {"train": "1,A,3\n2,B,4\n2,C,1\n", "eval": "2,C,1\n1,B,2\n", "test": "1,A,5\n1,B,2\n"}
    with pytest.raises(DataError, match=r"2 of train in a later part.*user '1' and title 'A'.*--drop-pairs-in-both"):
        split(parts)
    summary = split(parts, drop_pairs_in_both=True)
    assert tables_in(tmp_path / "out") == {
        "train/ratings.csv": rows("2,B,4")["ratings.csv"],
        "eval/ratings.csv": rows("2,C,1")["ratings.csv"],
        "test/ratings.csv": rows("1,A,5", "1,B,2")["ratings.csv"],
    }
    sidecar = summary.sidecar
    assert sidecar.rows_read == sidecar.rows + sidecar.merged + sidecar.rejected + sidecar.dropped
    assert sidecar.dropped == 3


def test_a_part_that_would_be_left_empty_is_refused(split):
    with pytest.raises(DataError, match="ratings in the part train that no later part has"):
        split({"train": "1,A,3\n", "test": "1,A,3\n1,B,4\n"}, drop_pairs_in_both=True)


def test_columns_that_not_all_parts_have_are_refused(split):
    parts = {"train": f"{TIMED}\n1,A,3,1\n", "test": "1,B,4\n"}
    with pytest.raises(DataError, match=r"none for timestamp in .*test\.csv.*--drop timestamp"):
        split(parts)
    assert split(parts, drop=("timestamp",)).sidecar.rows == 2
