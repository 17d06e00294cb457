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


@pytest.mark.parametrize(("separator", "name"), [(",", "comma"), ("\t", "tab"), ("::", "two colons"), ("^", "'^'")])
def test_separators_are_told_in_words(separator, name):
    assert forms.separator_name(separator) == name
    assert find(separator.join(WANTED), separator=separator).separated_by == name


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


@pytest.mark.parametrize(("numbers", "refused"), [(4, False), (5, True)])
def test_a_header_of_which_most_names_are_numbers_looks_like_data(numbers, refused):
    header = ",".join([*WANTED, "note", *map(str, range(numbers))])
    if not refused:
        assert find(f"{header}\n").width == 8
        return
    with pytest.raises(LayoutError, match=r"line 1: expected a header.*got 'user_id', .* and 1 more, which looks like"):
        find(f"{header}\n")


@pytest.mark.parametrize(("first", "names"), [("0", False), ("user", True)])
def test_a_header_of_numbers_over_a_matrix_is_named_so(first, names):
    header = ";".join([first, *map(str, range(1, 12))])
    with pytest.raises(LayoutError, match="matrix of 12 columns") as caught:
        find(f"{header}\n" + f"{';'.join('3' * 12)}\n" * 3)
    assert ("header=None" in str(caught.value)) != names
    assert ("m.rename(columns={'user': 'user_id'})" in str(caught.value)) == names
    assert "sep=';'" in str(caught.value)


def test_an_asked_separator_comes_before_that_of_excel():
    form = find("sep=;\nuser_id,movie_title;user_rating\n1,2;3\n", separator=",")
    assert (form.separator, form.names, form.head) == (",", ("user_id", "movie_title;user_rating"), 2)
    with pytest.raises(LayoutError, match="line 2: expected a header"):
        find("sep=;\n1;2;3\n4;5;6\n")


def test_the_header_names_more_columns_under_the_right_separator_than_it_has_fields_under_another():
    form = find("user_id;movie_title;user_rating;a,b,c,d,e,f\n1;2;3;4\n")
    assert (form.separator, form.width) == (";", 4)
    # Where none is named, the one with most fields is taken, and what is missing told of it.
    assert find("a;b;c,d\n1;2;3\n").separator == ";"


def test_the_sample_ends_where_a_row_is_blank_bad_or_cut():
    assert find('user_id,movie_title,user_rating\n1,A,3\n2,B,4\n3,"x"y,5\n').sample == (("1", "A", "3"),)
    assert find("user_id,movie_title,user_rating\n1,A,3\n2,B,4\n\n3,C,5\n").sample == (("1", "A", "3"),)
    assert find("user_id,movie_title,user_rating\n1,A,3\n2,B").sample == (("1", "A", "3"),)
    assert find("user_id,movie_title,user_rating\n1,A").sample == (("1", "A"),)
    assert len(find("user_id,movie_title,user_rating\n" + "1,A,3\n" * 300).sample) == 99


def test_without_a_header_the_width_is_that_of_most_rows():
    form = find("1,A,3\n2,B, C,4\n3,D,5\n4,E,1\n", header=False)
    assert (form.width, form.separator) == (3, ",")
    # Fields that all rows have count for more than many that few have.
    text = "1;A,x,y,z;3\n" * 3 + "2;B;4\n" * 3
    assert find(text, header=False).separator == ";"


def test_a_quote_in_what_two_characters_or_none_separate_is_text():
    assert find('user_id::movie_title::user_rating\n1::"A::3\n2::B::4\n').sample == (("1", '"A', "3"),)
    assert find('user_id,movie_title,user_rating\n1,"A,3\n2,B,4\n', quotes=False).sample == (("1", '"A', "3"),)


def test_first_fields_are_told_up_to_eight():
    assert forms.first_fields(list("abcdefgh")) == ", ".join(map(repr, "abcdefgh"))
    assert forms.first_fields(list("abcdefghij")) == ", ".join(map(repr, "abcdefgh")) + " and 2 more"


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
