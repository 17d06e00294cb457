"""What is odd about ratings that were read: their owner sees at a glance whether they were read right."""

from __future__ import annotations

import dataclasses
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from data.reader import NO_TIMESTAMP
from data.rejects import shown
from data.scales import decimal, tally
from data.writer import SortedRatings

# How many are worth telling.
SHOWN = 3

# Severities: the file may have been read otherwise than it was meant; some of its values may be mistakes; sound data
# have such, too.
_MISREAD, _MISTAKEN, _COMMON = 3, 2, 1

_CHUNK_ROWS = 1 << 20
_NUMBER = re.compile("[0-9]+")
_WINDOWS = re.compile("[\u0080-\u009f]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_REPLACED = "\ufffd"
_LONG_TITLE = 200
# Shares: of titles that are numbers; of the ratings, those of a large user or title, and those off a grid.
_MANY_NUMBERS = 0.5
_LARGE_SHARE = 0.05
_OFF_GRID = 0.001
_GRIDS = (1.0, 0.5)
# So many ratings all alike are no chance, and so many for each value leave none out by chance.
_MANY_RATINGS = 20
_VALUES_AT_LEAST = 4


@dataclasses.dataclass(frozen=True)
class Oddity:
    """Something odd.

    Attributes:
      what: it, with an example.
      share: of the ratings, users or titles that it concerns; 0 to 1.
      severity: 3 where the file may have been read otherwise than it was meant, 2 where some values may be mistakes,
        1 where sound data have such, too.
    """

    what: str
    share: float
    severity: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Counts:
    """Ratings by user and by title.

    Attributes:
      users: int64 [users], how many each gave.
      titles: int64 [titles], how many each has.
      lowest: float32 [users], the lowest that each gave; infinite without any.
      highest: float32 [users], likewise.
    """

    users: np.ndarray
    titles: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


def oddest(
    parts: Mapping[str, SortedRatings],
    *,
    users: Sequence[str],
    titles: Sequence[str],
    merged: int,
    explicit: bool = True,
) -> list[Oddity]:
    """The oddest things about ratings: the most severe first, and of these the one that concerns the largest share.

    Args:
      parts: ratings by part; users and titles by their rank.
      users: user ids, sorted.
      titles: titles, sorted.
      merged: ratings that went into one with another of their pair.
      explicit: they are as people gave them, and not made of counts, which may have any gaps.
    """
    counts = _count(parts, len(users), len(titles))
    times = tally([part.rating for part in parts.values()]) if explicit else {}
    raters = [users[rank] for rank in counts.users.nonzero()[0].tolist()]
    rated = [titles[rank] for rank in counts.titles.nonzero()[0].tolist()]
    found = [
        *_of_names("titles", rated),
        *_of_names("users", raters),
        *_of_titles(rated),
        *_large("user", users, counts.users),
        *_large("title", titles, counts.titles),
        *_constant(users, counts),
        *_off_grid(times, merged),
        *_gap(times),
        *_of_timestamps([part.timestamp for part in parts.values() if part.timestamp is not None and len(part)]),
    ]
    if merged > 0:
        share = merged / (merged + int(counts.users.sum()))
        found.append(Oddity(f"{merged:,} rows repeat a pair of user and title", share, _COMMON))
    return sorted(found, key=lambda each: (-each.severity, -each.share))[:SHOWN]


def _count(parts: Mapping[str, SortedRatings], users: int, titles: int) -> _Counts:
    counts = _Counts(
        users=np.zeros(users, np.int64),
        titles=np.zeros(titles, np.int64),
        lowest=np.full(users, np.inf, np.float32),
        highest=np.full(users, -np.inf, np.float32),
    )
    for part in parts.values():
        # Pairs ascend, so a user's ratings follow one another.
        bounds = part.pair.searchsorted(np.arange(users + 1) * titles)
        given = np.diff(bounds)
        raters = given.nonzero()[0]
        starts = bounds[raters]
        counts.users[:] += given
        counts.lowest[raters] = np.minimum(counts.lowest[raters], np.minimum.reduceat(part.rating, starts))
        counts.highest[raters] = np.maximum(counts.highest[raters], np.maximum.reduceat(part.rating, starts))
        for start in range(0, len(part), _CHUNK_ROWS):
            counts.titles[:] += np.bincount(part.pair[start : start + _CHUNK_ROWS] % titles, minlength=titles)
    return counts


def _of_names(what: str, names: Sequence[str]) -> Iterator[Oddity]:
    """Names that are one but for case, accents and blanks, and names decoded wrongly."""
    first: dict[str, str] = {}
    alike = [(other, name) for name in names if (other := first.setdefault(_plain(name), name)) != name]
    if alike:
        one, other = alike[0]
        yield Oddity(
            f"{len(alike):,} {what} differ from another in case, accents or blanks alone, such as {shown(one)} and "
            f"{shown(other)}",
            len(alike) / len(names),
            _COMMON,
        )
    decoded = {name: text for name in names if not name.isascii() and (text := _decoded_right(name))}
    if decoded:
        name, text = next(iter(decoded.items()))
        yield Oddity(
            f"{len(decoded):,} {what} look decoded wrongly, such as {shown(name)} for {shown(text)}; see --encoding",
            len(decoded) / len(names),
            _MISREAD,
        )
    yield from _some(
        names,
        lambda name: not name.isascii() and name not in decoded and _WINDOWS.search(name),
        f"{what} hold control characters, as windows-1252 read as latin-1 does; see --encoding cp1252",
        _MISREAD,
    )
    yield from _some(
        names, lambda name: _REPLACED in name, f"{what} hold the mark of what could not be decoded", _MISREAD
    )


def _plain(name: str) -> str:
    """A name without what distinguishes upper and lower case, accents and blanks."""
    if not name.isascii():
        name = _ACCENTS.sub("", unicodedata.normalize("NFKD", name))
    return " ".join(name.casefold().split())


def _decoded_right(name: str) -> str:
    """The text whose UTF-8 was decoded as windows-1252 or latin-1; empty where it was not."""
    for encoding in ("cp1252", "latin-1"):
        try:
            return name.encode(encoding).decode()
        except UnicodeError:
            continue
    return ""


def _some(names: Sequence[str], is_odd: Callable[[str], object], what: str, severity: int) -> Iterator[Oddity]:
    odd = [name for name in names if is_odd(name)]
    if odd:
        yield Oddity(f"{len(odd):,} {what}, such as {shown(odd[0])}", len(odd) / len(names), severity)


def _of_titles(titles: Sequence[str]) -> Iterator[Oddity]:
    numbers = _some(titles, _NUMBER.fullmatch, "titles are numbers, perhaps ids of titles kept elsewhere", _MISREAD)
    # Some films are called so.
    yield from (oddity for oddity in numbers if oddity.share >= _MANY_NUMBERS)
    yield from _some(
        titles,
        lambda title: len(title) > _LONG_TITLE,
        f"titles have more than {_LONG_TITLE} characters, perhaps of more than one row",
        _MISTAKEN,
    )


def _large(what: str, names: Sequence[str], counts: np.ndarray) -> Iterator[Oddity]:
    """A user or title with a large share of all ratings."""
    most, rows, owners = int(counts.argmax()), int(counts.sum()), np.count_nonzero(counts)
    share = counts[most] / rows
    if owners == 1 and rows > 1:
        yield Oddity(f"all ratings have one {what}, {shown(names[most])}", 1.0, _MISREAD)
    elif share >= _LARGE_SHARE and share * owners >= 10:  # of few, each has a large share
        yield Oddity(f"{what} {shown(names[most])} has {share:.0%} of all ratings", float(share), _MISTAKEN)


def _constant(users: Sequence[str], counts: _Counts) -> Iterator[Oddity]:
    """Users who give one and the same rating to many titles, where others do not."""
    same = counts.lowest == counts.highest
    many = counts.users >= _MANY_RATINGS
    odd = same & many
    if odd.any() and not odd[many].all():
        most = int(np.where(odd, counts.users, 0).argmax())
        yield Oddity(
            f"{odd.sum():,} users give one and the same rating to {_MANY_RATINGS} titles or more, such as "
            f"{shown(users[most])}: {decimal(counts.lowest[most])} to {counts.users[most]:,}",
            float(odd.sum() / np.count_nonzero(counts.users)),
            _COMMON,
        )


def _off_grid(times: Mapping[float, int], merged: int) -> Iterator[Oddity]:
    """Ratings off the grid of all others, whole or half stars.

    Args:
      times: how often each rating occurs.
      merged: ratings that went into one with another of their pair; the mean of such may be off any grid.
    """
    rows = sum(times.values())
    for grid in _GRIDS:
        off = {value: count for value, count in times.items() if value / grid % 1}
        odd = sum(off.values())
        if odd > _OFF_GRID * rows:
            continue
        if odd > merged:
            yield Oddity(
                f"{odd:,} ratings are no multiples of {grid:g} as all others are, such as {decimal(next(iter(off)))}",
                odd / rows,
                _MISTAKEN,
            )
        return


def _gap(times: Mapping[float, int]) -> Iterator[Oddity]:
    """A rating far from all others, or one that is missing among ratings that are evenly apart.

    Args:
      times: how often each rating occurs, in ascending order.
    """
    values, rows = list(times), sum(times.values())
    if len(values) < _VALUES_AT_LEAST or rows < _MANY_RATINGS * len(values):
        return
    gaps = np.diff(values)
    at = int(gaps.argmax())
    low, high = values[at], values[at + 1]
    last = {0: low, len(gaps) - 1: high}.get(at)
    steps = np.delete(gaps, at)
    if last is not None and gaps[at] > steps.sum():
        yield Oddity(
            f"{times[last]:,} ratings are {decimal(last)}, far from all others, as a mark of no rating would be",
            times[last] / rows,
            _MISREAD,
        )
    elif np.allclose(steps, steps[0]) and gaps[at] > 1.5 * steps[0]:
        yield Oddity(
            f"no rating lies between {decimal(low)} and {decimal(high)}, though others are {steps[0]:g} apart",
            1.0,
            _MISTAKEN,
        )


def _of_timestamps(parts: Sequence[np.ndarray]) -> Iterator[Oddity]:
    known = sum(int((part != NO_TIMESTAMP).sum()) for part in parts)
    if known < 2:
        return
    latest = max(int(part.max()) for part in parts)
    if all(bool(np.all((part == latest) | (part == NO_TIMESTAMP))) for part in parts):
        yield Oddity(f"all timestamps are {latest}", 1.0, _MISREAD)
        return
    zeros = sum(int((part == 0).sum()) for part in parts)
    if zeros:
        yield Oddity(f"{zeros:,} timestamps are 0", zeros / known, _MISTAKEN)
    now = time.time()
    future = sum(int((part > now).sum()) for part in parts)
    if future:
        yield Oddity(f"{future:,} timestamps are in the future, such as {latest}", future / known, _MISTAKEN)
