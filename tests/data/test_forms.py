from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from data import forms
from data.choices import Choices
from data.errors import LayoutError

WANTED = ["user_id", "movie_title", "user_rating"]


def find(text: str, **choices: Any) -> forms.Form:
    return forms.find(text.encode(), "a.csv", Choices(**choices), WANTED)


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::"])
def test_the_separator_is_the_one_under_which_the_header_has_the_columns(separator):
    header = separator.join([*WANTED, "where, when; how|why"])
    form = find(f"{header}\n{separator.join('1234')}\n")
    assert (form.separator, form.names[:3], form.head) == (separator, tuple(WANTED), 1)
    assert form.sample == (tuple("1234"),)


def test_a_separator_that_is_asked_for_is_taken():
    form = find("user_id,movie_title;user_rating\n1,2;3\n", separator="semicolon")
    assert (form.separator, form.names) == (";", ("user_id,movie_title", "user_rating"))


@pytest.mark.parametrize("asked", ["", "ab", '"', "\n", "é"])
def test_what_cannot_separate_is_refused(asked):
    with pytest.raises(LayoutError, match="expected a separator"):
        find("a,b\n", separator=asked)


@pytest.mark.parametrize(("text", "separator"), [("tab", "\t"), (r"\t", "\t"), ("two colons", "::"), ("^", "^")])
def test_separators_go_by_names_too(text, separator):
    assert forms.separator_of(text) == separator


@pytest.mark.parametrize("line", ["sep=;\n", "sep=;\r\n", '"sep=;"\n'])
def test_excels_first_line_names_the_separator(line):
    form = find(f"{line}user_id;movie_title;user_rating\n1;2;3\n")
    assert (form.separator, form.names, form.head) == (";", tuple(WANTED), 2)


def test_names_over_two_lines_are_one_name_each():
    form = find('user_id,"movie\ntitle", user_rating \n1,A,3\n')
    assert (form.names, form.head) == (("user_id", "movie title", "user_rating"), 2)


def test_a_header_alone_without_a_line_break_is_a_header():
    form = find(",".join(WANTED))
    assert (form.names, form.head, form.sample) == (tuple(WANTED), 1, ())


@pytest.mark.parametrize("header", ["1,1193,5", "alice,Alien,5.5", "1,2,3,a"])
def test_a_header_that_looks_like_data_is_refused_with_both_ways_on(header):
    wanted = ["alice", "Alien", "5.5"]
    with pytest.raises(LayoutError, match=r"a\.csv, line 1: .*--no-header.*--header"):
        forms.find(f"{header}\n2,3,4\n".encode(), "a.csv", Choices(), wanted)
    assert forms.find(f"{header}\n2,3,4\n".encode(), "a.csv", Choices(header=True), wanted).names == tuple(
        header.split(",")
    )


def test_one_number_among_names_that_nobody_wants_is_a_name():
    assert find("user_id,movie_title,user_rating,2023\n1,A,3,x\n").names[3] == "2023"


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::"])
def test_without_a_header_the_rows_agree_on_the_separator(separator):
    text = io.StringIO()
    rows = [["1", "A, or; B", "3"], ["2", "C", "4"], ["3", "D|E", "5"]]
    if len(separator) == 1:
        csv.writer(text, delimiter=separator).writerows(rows)
    else:
        text.writelines(separator.join(row) + "\n" for row in rows)
    form = find(text.getvalue(), header=False)
    assert (form.separator, form.names, form.width, form.head) == (separator, (), 3, 0)


@pytest.mark.parametrize(("text", "problem"), [("", "empty line"), ("\n1,2\n", "empty line"), ('"a\n', "end of data")])
def test_no_header_is_refused(text, problem):
    with pytest.raises(LayoutError, match=problem):
        find(text)
