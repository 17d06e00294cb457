"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import pathlib
import re

from tests.conftest import ROOT

README = ROOT / "README.md"
CHANGELOG = ROOT / "CHANGELOG.md"
PAGES = (README, CHANGELOG, *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)


def blocks(text: str, language: str = "") -> list[str]:
    """The fenced blocks of a text that name the language."""
    return [body for name, body in _FENCE.findall(text) if name == language]


def prose(page: pathlib.Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def spans(page: pathlib.Path) -> list[str]:
    """What stands between backquotes within the lines of a page."""
    return _CODE.findall(prose(page))


def section(page: pathlib.Path, title: str) -> str:
    """The text below a heading, to the next one of its level or above.

    Raises:
      ValueError: the page has no such heading.
    """
    found = re.search(rf"^(#+) {re.escape(title)}\n", page.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"expected a heading {title!r} in {page.name}; got none")
    rest = page.read_text(encoding="utf-8")[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column has that name, cell by cell, without its head.

    Raises:
      ValueError: there is no such table.
    """
    rows: list[list[str]] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if _ROW.match(line) else []
        if not cells and rows:
            return rows[2:]
        if rows or (cells and cells[0] == first):
            rows.append(cells)
    if not rows:
        raise ValueError(f"expected a table whose first column is {first!r}; got none")
    return rows[2:]


def codes(cell: str) -> list[str]:
    """What stands between backquotes in a cell of a table."""
    return _CODE.findall(cell)
