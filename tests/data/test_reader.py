"""The CSV reader against Python's own, on texts that CSV makes hard, by both of its paths."""

from __future__ import annotations

import csv
import pathlib
import re
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from data import reader
from data.movielens import File, open_own_csv
from data.prepare import prepare
from data.progress import silent
from data.rejects import Rejects

HEADER = ["user_id", "movie_title", "user_rating", "timestamp", "genres", "user_age"]

# Everything that ends fields, rows or lines for some reader, and a few that take more than one byte.
NASTY = st.text(st.sampled_from("aZ019 ,;:|\t\"'`\r\n\x0b\x1c\x85\u2028\xa0\ufeffé’日😀\\#=-"), min_size=1, max_size=12)
TEXT = NASTY.filter(lambda text: text.strip() != "")
ROW = st.tuples(
    TEXT,
    TEXT,
    st.sampled_from(["1", "2.5", "5.0", "4", " 3"]),
    st.one_of(st.just(""), st.integers(-(10**17), 10**17).map(str)),
    st.one_of(st.just(""), NASTY),
    st.one_of(st.just(""), st.integers(0, 120).map(str)),
)


def one_line(text: str) -> str:
    """What becomes of a text: blanks at the ends of its lines go, and one blank joins the lines that are left."""
    lines = [line.strip() for line in re.split("[\r\n]", text)]
    return " ".join(line for line in lines if line)


def expected_rows(rows: list[tuple[str, ...]]) -> list[list[str]]:
    """Merged, completed and sorted with dictionaries."""
    ratings: dict[tuple[str, str], list[float]] = {}
    latest: dict[tuple[str, str], int] = {}
    genres: dict[str, str] = {}
    ages: dict[str, int] = {}
    for user, title, rating, timestamp, genre, age in rows:
        pair = one_line(user), one_line(title)
        ratings.setdefault(pair, []).append(float(rating))
        if timestamp:
            latest[pair] = max(latest.get(pair, -(10**18)), int(timestamp))
        if one_line(genre):
            genres.setdefault(pair[1], one_line(genre))
        if age:
            ages.setdefault(pair[0], int(age))
    return [
        [*pair, repr(float(np.float32(np.mean(ratings[pair])))), str(latest.get(pair, "")), genres.get(pair[1], ""),
         str(ages.get(pair[0], ""))]
        for pair in sorted(ratings)
    ]  # fmt: skip


def read_back(path: pathlib.Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == HEADER
    for row in rows:
        row[2] = repr(float(np.float32(row[2])))
    return rows


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(
    rows=st.lists(ROW, min_size=1, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    bad_at=st.integers(0, 12),
)
def test_any_text_survives(rows, quoting, bad_at):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file, lines in (
            ("clean", rows),
            # With a row that only the slow path can tell from the others, it reads all of them.
            ("dirty", [*rows[:bad_at], ("u", "t", "no number", "", "", ""), *rows[bad_at:]]),
        ):
            with (folder / f"{file}.csv").open("w", encoding="utf-8", newline="") as out:
                csv.writer(out, quoting=quoting, lineterminator="\r\n").writerows([HEADER, *lines])
        clean = prepare(folder / "clean.csv", folder / "clean", scale=(0, 5))
        dirty = prepare(folder / "dirty.csv", folder / "dirty", scale=(0, 5), max_rejected=1)
        assert read_back(folder / "clean/ratings.csv") == expected_rows(rows)
        assert clean.sidecar.sha256 == dirty.sidecar.sha256
        assert clean.rows_read == clean.sidecar.rows + clean.merged == len(rows)
        assert (dirty.rejected, dirty.rows_read) == (1, len(rows) + 1)
        # One row is one line, and what was written is read as it is.
        assert (folder / "clean/ratings.csv").read_bytes().count(b"\n") == clean.sidecar.rows + 1
        again = prepare(folder / "clean/ratings.csv", folder / "again", scale=(0, 5))
        assert again.sidecar.sha256 == clean.sidecar.sha256


@pytest.mark.parametrize("block_bytes", [256, 1 << 20])
def test_blocks_do_not_show(block_bytes, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(reader, "_BLOCK_BYTES", block_bytes)
    # What describes users and titles differs from row to row, or is missing: the first value must win in any block.
    drawn = rng.integers([0, 0, 1, 0, 0], [20, 30, 6, 4, 60], size=(500, 5)).astype(str).tolist()
    rows = [
        (user, f"T, {title}", rating, "", genre if genre != "0" else "", age if int(age) > 20 else "")
        for user, title, rating, genre, age in drawn
    ]
    with (tmp_path / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    release = open_own_csv(File(tmp_path / "own.csv", "own.csv"), None, (1, 5))
    batches = list(reader._batches(release.ratings[""], silent))
    assert (len(batches) > 10) == (block_bytes == 256)
    prepare(tmp_path / "own.csv", tmp_path / "out")
    assert read_back(tmp_path / "out/ratings.csv") == expected_rows(rows)


def test_columns_have_the_types_that_keep_memory_small(tmp_path):
    (tmp_path / "own.csv").write_text("user_id,movie_title,user_rating,timestamp\n7,A,3,\n8,A,4,12\n7,B,1,-1\n")
    release = open_own_csv(File(tmp_path / "own.csv", "own.csv"), None, None)
    columns = reader.read(release.ratings[""], release, Rejects())
    assert [column.dtype for column in (columns.user, columns.title, columns.rating)] == [
        np.int32,
        np.int32,
        np.float32,
    ]
    np.testing.assert_array_equal(columns.user, [0, 1, 0])
    np.testing.assert_array_equal(columns.title, [0, 0, 1])
    np.testing.assert_array_equal(columns.rating, [3, 4, 1])
    assert columns.timestamp is not None
    assert columns.timestamp.dtype == np.int64
    np.testing.assert_array_equal(columns.timestamp, [reader.NO_TIMESTAMP, 12, -1])
    assert release.users.values == ["7", "8"]
    assert release.titles.values == ["A", "B"]
