"""What stands in addresses."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from pipeline.serving.errors import RequestError
from pipeline.serving.page import addresses
from pipeline.serving.page.addresses import Filters

TITLES = st.text(min_size=1, max_size=20).filter(lambda title: addresses.text(title) == title)
FILTERS = st.builds(
    Filters,
    genres=st.lists(TITLES, max_size=3, unique=True).map(tuple),
    first=st.none() | st.integers(1, 9999),
    last=st.none() | st.integers(1, 9999),
    seen=st.booleans(),
    stages=st.booleans(),
    count=st.integers(1, 100),
)


def parameters(address: str) -> MultiDict[str]:
    return MultiDict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


@given(st.dictionaries(TITLES, st.sampled_from([0.5, 1, 2.5, 5, 10]), max_size=4), FILTERS)
def test_what_is_written_is_read_again(ratings: dict[str, float], filters: Filters) -> None:
    given = parameters(addresses.new(ratings, filters) or "")
    assert addresses.likes(given) == ratings
    assert list(addresses.likes(given)) == list(ratings)
    assert addresses.filters(given) == filters


def test_of_one_title_the_last_rating_counts() -> None:
    given = MultiDict([("like", "Heat=1"), ("like", "a=b=3"), ("like", "Heat=4")])
    assert addresses.likes(given) == {"a=b": 3.0, "Heat": 4.0}


def test_a_rating_is_changed_in_its_place_and_taken_away() -> None:
    ratings = {"Heat": 1.0, "Alien": 2.0}
    assert list(addresses.rated(ratings, "Heat", 5.0).items()) == [("Heat", 5.0), ("Alien", 2.0)]
    assert addresses.rated(ratings, "Heat", None) == {"Alien": 2.0}
    assert ratings == {"Heat": 1.0, "Alien": 2.0}


@pytest.mark.parametrize("like", ["Heat", "=4", "Heat=", "Heat=nan", "Heat=inf", "Heat=many", ""])
def test_what_is_no_rating_is_refused(like: str) -> None:
    with pytest.raises(RequestError, match="like=TITLE=STARS"):
        addresses.likes(MultiDict([("like", like)]))


@pytest.mark.parametrize(
    ("name", "value"), [("from", "x"), ("to", "0"), ("from", "-3"), ("n", "101"), ("n", "٣"), ("to", "9" * 5000)]
)
def test_what_is_no_number_is_refused_in_a_line(name: str, value: str) -> None:
    with pytest.raises(RequestError, match=f"in '{name}'") as refused:
        addresses.filters(MultiDict([(name, value)]))
    assert len(str(refused.value)) < 250


def test_addresses_that_servers_would_not_take_are_none() -> None:
    assert addresses.title("x" * 10_000) is None
    assert addresses.new({f"Film {place}" * 5: 4.0 for place in range(200)}, Filters()) is None


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert addresses.text("a\ud800b") == "a?b"


def test_a_list_grows_to_a_hundred() -> None:
    filters, counts = Filters(), []
    while filters:
        counts.append(filters.count)
        filters = filters.more()
    assert counts == [10, 30, 90, 100]
