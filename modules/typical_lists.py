"""Lists of typical users, for people to look at: one user for all of like activity, told by that alone.

The user with the lowest hash stands for the others: chance picks, and the same one each time. No id is kept.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping

import tensorflow as tf

FILE = "typical_lists.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TypicalList:
    """The list of a user.

    Attributes:
      order: of the users of like activity the one with the lowest is taken.
      users: how many there are of like activity.
      titles: best first.
      liked: those of them that the user turned out to like.
    """

    order: int
    users: int
    titles: tuple[str, ...]
    liked: frozenset[str]


def merge(some: Mapping[str, TypicalList], others: Mapping[str, TypicalList]) -> dict[str, TypicalList]:
    """One list an activity, of two."""
    merged = dict(some)
    for activity, other in others.items():
        mine = merged.get(activity)
        if mine is None:
            merged[activity] = other
        else:
            first = min(mine, other, key=lambda each: each.order)
            merged[activity] = dataclasses.replace(first, users=mine.users + other.users)
    return merged


def write(folder: str, lists: Mapping[str, TypicalList]) -> None:
    """Writes `typical_lists.json`: by activity, `users` and `titles` of `title` and `liked`."""
    record = {
        activity: {
            "users": each.users,
            "titles": [{"title": title, "liked": title in each.liked} for title in each.titles],
        }
        for activity, each in sorted(lists.items())
    }
    with tf.io.gfile.GFile(os.path.join(folder, FILE), "w") as file:
        file.write(json.dumps(record))


def read(folder: str) -> dict[str, tuple[int, tuple[tuple[str, bool], ...]]]:
    """By activity: number of users, and titles with whether they are liked; nothing where none is written."""
    path = os.path.join(folder, FILE)
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path) as file:
        record = json.loads(file.read())
    return {
        activity: (each["users"], tuple((title["title"], title["liked"]) for title in each["titles"]))
        for activity, each in record.items()
    }
