from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data import feedback
from data.errors import DataError
from data.prepare import prepare
from data.sidecar import Sidecar
from tests.data.small_releases import tables_in

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("numbers", "are_counts"),
    [
        (np.ones(9), True),
        (RNG.zipf(1.6, 2000), True),
        (RNG.lognormal(0, 2, 2000), True),
        (RNG.integers(1, 6, 500), False),
        (RNG.integers(1, 11, 500) / 2, False),
        (RNG.integers(0, 101, 500), False),
        (RNG.uniform(-10, 10, 500), False),
        (RNG.integers(0, 2, 500), False),
        (np.append(np.full(90, 5), [1, 2, 3]), False),
        (np.append(np.zeros(3000), RNG.zipf(1.6, 2000)), True),
        (np.append(np.zeros(3000), RNG.integers(1, 11, 2000)), False),
        (np.append(RNG.zipf(1.6, 2000), [-1]), False),
        (RNG.normal(80, 12, 2000).clip(0, 100).round(), False),
        (np.array([1, 10]), False),
        (np.array([1, 1, 11]), True),
        (np.array([1, 1, 10]), False),
    ],
)
def test_counts_are_told_by_their_tail(numbers, are_counts):
    numbers = numbers.astype(np.float32)
    before = numbers.copy()
    assert (feedback.looks_like_counts([numbers]) is not None) == are_counts
    assert (feedback.looks_like_counts([numbers[:0], numbers[:1], numbers[1:]]) is not None) == are_counts
    np.testing.assert_array_equal(numbers, before)


def test_counts_become_preferences():
    counts = np.array([3, 1, 1, 7, 3, 1], np.float32)
    np.testing.assert_array_equal(feedback.transform(counts, "binary"), np.ones(6))
    np.testing.assert_allclose(feedback.transform(counts, "log"), np.log(1 + counts) / np.log(8), rtol=1e-6)
    ranks = pd.Series(counts).rank(pct=True)
    np.testing.assert_allclose(feedback.transform(counts, "rank"), ranks, rtol=1e-6)
    assert {feedback.transform(counts, how).dtype for how in ("binary", "log", "rank")} == {np.dtype(np.float32)}


def test_why_they_look_like_counts():
    assert feedback.looks_like_counts([np.array([0, 2, 2, 50], np.float32)]) == (
        "half of those above 0 are at most 2, and the highest is 50"
    )
    assert feedback.looks_like_counts([np.array([1.5, 1.5], np.float32)]) == "all are 1.5"


PLAYS = "user_id,movie_title,user_rating\n1,A,3\n1,A,4\n1,B,1\n2,A,0\n2,B,1\n"


@pytest.mark.parametrize(
    ("how", "expected"),
    [("binary", ["1,A,1", "1,B,1", "2,B,1"]), ("rank", ["1,A,1", "1,B,0.5", "2,B,0.5"])],
)
def test_counts_of_a_pair_add_up_and_none_are_no_feedback(how, expected, tmp_path):
    (tmp_path / "plays.csv").write_text(PLAYS)
    summary = prepare(tmp_path / "plays.csv", tmp_path / "out", implicit=True, transform=how)
    assert tables_in(tmp_path / "out")["ratings.csv"].splitlines()[1:] == expected
    sidecar = Sidecar.read(tmp_path / "out")
    assert (sidecar.feedback, sidecar.rating_scale, sidecar.merged, sidecar.dropped) == (how, (0, 1), 1, 1)
    assert summary.sidecar == sidecar


def test_a_sum_beyond_float32_is_the_largest_of_it(tmp_path):
    (tmp_path / "plays.csv").write_text("user_id,movie_title,user_rating\n1,A,3e38\n1,A,3e38\n2,B,1\n")
    prepare(tmp_path / "plays.csv", tmp_path / "out", implicit=True, transform="log")
    _, first, second = tables_in(tmp_path / "out")["ratings.csv"].splitlines()
    assert first == "1,A,1"
    assert float(second.rpartition(",")[2]) == pytest.approx(np.log(2) / np.log(np.finfo(np.float32).max))


@pytest.mark.parametrize(
    ("text", "message"),
    [(PLAYS.replace("2,A,0", "2,A,-1"), "counts of 0 or more.*got -1"), (PLAYS[:32] + "1,A,0\n", "counts above 0")],
)
def test_what_are_no_counts_is_refused(text, message, tmp_path):
    (tmp_path / "plays.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        prepare(tmp_path / "plays.csv", tmp_path / "out", implicit=True)
    assert not (tmp_path / "out").exists()
