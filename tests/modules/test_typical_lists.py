"""Lists of typical users."""

from __future__ import annotations

import pathlib

from modules import typical_lists
from modules.typical_lists import TypicalList


def listed(order: int, title: str, users: int = 1) -> TypicalList:
    return TypicalList(order=order, users=users, titles=(title, "Heat (1995)"), liked=frozenset({title}))


def test_the_lowest_stands_for_all_in_any_order() -> None:
    some, others = {"3-9": listed(5, "a", 2)}, {"3-9": listed(3, "b", 4), "200+": listed(9, "c")}
    merged = typical_lists.merge(some, others)
    assert merged == typical_lists.merge(others, some)
    assert merged["3-9"] == listed(3, "b", 6)
    assert merged["200+"] == listed(9, "c")


def test_what_is_written_is_read(tmp_path: pathlib.Path) -> None:
    typical_lists.write(str(tmp_path), {"3-9": listed(5, "Amélie (2001)", 7)})
    assert typical_lists.read(str(tmp_path)) == {"3-9": (7, (("Amélie (2001)", True), ("Heat (1995)", False)))}


def test_nothing_written_is_nothing_read(tmp_path: pathlib.Path) -> None:
    assert typical_lists.read(str(tmp_path)) == {}
