from __future__ import annotations

import re

import numpy as np
import pytest

from data import oddities
from data.reader import NO_TIMESTAMP
from data.writer import SortedRatings

USERS = [f"u{number:03}" for number in range(50)]


def odd(titles: list[str], rating=None, timestamp=None, user=None, merged: int = 0) -> list[str]:
    """What is odd about 50 users' ratings of all titles, in words."""
    user = np.repeat(np.arange(50), len(titles)) if user is None else np.asarray(user)
    pair = user * len(titles) + np.arange(len(user)) % len(titles)
    rating = np.tile([1, 2.5, 4, 5, 3], len(pair))[: len(pair)] if rating is None else rating
    part = SortedRatings(pair=pair, rating=np.asarray(rating, np.float32), timestamp=timestamp)
    return [each.what for each in oddities.oddest({"": part}, users=USERS, titles=sorted(titles), merged=merged)]


PLAIN = ["Alien", "Brazil", "Casablanca", "Duel"]


def test_nothing_is_odd_about_plain_ratings():
    assert odd(PLAIN) == []


@pytest.mark.parametrize(
    ("title", "what"),
    [
        ("ALIEN", "differ from another in case, accents or blanks alone, such as 'ALIEN' and 'Alien'"),
        ("Aliën", "such as 'Alien' and 'Aliën'"),
        ("12", "1 titles are numbers.*'12'"),
        ("CafÃ©", "1 titles look decoded wrongly; see --encoding, such as 'CafÃ©'"),
        ("a\u0093b", "--encoding cp1252"),
        ("x" * 201, "more than 200 characters"),
    ],
)
def test_odd_titles(title, what):
    (found,) = odd([*PLAIN, title])
    assert re.search(what, found)


def test_one_user_with_a_large_share():
    (found,) = odd(PLAIN, user=np.append(np.arange(50), np.zeros(60, int)))
    assert found == "user 'u000' has 55% of all ratings"


def test_ratings_off_the_grid():
    ratings = np.tile([1, 2.5, 4, 5, 3], 400).astype(np.float32)
    ratings[7] = 3.7
    assert odd(PLAIN, rating=ratings[:2000], user=np.arange(2000) % 50) == [
        "1 ratings are no multiples of 0.5 as all others are, such as 3.7"
    ]


@pytest.mark.parametrize(
    ("stamps", "what"),
    [
        ([0, 5, 6, 7], "50 timestamps are 0"),
        ([5, 6, 7, 2**40], "50 timestamps are in the future"),
        ([5, 5, 5, NO_TIMESTAMP], "all timestamps are 5"),
    ],
)
def test_odd_timestamps(stamps, what):
    assert odd(PLAIN, timestamp=np.tile(stamps, 50)) == [what]


def test_the_three_that_concern_most_are_told():
    found = odd(["1", "2", "CafÃ©", "cafÃ©"], timestamp=np.full(200, 5), merged=600)
    assert [each.split(" ", 1)[0] for each in found] == ["all", "600", "2"]
