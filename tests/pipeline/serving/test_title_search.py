"""Titles that are found without their exact spelling, and those that are not."""

from __future__ import annotations

import re

import hypothesis
import pytest
from hypothesis import strategies

from pipeline.serving.title_search import TitleSearch

CATALOGUE = (
    "12 Angry Men (1957)",
    "Godfather, The (1972)",
    "Godfather: Part II, The (1974)",
    "Heat (1995)",
    "Sabrina (1954)",
    "Sabrina (1995)",
    "heat",
    "Seven Samurai (Shichinin no samurai) (1954)",
    "Misérables, Les (1995)",
    "Shall We Dance? (1996)",
    "Shall We Dance? (1937)",
    "Thelma & Louise (1991)",
    "Amour, L' (2012)",
    "2001",
    "七人の侍 (1954)",
)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Heat (1995)", "Heat (1995)"),
        ("heat", "heat"),
        ("HEAT (1995)", "Heat (1995)"),
        ("12 angry men", "12 Angry Men (1957)"),
        ("the godfather", "Godfather, The (1972)"),
        ("Godfather", "Godfather, The (1972)"),
        ("Godfather Part II", "Godfather: Part II, The (1974)"),
        ("sabrina 1954", "Sabrina (1954)"),
        ("Shichinin no Samurai", "Seven Samurai (Shichinin no samurai) (1954)"),
        ("les miserables", "Misérables, Les (1995)"),
        ("shall we dance (1937)", "Shall We Dance? (1937)"),
        ("Thelma and Louise", "Thelma & Louise (1991)"),
        ("L'amour", None),
        ("amour", "Amour, L' (2012)"),
        ("2001", "2001"),
        ("七人の侍", "七人の侍 (1954)"),
        ("Alien", None),
        ("", None),
        ("?!", None),
        ("the", None),
    ],
)
def test_a_title_is_found_by_its_name(name: str, title: str | None) -> None:
    assert TitleSearch(CATALOGUE).find(name) == title


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("Sabrina", "'Sabrina (1954)', 'Sabrina (1995)'; give the whole title"),
        ("shall we dance", "'Shall We Dance? (1996)', 'Shall We Dance? (1937)'; give the whole title"),
        ("same", "'Same (1)', 'Same (2)', 'Same (3)', 'Same (4)', 'Same (5)', …; give the whole title"),
    ],
)
def test_a_name_of_several_titles_is_refused(name: str, listed: str) -> None:
    search = TitleSearch([*CATALOGUE, *(f"Same ({number})" for number in range(1, 8))])
    expected = f"expected one title; got {name!r}, which could be {listed}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        search.find(name)


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("the godfahter", ["Godfather, The (1972)", "Godfather: Part II, The (1974)"]),
        ("12 angry women", ["12 Angry Men (1957)"]),
        ("sabrnia", ["Sabrina (1954)", "Sabrina (1995)"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_titles_with_names_alike_are_suggested(name: str, alike: list[str]) -> None:
    assert TitleSearch(CATALOGUE).suggest(name) == alike


@hypothesis.given(strategies.lists(strategies.text(max_size=12), unique=True, max_size=8), strategies.data())
def test_every_title_is_found_by_itself(titles: list[str], data: strategies.DataObject) -> None:
    search = TitleSearch(titles)
    assert [search.find(title) for title in titles] == titles
    name = data.draw(strategies.text(max_size=12))
    assert set(search.suggest(name)) <= set(titles)


TYPED = TitleSearch(
    ["Heat (1995)", "Great White Hype, The (1996)", "White Heat (1949)", "The Whites (2011)", "Élan (1983)"]
)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hea", ["Heat (1995)", "White Heat (1949)"]),
        ("HEAT 19", ["Heat (1995)", "White Heat (1949)"]),
        ("wh", ["White Heat (1949)", "The Whites (2011)", "Great White Hype, The (1996)"]),
        ("heat wh", ["White Heat (1949)"]),
        ("1949", ["White Heat (1949)"]),
        ("elan", ["Élan (1983)"]),
        ("eat", []),
        ("", []),
        (" . ", []),
    ],
)
def test_titles_for_somebody_who_types_on(typed: str, expected: list[str]) -> None:
    assert TYPED.starting(typed, 8) == expected
    assert TYPED.starting(typed, 1) == expected[:1]
