from __future__ import annotations

import re

import numpy as np
import pytest

from data import scales
from data.errors import DataError
from data.prepare import prepare

STARS = np.repeat(np.arange(1, 6, dtype=np.float32), 20)


@pytest.mark.parametrize(
    "ratings",
    [
        STARS,
        STARS / 2,
        (STARS - 1) * 25,
        np.append(np.full(5000, 5), STARS),
        np.linspace(-10, 10, 500),
        np.random.default_rng(0).uniform(0, 1, 30),
        np.array([1, 2, 500]),
        np.append(np.full(30, 3), [500]),
        np.append(np.repeat(np.arange(6, 11), 50), [0]),
    ],
)
def test_a_scale_that_most_ratings_show_runs_from_the_lowest_to_the_highest(ratings):
    ratings = ratings.astype(np.float32)
    scale = scales.settle([ratings[::2], ratings[1::2]])
    assert (np.float32(scale.low), np.float32(scale.high), scale.core) == (ratings.min(), ratings.max(), None)


@pytest.mark.parametrize("unit", [1, 0.01, 1000])
@pytest.mark.parametrize(
    ("odd", "core"),
    [([500], (1, 5)), ([-500], (1, 5)), ([10], None), ([11], None), ([13.5], (1, 5)), ([500, 500], None)],
)
def test_a_scale_that_rests_on_a_row_in_a_thousand_says_so_in_any_unit(odd, core, unit):
    scale = scales.settle([np.append(STARS, odd).astype(np.float32) * np.float32(unit)])
    assert scale.core == (None if core is None else pytest.approx((core[0] * unit, core[1] * unit)))


def test_a_handful_grows_with_the_rows_up_to_ten_and_may_be_at_both_ends():
    many = np.tile(STARS, 100)
    assert scales.settle([np.append(many, [500] * 5 + [-500] * 5).astype(np.float32)]).core == (1, 5)
    assert scales.settle([np.append(many, [500] * 11).astype(np.float32)]).core is None


def test_the_first_candidate_that_holds_all_is_the_scale():
    candidates = ((0.5, 5.0), (0.0, 10.0))
    assert scales.settle([STARS], candidates) == scales.Scale(0.5, 5)
    assert scales.settle([STARS * 2], candidates) == scales.Scale(0, 10)
    assert scales.settle([STARS * 20], candidates) == scales.Scale(20, 100)
    # A rating in a hundred, a 6 among stars, makes no scale of ten.
    assert scales.settle([np.append(STARS, np.float32(6))], candidates).core == (0.5, 5)


def test_ratings_that_are_all_the_same_have_no_scale():
    with pytest.raises(DataError, match=r"ratings that differ; got 3\.5 alone.*--implicit.*--scale"):
        scales.settle([np.full(9, 3.5, np.float32)])


def test_the_refusal_names_rows_and_every_way_on():
    scale = scales.settle([np.append(STARS, np.float32(500))])
    message = scales.refusal(scale, ["a.csv, line 7: 1,A,500"], None)
    for part in ("line 7: 1,A,500", "--scale 1 5 --max-rejected 1", "--scale 1 500"):
        assert part in message
    assert "--implicit" not in message
    assert "counts (why), give --implicit" in scales.refusal(scale, ["x"] * 9, "why")
    assert "and 4 more" in scales.refusal(scale, ["x"] * 9, "why")
    with pytest.raises(ValueError, match="rests on a handful"):
        scales.refusal(scales.Scale(1, 5), [], None)


def test_a_core_holds_what_was_written_also_where_float32_rounds_it(tmp_path):
    """The row that is named is the odd one alone, and each way on that is named leads on."""
    rng = np.random.default_rng(0)
    rows = [f"{number % 10},T{number},{rating:.15f}" for number, rating in enumerate(rng.uniform(0.1, 1, 50))]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["user_id,movie_title,user_rating", *rows, "11,T,500", ""]))
    with pytest.raises(DataError, match=r"and 1 off it: .*line 52: '11,T,500'; mend them") as refused:
        prepare(path, tmp_path / "out")
    way = r"--scale (\S+) (\S+)"
    ways = re.search(f"{way} --max-rejected 1, or keep them with {way}$", str(refused.value))
    assert ways
    low, high, lowest, highest = map(float, ways.groups())
    assert prepare(path, tmp_path / "out", scale=(low, high), max_rejected=1).rows == 50
    assert prepare(path, tmp_path / "out", scale=(lowest, highest)).rows == 51


def test_a_tally_is_of_all_ratings_in_ascending_order():
    parts = [np.array([2, 1, 2, 0.5], np.float32), np.array([-1, 2], np.float32)]
    assert list(scales.tally(parts).items()) == [(-1, 1), (0.5, 1), (1, 1), (2, 3)]
    long = np.resize(np.arange(10_000, dtype=np.float32), 600_000)
    assert scales.tally([long]) == dict.fromkeys(range(10_000), 60)
    assert scales.tally([long, np.array([-1], np.float32)]) == {}
