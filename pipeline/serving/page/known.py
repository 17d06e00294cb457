"""What a pushed version holds besides its answers: its titles, what is known of them, and who rated what."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
import threading
import weakref

import numpy as np

from modules import catalogue, features
from modules.catalogue import Description
from pipeline.serving.answering import Asking
from pipeline.serving.model import Model
from pipeline.serving.page.addresses import Filters
from pipeline.serving.title_search import TitleSearch

# From how many training ratings on users are of the next group; the slices of an evaluation have the same boundaries.
ACTIVITY_BOUNDARIES = (1, 3, 10, 50, 200)
# Ratings that are rarer than this are no steps of a scale, such as means of what somebody rated twice; and more
# different ones than these are none that somebody picks from.
_LEAST_SHARE, _MOST_STEPS = 0.002, 10
_NOTHING = Description((), None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Users who rated a title, as active as one another.

    Attributes:
      name: how many training ratings they have, such as "50 to 199".
      count: how many they are.
      stars: mean of their ratings of the title.
      share_high: share of these ratings that are high.
    """

    name: str
    count: int
    stars: float
    share_high: float


class Ratings:
    """The training ratings, as far as the model holds them.

    Attributes:
      steps: the different ratings that people give, stars, rising; evenly spaced ones where there are many.
    """

    def __init__(
        self, splits: np.ndarray, titles: np.ndarray, weights: np.ndarray, knots: np.ndarray, levels: np.ndarray
    ) -> None:
        """Takes the variables of a model.

        Args:
          splits: int64 [users + 1], where the ratings of each user begin.
          titles: int32 [ratings], places among the titles.
          weights: float32 [ratings].
          knots: float32 [knots], stars, rising.
          levels: float32 [knots], the weights that they are mapped onto.
        """
        self._splits, self._titles, self._weights = splits, titles, weights
        self._knots, self._levels = knots, levels
        steps = knots[np.diff(levels, prepend=0.0) >= _LEAST_SHARE]
        many = len(steps) > _MOST_STEPS or not len(steps)
        self.steps = (np.linspace(knots[0], knots[-1], 5) if many else steps).astype(float).round(4).tolist()

    @property
    def low(self) -> float:
        """The lowest rating, stars."""
        return float(self._knots[0])

    @property
    def high(self) -> float:
        """The highest rating, stars."""
        return float(self._knots[-1])

    def of_user(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the titles that a user rated, int32 [ratings], and their stars, float64 [ratings]."""
        begin, end = self._splits[user], self._splits[user + 1]
        return self._titles[begin:end], self._stars(self._weights[begin:end])

    def of_title(self, title: int) -> tuple[np.ndarray, np.ndarray]:
        """Stars that a title got, float64 [ratings], and how many ratings each who gave them has, int64 [ratings]."""
        places = np.flatnonzero(self._titles == title)
        users = np.searchsorted(self._splits, places, side="right") - 1
        return self._stars(self._weights[places]), np.diff(self._splits)[users]

    def _stars(self, weights: np.ndarray) -> np.ndarray:
        return np.interp(weights, self._levels, self._knots)


class Known:
    """What a version holds.

    Attributes:
      titles: all that can be recommended, the most rated first.
      places: of each of them in this order.
      counts: training ratings of each, int32 [titles].
      high: from how many stars on a rating counts as high.
      high_step: the lowest rating that people give which does.
      users: who rated something, the most active first; none where the page does not show users.
      genres: all that a title has, in alphabetical order.
      years: the first and the last release; None where none is known.
      ratings: who rated what; None of a model that does not show it.
      search: finds titles.
    """

    def __init__(self, asking: Asking, shows_users: bool) -> None:
        """Reads it.

        Args:
          asking: asks the version.
          shows_users: whether users are shown.

        Raises:
          RequestError: the model does not recommend.
        """
        model = asking.model
        told = asking.ask("catalogue", {})
        self.titles = [title.decode(errors="replace") for title in told[features.MOVIE_TITLE.name]]
        self.places = {title: place for place, title in enumerate(self.titles)}
        self.counts, self.high = told["count"], float(told["high_rating"])
        self._described = catalogue.read(model.folder)
        self.genres = sorted({genre for each in self._described.values() for genre in each.genres})
        years = [each.year for each in self._described.values() if each.year is not None]
        self.years = (min(years), max(years)) if years else None
        self.users = _names(model, features.USER_ID) if shows_users else []
        self._user_places = {user: place for place, user in enumerate(self.users)}
        variables = [
            model.variable(name)
            for name in ("rated_splits", "rated_titles", "rating_weights", "rating_knots", "weight_knots")
        ]
        found = [each for each in variables if each is not None]
        self.ratings = Ratings(*found) if len(found) == len(variables) else None
        steps = self.ratings.steps if self.ratings else []
        self.high_step = min((step for step in steps if step >= self.high), default=self.high)
        self.search = TitleSearch(self.titles)
        self._vectors = model.variable("user_vectors"), model.variable("title_vectors")

    def description(self, title: str) -> Description:
        """What is known of a title."""
        return self._described.get(title, _NOTHING)

    def place_of_user(self, user: str) -> int | None:
        """The place of a user; None of one without training ratings."""
        return self._user_places.get(user)

    def fitting(self, filters: Filters) -> list[str] | None:
        """The titles that filters leave; None where they leave all."""
        if not filters.narrow:
            return None
        genres = {genre.casefold() for genre in filters.genres}
        first, last = filters.first or 0, filters.last or math.inf
        any_year = filters.first is None and filters.last is None
        return [
            title
            for title in self.titles
            if (not genres or genres & {genre.casefold() for genre in self.description(title).genres})
            and (any_year or ((year := self.description(title).year) is not None and first <= year <= last))
        ]

    def candidates(self, user: int) -> np.ndarray | None:
        """Float32 [titles with ratings]: the scores of retrieval for a user; None of a model that shows no vectors."""
        users, titles = self._vectors
        return None if users is None or titles is None else titles @ users[user]

    def groups(self, title: int) -> list[Group]:
        """Who rated a title, the least active first, without groups of nobody."""
        if self.ratings is None:
            return []
        stars, activity = self.ratings.of_title(title)
        group = np.searchsorted(ACTIVITY_BOUNDARIES, activity, side="right") - 1
        names = [f"{first} to {after - 1}" for first, after in itertools.pairwise(ACTIVITY_BOUNDARIES)]
        return [
            Group(name=name, count=len(mine), stars=float(mine.mean()), share_high=float((mine >= self.high).mean()))
            for place, name in enumerate([*names, f"{ACTIVITY_BOUNDARIES[-1]} or more"])
            if len(mine := stars[group == place])
        ]

    def histogram(self, title: int) -> list[tuple[float, int]]:
        """How often a title got each rating: the step of `Ratings.steps` that is nearest, and the number of ratings."""
        if self.ratings is None:
            return []
        stars, _ = self.ratings.of_title(title)
        steps = np.asarray(self.ratings.steps)
        nearest = np.abs(stars[:, np.newaxis] - steps).argmin(axis=1)
        return list(zip(steps.tolist(), np.bincount(nearest, minlength=len(steps)).tolist(), strict=True))


class Shelf:
    """What is held of each version, read when it is first wanted, and forgotten with the version."""

    def __init__(self, shows_users: bool) -> None:
        """Reads nothing yet.

        Args:
          shows_users: whether users are shown.
        """
        self._shows_users = shows_users
        self._of_model: weakref.WeakKeyDictionary[Model, Known] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, asking: Asking) -> Known:
        """What the version holds that is asked.

        Raises:
          RequestError: the model does not recommend.
        """
        with self._lock:
            known = self._of_model.get(asking.model)
            if known is None:
                known = self._of_model[asking.model] = Known(asking, self._shows_users)
            return known


def _names(model: Model, column: features.Column) -> list[str]:
    """The vocabulary of a column."""
    path = pathlib.Path(model.folder, "assets", column.name)
    return [name for name in path.read_text("utf-8").split("\n") if name] if path.exists() else []
