"""What is odd about ratings that were read: their owner sees at a glance whether they were read right."""

from __future__ import annotations

import collections
import dataclasses
import re
import time
import unicodedata
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from data.reader import NO_TIMESTAMP
from data.rejects import shown
from data.scales import decimal
from data.writer import SortedRatings

# How many are worth telling.
SHOWN = 3
_MOJIBAKE = re.compile("Ã[\u0080-\u00bf]|â€|\ufffd")
_WINDOWS = re.compile("[\u0080-\u009f]")
_NUMBER = re.compile("[0-9]+")
_LONG_TITLE = 200
# A user or a title with this share of all ratings is odd, and so is a rating that is this rare off a grid.
_LARGE_SHARE = 0.05
_OFF_GRID = 0.001
_GRID = 0.5


@dataclasses.dataclass(frozen=True)
class Oddity:
    """Something odd.

    Attributes:
      what: it, with an example.
      share: of the ratings, users or titles that it concerns, by which the oddest are chosen; 0 to 1.
    """

    what: str
    share: float


def oddest(
    parts: Mapping[str, SortedRatings], *, users: Sequence[str], titles: Sequence[str], merged: int
) -> list[Oddity]:
    """The oddest things about ratings, those that concern the largest share first.

    Args:
      parts: ratings by part; users and titles by their rank.
      users: user ids, sorted.
      titles: titles, sorted.
      merged: ratings that went into one with another of their pair.
    """
    ratings = np.concatenate([part.rating for part in parts.values()])
    pairs = np.concatenate([part.pair for part in parts.values()])
    user, title = np.divmod(pairs, len(titles))
    rated = [titles[rank] for rank in np.unique(title)]
    timestamps = [part.timestamp for part in parts.values() if part.timestamp is not None]
    found = [
        *_of_titles(rated),
        _share("user", users, user),
        _share("title", titles, title),
        _off_grid(ratings),
        *(_of_timestamps(np.concatenate(timestamps)) if timestamps else ()),
    ]
    if merged > 0:
        share = merged / (merged + len(ratings))
        found.append(Oddity(f"{merged:,} rows repeat a pair of user and title", share))
    return sorted((each for each in found if each is not None), key=lambda each: -each.share)[:SHOWN]


def _of_titles(titles: Collection[str]) -> list[Oddity | None]:
    return [
        _alike(titles),
        _some(titles, _NUMBER.fullmatch, "titles are numbers, perhaps ids whose titles are elsewhere"),
        _some(titles, _MOJIBAKE.search, "titles look decoded wrongly; see --encoding"),
        _some(titles, _WINDOWS.search, "titles hold control characters, as windows-1252 read as latin-1 does; see "
              "--encoding cp1252"),
        _some(titles, lambda title: len(title) > _LONG_TITLE, f"titles have more than {_LONG_TITLE} characters"),
    ]  # fmt: skip


def _some(titles: Collection[str], is_odd: collections.abc.Callable[[str], object], what: str) -> Oddity | None:
    odd = [title for title in titles if is_odd(title)]
    return Oddity(f"{len(odd):,} {what}, such as {shown(odd[0])}", len(odd) / len(titles)) if odd else None


def _alike(titles: Collection[str]) -> Oddity | None:
    """Titles that are one but for case, accents and blanks."""
    first: dict[str, str] = {}
    alike = []
    for title in titles:
        plain = unicodedata.normalize("NFKD", title) if not title.isascii() else title
        key = "".join(character for character in plain.casefold() if not unicodedata.combining(character))
        key = " ".join(key.split())
        if first.setdefault(key, title) != title:
            alike.append((first[key], title))
    if not alike:
        return None
    one, other = alike[0]
    return Oddity(
        f"{len(alike):,} titles differ from another in case, accents or blanks alone, such as {shown(one)} and "
        f"{shown(other)}",
        len(alike) / len(titles),
    )


def _share(what: str, names: Sequence[str], numbers: np.ndarray) -> Oddity | None:
    """The user or title with a large share of all ratings."""
    counts = np.bincount(numbers)
    most = int(counts.argmax())
    share = counts[most] / len(numbers)
    # Of few, each has a large share.
    if share < _LARGE_SHARE or share * np.count_nonzero(counts) < 10:
        return None
    return Oddity(f"{what} {shown(names[most])} has {share:.0%} of all ratings", float(share))


def _off_grid(ratings: np.ndarray) -> Oddity | None:
    off = ratings * (1 / _GRID) % 1 != 0
    share = off.mean()
    if not 0 < share <= _OFF_GRID:
        return None
    example = decimal(ratings[off.argmax()])
    return Oddity(
        f"{off.sum():,} ratings are no multiples of {_GRID:g} as all others are, such as {example}", float(share)
    )


def _of_timestamps(timestamps: np.ndarray) -> list[Oddity | None]:
    there = timestamps[timestamps != NO_TIMESTAMP]
    if len(there) < 2:
        return [None]
    if there.min() == there.max():
        return [Oddity(f"all timestamps are {there[0]}", 1.0)]
    return [
        Oddity(f"{odd.sum():,} timestamps are {what}", odd.mean()) if odd.any() else None
        for what, odd in (("0", there == 0), ("in the future", there > time.time()))
    ]
