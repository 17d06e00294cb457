"""Addresses of the page: what is asked for stands in them, all of it, so that a page can be shared as a link."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Protocol
from urllib.parse import urlencode

from pipeline.serving.errors import invalid

START, USER, NEW, TITLE, MODEL, SUGGEST = "/", "/user", "/new", "/title", "/model", "/suggest"
# Servers and browsers of all kinds take addresses of this length.
_MOST_CHARACTERS = 6000
_LIST, _MOST_LISTED = 10, 100
_YEARS = range(1, 10_000)
_SHOWN_CHARACTERS = 60


class Parameters(Protocol):
    """Names and values of an address, as aiohttp reads them."""

    def get(self, name: str, default: str) -> str:
        """The first value of a name."""

    def getall(self, name: str, default: list[str]) -> list[str]:
        """All values of a name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filters:
    """Which titles are listed, and how much is said of them.

    Attributes:
      genres: of which a title must have one; none for all.
      first: earliest year of release; None for any.
      last: latest one; None for any.
      seen: whether what was rated is listed, too.
      stages: whether each stage's list is shown.
      count: how many titles.
    """

    genres: tuple[str, ...] = ()
    first: int | None = None
    last: int | None = None
    seen: bool = False
    stages: bool = False
    count: int = _LIST

    @property
    def narrow(self) -> bool:
        """Whether some titles are left out."""
        return bool(self.genres) or self.first is not None or self.last is not None

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Names and values in an address."""
        for genre in self.genres:
            yield "genre", genre
        for name, year in (("from", self.first), ("to", self.last)):
            if year is not None:
                yield name, str(year)
        for name, is_on in (("seen", self.seen), ("stages", self.stages)):
            if is_on:
                yield name, "1"
        if self.count != _LIST:
            yield "n", str(self.count)

    def more(self) -> Filters | None:
        """The same of a longer list; None where it is as long as it gets."""
        if self.count >= _MOST_LISTED:
            return None
        return dataclasses.replace(self, count=min(_MOST_LISTED, self.count * 3))


def filters(given: Parameters) -> Filters:
    """Reads filters.

    Raises:
      RequestError: a year or a number is none.
    """
    return Filters(
        genres=tuple(dict.fromkeys(text(genre) for genre in given.getall("genre", []) if genre)),
        first=_number(given, "from", _YEARS, "a year"),
        last=_number(given, "to", _YEARS, "a year"),
        seen=bool(given.get("seen", "")),
        stages=bool(given.get("stages", "")),
        count=_number(given, "n", range(1, _MOST_LISTED + 1), "a number of titles") or _LIST,
    )


def likes(given: Parameters) -> dict[str, float]:
    """Ratings that stand in an address, such as `like=Heat (1995)=4`: stars by title; of one title the last counts.

    Raises:
      RequestError: a rating is none.
    """
    found: dict[str, float] = {}
    for each in given.getall("like", []):
        title, _, stars = text(each).rpartition("=")
        try:
            value = float(stars)
        except ValueError:
            value = math.nan
        if not title or not math.isfinite(value):
            raise invalid(f"expected ratings as like=TITLE=STARS; got {_shown(each)}; choose stars on the page")
        found.pop(title, None)
        found[title] = value
    return found


def rated(ratings: Mapping[str, float], title: str, stars: float | None) -> dict[str, float]:
    """Ratings with another one of a title; None takes it away."""
    if stars is None:
        return {each: value for each, value in ratings.items() if each != title}
    return {**ratings, title: stars}


def like_pairs(ratings: Mapping[str, float]) -> list[tuple[str, str]]:
    """Names and values of ratings in an address, which `likes` reads."""
    return [("like", f"{title}={stars:g}") for title, stars in ratings.items()]


def text(value: str) -> str:
    """A value as text that can be encoded: half a surrogate pair becomes a question mark."""
    return value.encode(errors="replace").decode()


def new(ratings: Mapping[str, float], given: Filters, query: str = "") -> str | None:
    """The address of the page of somebody new; None where it would be too long."""
    return _address(NEW, [*like_pairs(ratings), *given.pairs(), *([("q", query)] if query else [])])


def user(name: str, given: Filters) -> str | None:
    """The address of a user's page; None where it would be too long."""
    return _address(USER, [("id", name), *given.pairs()])


def title(name: str) -> str | None:
    """The address of a title's page; None where it would be too long."""
    return _address(TITLE, [("name", name)])


def _address(path: str, pairs: list[tuple[str, str]]) -> str | None:
    address = f"{path}?{urlencode(pairs)}" if pairs else path
    return address if len(address) <= _MOST_CHARACTERS else None


def _number(given: Parameters, name: str, allowed: range, what: str) -> int | None:
    value = given.get(name, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) in allowed):
        raise invalid(
            f"expected {what} from {allowed[0]} to {allowed[-1]} in {name!r}; got {_shown(value)}; leave it empty for "
            "any"
        )
    return int(value)


def _shown(value: str) -> str:
    shown = ascii(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
