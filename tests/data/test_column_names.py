from __future__ import annotations

from typing import Any

import pytest

from data import column_names
from data.choices import Choices
from data.errors import LayoutError
from modules.features import COLUMNS


def find(*names: str, width: int = 0, **choices: Any) -> column_names.ColumnNames:
    chosen = Choices(**choices)
    column_names.check(chosen)
    return column_names.find("a.csv", names, width or len(names), chosen, COLUMNS, "'1', '2', '3'")


OURS = ("user_id", "movie_title", "user_rating")


def test_columns_go_by_our_names_theirs_or_numbers():
    assert find("x", *OURS).fields == {"user_id": 1, "movie_title": 2, "user_rating": 3}
    named = {"user_id": "User, id", "movie_title": "Movie=Title", "user_rating": "#3"}
    found = find("User, id", "Movie=Title", "Stars", "more", columns=named)
    assert found.fields == {"user_id": 0, "movie_title": 1, "user_rating": 2}
    assert found.unused == ("more",)


def test_without_a_header_columns_are_numbers():
    numbers = {"user_id": "1", "movie_title": "#4", "user_rating": "2"}
    assert find(width=4, columns=numbers).fields == {"user_id": 0, "movie_title": 3, "user_rating": 1}
    with pytest.raises(LayoutError, match=r"numbers of columns for movie_title, user_rating.*row is '1', '2', '3'"):
        find(width=4, columns={"user_id": "1"})


def test_a_number_is_a_name_where_there_are_names():
    assert find("3", *OURS[1:], columns={"user_id": "3"}).fields["user_id"] == 0
    with pytest.raises(LayoutError, match=r"expected 9 \(for user_id\)"):
        find("3", *OURS[1:], columns={"user_id": "9"})


@pytest.mark.parametrize("number", ["#0", "#4"])
def test_numbers_beyond_the_columns_are_refused(number):
    with pytest.raises(LayoutError, match=f"number of a column of a.csv, 1 to 3, for user_id; got {number}"):
        find(*OURS, columns={"user_id": number})


def test_optional_columns_are_left_out_where_they_are_dropped():
    assert "timestamp" in find(*OURS, "timestamp").fields
    found = find(*OURS, "timestamp", drop=("timestamp",))
    assert "timestamp" not in found.fields
    assert found.unused == ("timestamp",)


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"drop": ("user_id",)}, "optional column in --drop"),
        ({"drop": ("timestamp",), "columns": {"timestamp": "t"}}, "optional column in --drop"),
        ({"drop": ("time",)}, "names of ours.*got 'time'"),
        ({"columns": {"user": "u"}}, "names of ours.*got 'user'"),
        ({"columns": {"user_id": "movie_title"}}, "column of its own for movie_title.*is user_id, too"),
    ],
)
def test_choices_that_no_file_can_fulfil_are_refused(choices, problem):
    with pytest.raises(LayoutError, match=problem):
        find(*OURS, **choices)


def test_two_columns_of_one_name_are_refused_where_one_is_wanted():
    with pytest.raises(LayoutError, match=r"expected one column 'user_rating'.*columns 3, 4.*user_rating=#3"):
        find(*OURS, "user_rating")
    assert find(*OURS, "user_rating", columns={"user_rating": "#4"}).fields["user_rating"] == 3
    assert find(*OURS, "x", "x").unused == ("x", "x")


def test_names_that_are_missing_are_proposed_from_what_others_call_them():
    with pytest.raises(LayoutError) as caught:
        find("userId", "Movie Title", "Stars", "Date")
    assert "--columns 'user_id=userId,movie_title=Movie Title,user_rating=Stars,timestamp=Date'" in str(caught.value)
    with pytest.raises(LayoutError, match="no column seems to say who rated"):
        find("Date", "Name", "Rating")
    with pytest.raises(LayoutError, match="with --columns user_id=…,movie_title=…,user_rating=…"):
        find("a", "b")
