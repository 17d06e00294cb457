from __future__ import annotations

import time

import numpy as np
import pytest

from data import oddities
from data.reader import NO_TIMESTAMP
from data.writer import SortedRatings

USERS = [f"u{number:03}" for number in range(50)]
PLAIN = ["Alien", "Brazil", "Casablanca", "Duel"]
RATED = np.resize([1, 2, 3, 4, 5, 3, 2], 200)


def odd(titles: list[str] = PLAIN, users: list[str] = USERS, **given) -> list[str]:
    """What is odd, in words, about ratings that each user gives to each title."""
    return [each.what for each in oddest(titles, users, **given)]


def oddest(titles=PLAIN, users=USERS, rating=None, timestamp=None, merged=0, parts=1, **given) -> list[oddities.Oddity]:
    pair = np.arange(len(users) * len(titles))
    columns = {
        "pair": pair,
        "rating": np.resize(RATED if rating is None else rating, len(pair)).astype(np.float32),
        "timestamp": None if timestamp is None else np.resize(timestamp, len(pair)).astype(np.int64),
    }
    held = {
        str(part): SortedRatings(
            **{name: None if column is None else column[part::parts] for name, column in columns.items()}
        )
        for part in range(parts)
    }
    return oddities.oddest(held, users=sorted(users), titles=sorted(titles), merged=merged, **given)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    "rating", [RATED, RATED / 2, RATED * 20, [0, 1], [-1, 1], np.linspace(-10, 10, 200), np.linspace(0, 1, 37), [1]]
)
def test_nothing_is_odd_about_plain_ratings(rating, parts):
    stamps = np.arange(1_000_000_000, 1_000_000_200)
    assert odd(rating=rating, timestamp=stamps, parts=parts) == []


def test_films_that_have_odd_names_are_not_odd():
    assert odd([*PLAIN, "1900", "21", "Amélie", "Ágora", "¡Three Amigos!", "‘Round Midnight", "千と千尋"]) == []


@pytest.mark.parametrize(
    ("title", "what", "severity"),
    [
        (
            "ALIEN",
            "1 titles differ from another in case, accents or blanks alone, such as 'ALIEN' and 'Alien'",
            1,
        ),
        ("Aliën", "1 titles differ from another in case, accents or blanks alone, such as 'Alien' and 'Aliën'", 1),
        ("Du  el", "1 titles differ from another in case, accents or blanks alone, such as 'Du  el' and 'Du el'", 1),
        ("CafÃ©", "1 titles look decoded wrongly, such as 'CafÃ©' for 'Café'; see --encoding", 3),
        (
            "It\u00e2\u0080\u0099s",
            r"1 titles look decoded wrongly, such as 'Itâ\x80\x99s' for 'It’s'; see --encoding",
            3,
        ),
        ("Itâ€™s", "1 titles look decoded wrongly, such as 'Itâ€™s' for 'It’s'; see --encoding", 3),
        (
            "It\u0092s é",
            "1 titles hold control characters, as windows-1252 read as latin-1 does; see --encoding cp1252, "
            r"such as 'It\x92s é'",
            3,
        ),
        ("Caf\ufffd", "1 titles hold the mark of what could not be decoded, such as 'Caf\ufffd'", 3),
        (
            "x" * 201,
            f"1 titles have more than 200 characters, perhaps of more than one row, such as '{'x' * 120}…'",
            2,
        ),
    ],
)
def test_odd_titles(title, what, severity):
    (found,) = oddest([*PLAIN, title, "Du el"])
    assert (found.what, found.severity) == (what, severity)
    assert found.share == pytest.approx(1 / 6)


def test_titles_that_nobody_rated_are_not_looked_at():
    part = SortedRatings(pair=np.array([0, 4]), rating=np.array([1, 2], np.float32), timestamp=None)
    assert oddities.oddest({"": part}, users=["a", "b"], titles=["A", "B", "CafÃ©"], merged=0) == []


def test_odd_users():
    users = [*USERS, "bob", "Bob", "Ã©va"]
    assert odd(users=users) == [
        "1 users look decoded wrongly, such as 'Ã©va' for 'éva'; see --encoding",
        "1 users differ from another in case, accents or blanks alone, such as 'Bob' and 'bob'",
    ]


def test_titles_that_are_mostly_numbers():
    assert odd(["7", "12", "Duel"]) == ["2 titles are numbers, perhaps ids of titles kept elsewhere, such as '12'"]


@pytest.mark.parametrize("parts", [1, 2])
def test_one_user_or_title_with_a_large_share(parts):
    titles = [f"t{number:03}" for number in range(100)]
    by_one = np.arange(100)  # all of user 0
    by_others = 100 * np.arange(1, 50) + np.arange(1, 50)  # one each
    to_one = 100 * np.arange(1, 50)  # and all of them of title 0
    for pair, what in [
        ((by_one, by_others), "user 'u000' has 67% of all ratings"),
        ((by_others, to_one), "title 't000' has 50% of all ratings"),
    ]:
        ascending = np.sort(np.concatenate(pair))
        rating = np.resize([1, 2, 3, 4, 5], len(ascending)).astype(np.float32)
        held = {
            str(part): SortedRatings(pair=ascending[part::parts], rating=rating[part::parts], timestamp=None)
            for part in range(parts)
        }
        assert [each.what for each in oddities.oddest(held, users=USERS, titles=titles, merged=0)] == [what]


def test_ratings_of_one_user_or_one_title():
    assert odd(users=["me"]) == ["all ratings have one user, 'me'"]
    assert odd(["Duel"]) == ["all ratings have one title, 'Duel'"]
    assert oddest(["Duel"], ["me"]) == []


