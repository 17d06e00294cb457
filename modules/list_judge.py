"""Lists of exported models judged on held-out ratings: what users liked afterwards, beside the most rated titles.

A user counts who has rated a title highly among the held-out ratings. Titles that nobody had rated in training cannot
be listed; liked, they count as missed by all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modules import features, list_metrics, recommending, serving, sliced_metrics, typical_lists
from modules.list_metrics import LENGTH, Catalogue, ListSums
from modules.sliced_metrics import SliceKey
from modules.typical_lists import TypicalList

# The most rated titles that a user has not rated.
POPULARITY = "popularity"
# Users that are judged, by a hash of their ids, out of all; more would tell hardly more.
MOST_USERS = 10_000
_HASHES = 1 << 30
_SPEC = {
    **{column.name: tf.io.FixedLenFeature([], tf.string) for column in (features.USER_ID, features.MOVIE_TITLE)},
    features.USER_RATING.name: tf.io.FixedLenFeature([], tf.float32),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Liked:
    """What users liked, a row for each user and title.

    Attributes:
      user: bytes [rows], ids.
      title: bytes [rows].
    """

    user: np.ndarray
    title: np.ndarray

    def __len__(self) -> int:
        return len(self.user)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of lists.

    Attributes:
      sums: by slice, by what was known of users, and over all.
      typical: a user of each slice by activity, with the candidate's list.
    """

    sums: dict[SliceKey, ListSums]
    typical: dict[str, TypicalList]

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            sums=sliced_metrics.merge((self.sums, other.sums)), typical=typical_lists.merge(self.typical, other.typical)
        )


def concatenate(parts: Sequence[Liked]) -> Liked:
    """The rows of all parts, in their order."""
    none = np.zeros(0, object)
    return Liked(
        user=np.concatenate([none, *(part.user for part in parts)]),
        title=np.concatenate([none, *(part.title for part in parts)]),
    )


def split_by_user(parts: Sequence[Liked], buckets: int) -> Iterator[tuple[int, Liked]]:
    """Shares rows out among buckets, all rows of a user in the same one; empty buckets are left out."""
    whole = concatenate(parts)
    if not len(whole):
        return
    bucket = tf.strings.to_hash_bucket_fast(whole.user.tolist(), buckets).numpy()
    for number in np.unique(bucket):
        rows = bucket == number
        yield int(number), Liked(user=whole.user[rows], title=whole.title[rows])


