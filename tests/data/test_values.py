from __future__ import annotations

import dataclasses
import datetime
import decimal

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from data.rejects import BadFieldError
from data.values import (
    RatingParser,
    in_bounds,
    parse_cell,
    parse_integer,
    parse_rating,
    parse_timestamp,
    parse_timestamps,
)
from modules.features import GENRES, MOVIE_TITLE, RELEASE_YEAR, USER_AGE

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
MISSING = -7
SECONDS = st.one_of(st.integers(0, 10**11 - 1), st.integers(10**9, 2 * 10**9))


@st.composite
def numbers(draw):
    """A number as text, and the seconds that it means."""
    seconds = draw(SECONDS)
    form = draw(st.sampled_from(["{}", "{}.0", "{}.", "{}.000", "{}.75", "00{}", "+{}", "exponent"]))
    if form == "exponent":
        return f"{decimal.Decimal(seconds):.18e}", seconds
    return form.format(seconds), seconds


@st.composite
def smaller_units(draw):
    """Milli-, micro- or nanoseconds."""
    exponent, per_second, last = draw(st.sampled_from([(11, 10**3, 10**14), (14, 10**6, 10**17), (17, 10**9, 2**63)]))
    number = draw(st.integers(10**exponent, last - 1))
    return draw(st.sampled_from(["{}", "{}.0", "{}.5"])).format(number), int(decimal.Decimal(number) / per_second)


@st.composite
def moments(draw):
    """A date, or a date and a time with or without a zone."""
    zone = draw(st.sampled_from([None, "Z", "UTC", " UTC", "+00:00", "+02:00", "-0330", "+14", "-23:59"]))
    minutes = {"+02:00": 120, "-0330": -210, "+14": 840, "-23:59": -1439}.get(zone or "", 0)
    moment = draw(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(5138, 1, 1)))
    form = draw(st.sampled_from(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]))
    text = moment.strftime(form)
    meant = datetime.datetime.strptime(text, form).replace(
        tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes))
    )
    return text + (zone or ""), (meant - EPOCH) // datetime.timedelta(seconds=1)


UNREADABLE = [
    "x", "-1", "-0.5", "1,5", "1 2", "٣", "--1", "1e999", "9223372036854775808", "9" * 25, ".", "nan",
    "2005-02-30", "2005-13-01", "2005-9-6", "1969-12-31", "0000-00-00", "0000-01-01", "9999-12-31",
    "2005-09-06T24:00:00", "2005-09-06T12:00.5", "2005-09-06.5", "2005-09-06T12:00:60",
    "1970-01-01T00:00:00+00:01", "2005-09-06T12:00:00+2", "2005-02-29", "2005-04-31", "06/09/2005", "2005-09-06\n",
    "1\n",
]  # fmt: skip
GOOD = st.one_of(numbers(), smaller_units(), moments(), st.sampled_from([("", None), (" \t", None), ("-0", 0)]))


def padded(cell: tuple[str, int | None]) -> tuple[str, int | None]:
    return f" {cell[0]}\t", cell[1]


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(
    cells=st.lists(st.one_of(GOOD, GOOD.map(padded), st.sampled_from([(t, MISSING) for t in UNREADABLE])))
)
def test_timestamps_are_read_one_by_one_and_all_at_once_as_datetime_and_decimal_have_them(cells):
    fast = parse_timestamps(pa.array([text for text, _ in cells], pa.string()), MISSING).to_pylist()
    for (text, seconds), at_once in zip(cells, fast, strict=True):
        if seconds == MISSING:
            with pytest.raises(BadFieldError):
                parse_timestamp(text)
            assert at_once is None, text
        else:
            assert parse_timestamp(text) == seconds, text
            assert at_once in (None, MISSING if seconds is None else seconds), text


@pytest.mark.parametrize(
    ("form", "seconds"),
    [
        ("{}", lambda n: n),
        ("{}.0", lambda n: n),
        (" {}.25", lambda n: n),
        ("{}123", lambda n: n),
        ("{}123456", lambda n: n),
        ("{}123456789", lambda n: n),
        ("2005-09-06", lambda n: 1125964800),
        ("2005-09-06T12:00:00Z", lambda n: 1126008000),
        ("2005-09-06 12:00:00.5+02:00", lambda n: 1126000800),
    ],
)
def test_forms_that_people_have_are_read_all_at_once(form, seconds):
    numbers = range(1_362_062_300, 1_362_062_310)
    cells = pa.array([*(form.format(number) for number in numbers), "", "soon"])
    assert parse_timestamps(cells, MISSING).to_pylist() == [*map(seconds, numbers), MISSING, None]