@pytest.mark.parametrize("parts", [1, 2])
def test_users_who_give_one_rating_to_many_titles(parts):
    titles = [f"t{number:03}" for number in range(21)]
    rating = np.tile(np.resize([1, 2, 3, 4, 5], 21), 50)
    rating[21:42] = 5
    assert odd(titles, rating=rating, parts=parts) == [
        "1 users give one and the same rating to 20 titles or more, such as 'u001': 5 to 21"
    ]
    rating[21] = 4
    assert odd(titles, rating=rating, parts=parts) == []


def test_of_users_who_give_one_rating_the_one_with_most_is_named():
    rating = np.resize([1, 2, 3, 4, 5], 150).astype(np.float32)
    rating[50:70], rating[100:121] = 4, 2  # users 1 and 2
    pair = np.concatenate([np.arange(50), 50 + np.arange(20), 100 + np.arange(21)])
    part = SortedRatings(pair=pair, rating=rating[pair], timestamp=None)
    (found,) = oddities.oddest({"": part}, users=USERS, titles=[f"t{number:03}" for number in range(50)], merged=0)
    assert found.what.startswith("2 users give one and the same rating")
    assert found.what.endswith("such as 'u002': 2 to 21")
    assert found.share == pytest.approx(2 / 3)


def test_a_part_may_be_empty():
    none = SortedRatings(pair=np.empty(0, np.int64), rating=np.empty(0, np.float32), timestamp=np.empty(0, np.int64))
    some = SortedRatings(pair=np.arange(4), rating=np.arange(4, dtype=np.float32), timestamp=np.zeros(4, np.int64))
    found = oddities.oddest({"train": none, "test": some}, users=["a", "b"], titles=["A", "B"], merged=4)
    assert [each.what for each in found] == ["all timestamps are 0", "4 rows repeat a pair of user and title"]
    assert found[1].share == 0.5


def test_ratings_off_the_grid():
    titles = [f"t{number:03}" for number in range(40)]
    rating = np.resize(RATED / 2, 2000)
    rating[7] = 1.7
    expected = "1 ratings are no multiples of 0.5 as all others are, such as 1.7"
    assert odd(titles, rating=rating) == [expected]
    rating = np.resize(RATED, 2000).astype(float)
    rating[7] = 3.5
    assert odd(titles, rating=rating) == ["1 ratings are no multiples of 1 as all others are, such as 3.5"]
    # It may be the mean of two.
    assert odd(titles, rating=rating, merged=1) == ["1 rows repeat a pair of user and title"]


@pytest.mark.parametrize(
    ("rating", "what", "severity"),
    [
        ([1, 2, 4, 5, 6], "no rating lies between 2 and 4, though others are 1 apart", 2),
        ([-1, 1, 2, 3, 4, 5], "no rating lies between -1 and 1, though others are 1 apart", 2),
        (
            [*np.linspace(-10, 10, 8), 99],
            "22 ratings are 99, far from all others, as a mark of no rating would be",
            3,
        ),
        ([-9, 1, 2, 3, 4], "40 ratings are -9, far from all others, as a mark of no rating would be", 3),
    ],
)
def test_a_gap_between_ratings(rating, what, severity):
    (found,) = oddest(rating=rating)
    assert (found.what, found.severity) == (what, severity)


def test_what_is_made_of_counts_may_have_gaps():
    rating = [0.3, 0.7, 0.8, 0.9, 1]
    assert "are 0.3, far from all others" in odd(rating=rating)[0]
    assert odd(rating=rating, explicit=False) == []


def test_a_gap_among_few_ratings_is_chance():
    users = [f"u{number:03}" for number in range(25)]  # 20 of each of five ratings
    assert odd(users=users, rating=[1, 2, 4, 5, 6]) == ["no rating lies between 2 and 4, though others are 1 apart"]
    assert odd(users=users[1:], rating=[1, 2, 4, 5, 6]) == []


@pytest.mark.parametrize("rating", [[1, 2, 4], [1, 2, 3, 5, 6, 8], np.resize([1, 2, 4, 5], 40).cumsum()])
def test_uneven_or_few_ratings_have_no_gap(rating):
    assert odd(rating=rating) == []


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    ("stamps", "what", "severity"),
    [
        ([0, 5, 6, 7, NO_TIMESTAMP], "40 timestamps are 0", 2),
        ([5, 6, 7, 2**40, 2**39], f"80 timestamps are in the future, such as {2**40}", 2),
        ([5, 5, 5, NO_TIMESTAMP], "all timestamps are 5", 3),
        ([int(time.time()) - 9, 5], None, None),
        ([NO_TIMESTAMP], None, None),
    ],
)
def test_odd_timestamps(stamps, what, severity, parts):
    found = oddest(timestamp=stamps, parts=parts)
    assert [(each.what, each.severity) for each in found] == ([] if what is None else [(what, severity)])


def test_the_most_severe_are_told_first_and_of_these_the_larger():
    titles = ["CafÃ©", "cafÃ©", "cafE", "cafe", "x" * 300]
    found = oddest(titles, timestamp=np.where(np.arange(250) < 9, 0, np.arange(250)), merged=600)
    assert [(each.what.split(" ")[:3], each.severity) for each in found] == [
        (["2", "titles", "look"], 3),
        (["1", "titles", "have"], 2),
        (["9", "timestamps", "are"], 2),
    ]
    assert [each.share for each in found] == pytest.approx([2 / 5, 1 / 5, 9 / 250])
