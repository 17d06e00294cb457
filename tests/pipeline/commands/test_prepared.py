from __future__ import annotations

import io
import pathlib
import sys

import pytest

from data.oddities import Oddity
from data.sidecar import Sidecar, TableFile
from data.sources import ReadAs
from data.summary import Reason, Summary
from pipeline.commands import prepared

COLUMNS = ("user_id", "movie_title", "user_rating")
SIDECAR = Sidecar(
    rating_scale=(1, 5),
    users=943,
    titles=1_664,
    rows_read=100_010,
    rejected=7,
    source="u.data",
    files=(TableFile(name="ratings.csv", rows=99_693, columns=COLUMNS, sha256="0"),),
    dropped=3,
)
SUMMARY = Summary(
    folder=pathlib.Path("out[/b]"),
    sidecar=SIDECAR,
    rows=99_693,
    rejected_elsewhere=2,
    reasons={
        "expected a user_rating that is a number": Reason(rows=6, file="[v2]/u.data", line=9),
        "expected 4 fields": Reason(rows=1, file="[v2]/u.data", line=8),
    },
    pairs_in_both=3,
    users_in_test_alone=4,
    titles_in_test_alone=5,
    contradictions={"genres": 1, "user_age": 2},
    unread={"timestamp": "2 rows, the first u.data, line 3: expected a timestamp; got 'x'"},
    scale_is="given",
    histogram={"1": 49_000, "5": 50_683, "other": 10},
    counts="half are at most 1, and the highest is 90",
    read_as=(
        ReadAs(file="a.csv.gz", kind="text", encoding="utf-8", separator="tab", compression="gzip", unused=("x", "y")),
        ReadAs(file="u.data", kind="text", encoding="latin-1", separator="comma", header=False),
        ReadAs(file="b", kind="Parquet", header=True),
    ),
    oddities=(Oddity("1 titles look odd, such as '[/x]'", 0.1, 3), Oddity("all timestamps are 5", 1.0, 3)),
)


def test_a_summary_is_told_line_by_line(capsys):
    prepared.show(SUMMARY)
    assert capsys.readouterr().out.splitlines() == [
        "99,693 ratings from 1 to 5 by 943 users of 1,664 titles in out[/b]",
        "ratings.csv: 99,693 rows",
        "100,010 rows read = 99,693 kept + 307 merged + 7 rejected + 3 dropped",
        "  rejected: 6 x expected a user_rating that is a number, the first [v2]/u.data, line 9",
        "  rejected: 1 x expected 4 fields, the first [v2]/u.data, line 8",
        "2 rows of the item and user files rejected, too",
        "a.csv.gz: read as tab-separated utf-8, unpacked from gzip; left out: x, y",
        "u.data: read as comma-separated latin-1, without a header",
        "b: read as Parquet",
        "timestamp: left out of 2 rows, the first u.data, line 3: expected a timestamp; got 'x'",
        "6.35% of all pairs are rated; the scale is given; ratings:",
        f"      1   49.2%  {'█' * 39}",
        f"      5   50.8%  {'█' * 40}",
        "  other   <0.1%  ",
        "these look like counts, not ratings: half are at most 1, and the highest is 90; --implicit takes them for "
        "what they are",
        "4 users and 5 titles are in the test part alone",
        "3 pairs of user and title are in both parts, dropped from training",
        "genres: 1 titles say more than one thing; the first counts",
        "user_age: 2 users say more than one thing; the first counts",
        "odd: 1 titles look odd, such as '[/x]'",
        "odd: all timestamps are 5",
    ]


def test_what_was_there_already_is_told_by_its_record(capsys):
    prepared.show(Summary(folder=pathlib.Path("out"), sidecar=SIDECAR, reused=True))
    assert capsys.readouterr().out.splitlines() == [
        "99,693 ratings from 1 to 5 by 943 users of 1,664 titles in out (already there)",
        "ratings.csv: 99,693 rows",
        "100,010 rows read = 99,693 kept + 307 merged + 7 rejected + 3 dropped",
    ]


@pytest.mark.parametrize(
    ("encoding", "bar", "title"),
    [("utf-8", "█", "Amélie 千 :smile: [b]"), ("latin-1", "#", r"Amélie \u5343 :smile: [b]")],
)
def test_no_name_upsets_a_terminal(encoding, bar, title, monkeypatch):
    shared = {"Amélie 千 :smile: [b]": ["1", "2"], "\x1b[31mRed\n": ["3", "4"]}
    sidecar = Sidecar(rating_scale=(1, 5), users=2, titles=2, shared_titles=shared)
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", screen)
    prepared.show(
        Summary(folder=pathlib.Path("o"), sidecar=sidecar, rows=2, histogram={"1": 1, "5": 1}), keep_items_apart=True
    )
    screen.seek(0)
    lines = screen.read().splitlines()
    assert f"  1   50.0%  {bar * 40}" in lines
    assert lines[-2:] == [f"  {title}: 1, 2", r"  \x1b[31mRed\n: 3, 4"]