def test_the_size_of_a_number_tells_its_unit():
    edges = {10**11 - 1: 10**11 - 1, 10**11: 10**8, 10**14 - 1: 10**11 - 1, 10**14: 10**8, 10**17 - 1: 10**11 - 1}
    edges |= {10**17: 10**8, 2**63 - 1: 9223372036}
    assert [parse_timestamp(str(number)) for number in edges] == list(edges.values())
    at_once = parse_timestamps(pa.array([str(number) for number in edges]), MISSING).to_pylist()
    assert at_once == [*list(edges.values())[:-1], None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("soon", "a timestamp in seconds since 1970, or a date as in ISO 8601"),
        ("-1", "a timestamp from 1970 on and before 5138"),
        ("5138-11-16T09:46:40", "a timestamp from 1970 on and before 5138"),
    ],
)
def test_what_a_timestamp_must_be_is_said(text, expected):
    with pytest.raises(BadFieldError) as caught:
        parse_timestamp(text)
    assert (caught.value.expected, caught.value.value) == (expected, repr(text))
    assert parse_timestamp("5138-11-16T09:46:39") == 10**11 - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("25", 25), ("25.0", 25), (" 25.\t", 25), ("2.5e1", 25), ("+25", 25), ("250e-1", 25), ("-0.0", 0), ("", None)],
)
def test_integers_are_whole_numbers_however_they_are_written(text, value):
    assert parse_cell(text, USER_AGE) == value


@pytest.mark.parametrize("text", ["25.5", "1e-1", "1e999", "1e18", "9" * 19, "x", "1e9999", "1 2", "٣", "3,5", "--1"])
def test_other_numbers_are_no_integers(text):
    with pytest.raises(BadFieldError, match="expected a user_age that is an integer; got "):
        parse_cell(text, USER_AGE)


@pytest.mark.parametrize("column", [RELEASE_YEAR, USER_AGE], ids=lambda column: column.name)
def test_integers_are_bounded(column):
    assert [parse_cell(str(value), column) for value in (column.low, column.high)] == [column.low, column.high]
    for value in (column.low - 1, column.high + 1):
        assert not in_bounds(value, column)
        with pytest.raises(BadFieldError, match=rf"a {column.name} in \[{column.low}, {column.high}\]; got '{value}'"):
            parse_cell(str(value), column)
    unbounded = dataclasses.replace(column, low=None, high=None)
    assert parse_integer(str(10**18 - 1), unbounded) == 10**18 - 1
    assert parse_integer(" -007 ", unbounded) == -7
    with pytest.raises(BadFieldError, match=r"of at least 5"):
        parse_integer("4", dataclasses.replace(unbounded, low=5))


def test_a_date_has_a_year_of_release_and_no_age():
    assert [parse_cell(text, RELEASE_YEAR) for text in ("1999-01-01", "2001-12-31T23:00:00-05:00")] == [1999, 2001]
    for text, column in (("1999-01-01", USER_AGE), ("1999-1-1", RELEASE_YEAR), ("1869-12-31", RELEASE_YEAR)):
        with pytest.raises(BadFieldError):
            parse_cell(text, column)


def test_texts():
    assert parse_cell(" a | b ", GENRES) == "a | b"
    assert parse_cell("  ", GENRES) is None
    with pytest.raises(BadFieldError, match="a movie_title that is not empty"):
        parse_cell("  ", MOVIE_TITLE)


@hypothesis.given(value=st.floats(-1e6, 1e6), comma=st.booleans())
def test_ratings_with_either_decimal_mark(value, comma):
    text = repr(value).replace(".", "," if comma else ".")
    assert RatingParser(None, decimal_comma=True)(text) == value
    if "," in text:
        with pytest.raises(BadFieldError, match="with a decimal point") as caught:
            parse_rating(text, None)
        assert "separate the fields by another character" in caught.value.remedy
    else:
        assert parse_rating(text, None) == value


@pytest.mark.parametrize("first", ["3,5", "3.5"])
def test_a_file_has_one_decimal_mark(first):
    parse = RatingParser((1, 5), decimal_comma=True)
    other = first.translate({ord(","): ".", ord("."): ","})
    with pytest.raises(BadFieldError):
        parse("4.5,0")  # no number, and so no example of a mark
    assert [parse(text) for text in ("4", first, "5")] == [4, 3.5, 5]
    with pytest.raises(BadFieldError, match=f"the decimal mark `{first[1]}` of the rows before; got '{other}'"):
        parse(other)
    assert parse(first) == 3.5


@pytest.mark.parametrize(
    "text", ["1.234,5", "1,234.5", "1,2,3", ",", "", "nan", "inf", "1e999", "3.5e38", "0x10", "1_0"]
)
def test_what_is_no_number_is_no_rating(text):
    for parse in (RatingParser(None, decimal_comma=True), RatingParser(None, decimal_comma=False)):
        with pytest.raises(BadFieldError, match="a user_rating that is a number"):
            parse(text)


def test_a_rating_off_the_scale_leads_to_the_option():
    assert [parse_rating(text, (1, 5)) for text in (" 3.5\t", "1", "5")] == [3.5, 1, 5]
    assert parse_rating("-1e-2", None) == -0.01
    for text in ("0.99", "5.01"):
        with pytest.raises(BadFieldError, match=r"expected a user_rating in \[1, 5\]") as caught:
            parse_rating(text, (1, 5))
        assert "--scale LOW HIGH" in caught.value.remedy


def test_all_at_once_of_nothing():
    assert parse_timestamps(pa.array([], pa.string()), MISSING).to_pylist() == []
    np.testing.assert_array_equal(parse_timestamps(pa.array(["", "0"]), MISSING), [MISSING, 0])