class ListJudge:
    """Models that recommend, asked for lists.

    Attributes:
      models: the names of those that list: the candidate first, then perhaps others, and popularity.
    """

    def __init__(self, models: Mapping[str, Any], *, most_users: int = MOST_USERS) -> None:
        """Holds the models.

        Args:
          models: loaded SavedModels by name, the candidate first; those without lists are left out.
          most_users: how many users are judged of more, about.

        Raises:
          ValueError: the candidate gives no lists.
        """
        listing = {name: model for name, model in models.items() if gives_lists(model)}
        if next(iter(models)) not in listing:
            raise ValueError("expected a candidate that recommends; got one that was exported without; judge no lists")
        self._signatures = {name: model.signatures[recommending.RECOMMEND_USERS] for name, model in listing.items()}
        candidate = next(iter(listing.values()))
        self._others = candidate.signatures[recommending.EVALUATION_LISTS]
        self.models = (*listing, POPULARITY)
        catalogue = candidate.signatures[recommending.CATALOGUE]()
        names = catalogue[features.MOVIE_TITLE.name].numpy()
        self._place = {name: place for place, name in enumerate(names.tolist())}
        self._catalogue = Catalogue(
            count=catalogue[recommending.COUNT].numpy(), genres=catalogue[recommending.GENRES].numpy()
        )
        self._high_rating = catalogue[recommending.HIGH_RATING]
        users = candidate.user_vectors.shape[0] - 1
        self._share = int(min(1.0, most_users / max(users, 1)) * _HASHES)
        self._at_once = max(1, recommending.MOST_PAIRS // max(len(names), 1))

    def liked(self, examples: tf.Tensor) -> Liked:
        """The highly rated rows of users that are judged, of serialized tf.Examples, string [batch]."""
        parsed = tf.io.parse_example(examples, _SPEC)
        user = parsed[features.USER_ID.name]
        is_judged = tf.strings.to_hash_bucket_fast(user, _HASHES) < self._share
        rows = tf.where(is_judged & (parsed[features.USER_RATING.name] >= self._high_rating))[:, 0]
        title = parsed[features.MOVIE_TITLE.name]
        return Liked(user=tf.gather(user, rows).numpy(), title=tf.gather(title, rows).numpy())

    def measure(self, liked: Liked) -> Measured:
        """Measures the lists of users who liked something.

        Args:
          liked: all rows of each user that has any here.
        """
        users, user = np.unique(liked.user, return_inverse=True)
        parts = [
            self._measure(users[begin : begin + self._at_once], liked, user - begin)
            for begin in range(0, len(users), self._at_once)
        ]
        typical: dict[str, TypicalList] = {}
        for each in parts:
            typical = typical_lists.merge(typical, each.typical)
        return Measured(
            sums=list_metrics.with_overall(sliced_metrics.merge(each.sums for each in parts)), typical=typical
        )

    def _measure(self, users: np.ndarray, liked: Liked, place: np.ndarray) -> Measured:
        """The sums of some users; place is that of each row's user among them, int [rows]."""
        asked, k = tf.constant(users.tolist()), tf.constant(LENGTH)
        none = tf.constant([], tf.string)
        answers = [each(user_id=asked, k=k, exclude=none, only=none) for each in self._signatures.values()]
        others = self._others(user_id=asked, k=k)
        lists = np.stack([self._places(each[features.MOVIE_TITLE.name].numpy()) for each in (*answers, others)])
        titles: list[list[int]] = [[] for _ in users]
        number = np.zeros(len(users), np.int64)
        for row in np.flatnonzero((place >= 0) & (place < len(users))):
            number[place[row]] += 1
            if (title := self._place.get(liked.title[row])) is not None:
                titles[place[row]].append(title)
        slices = others[serving.USER_ACTIVITY].numpy()
        sums: dict[SliceKey, ListSums] = {}
        typical: dict[str, TypicalList] = {}
        order = tf.strings.to_hash_bucket_fast(users.tolist(), _HASHES).numpy()
        names = answers[0][features.MOVIE_TITLE.name].numpy()
        for name in np.unique(slices):
            rows = np.flatnonzero(slices == name)
            first = rows[np.argmin(order[rows])]
            best = [title for title in names[first].tolist() if title]
            typical[name.decode()] = TypicalList(
                order=int(order[first]),
                users=len(rows),
                titles=tuple(title.decode() for title in best),
                liked=frozenset(title.decode() for title in {*best}.intersection(liked.title[place == first])),
            )
            sums[serving.USER_ACTIVITY, name.decode()] = list_metrics.sum_lists(
                lists[:, rows], [np.array(titles[row], np.int64) for row in rows], number[rows], self._catalogue
            )
        return Measured(sums=sums, typical=typical)

    def _places(self, names: np.ndarray) -> np.ndarray:
        """Int [users, LENGTH]: positions in the catalogue; -1 for titles that it has not, and behind an end."""
        known = [[self._place.get(name, -1) for name in row] for row in names.tolist()]
        places = np.array(known, np.int64).reshape(len(names), -1)
        return np.pad(places, ((0, 0), (0, LENGTH - places.shape[1])), constant_values=-1)


def gives_lists(model: Any) -> bool:
    """Whether a loaded SavedModel was exported with what recommends."""
    return recommending.RECOMMEND_USERS in model.signatures
