"""Lists for people: what somebody is recommended, with stars, how sure they are, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from modules import features
from pipeline.serving.answering import Asking
from pipeline.serving.errors import Code, RequestError, invalid
from pipeline.serving.page.addresses import Filters
from pipeline.serving.page.known import Known

_USER, _TITLE, _RATING = features.USER_ID.name, features.MOVIE_TITLE.name, features.USER_RATING.name
# How many reasons are told, for a title and against it.
_MOST_FOR, _MOST_AGAINST = 3, 1
# How many titles retrieval hands to ranking where the stages are shown, and how many are shown of each.
_CANDIDATES, _SHOWN = 100, 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A title on a list.

    Attributes:
      title: the title.
      stars: the rating that is predicted; None where the model does not say.
      deviation: standard deviation of a rating around it, stars; None of a model that does not tell.
      chance: probability of a high rating, 0 to 1; likewise.
      is_seen: whether it was rated already.
      given: that rating, stars; None where it is not known.
      reasons_for: the ratings that speak most for it, with what they add to its score.
      reasons_against: those that speak most against it.
      rest: what else adds to the score, by name.
    """

    title: str
    stars: float | None
    deviation: float | None
    chance: float | None
    is_seen: bool
    given: float | None
    reasons_for: list[tuple[str, float]]
    reasons_against: list[tuple[str, float]]
    rest: list[tuple[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the recommender, as somebody's titles leave it.

    Attributes:
      name: of the stage.
      unit: what its figures are.
      titles: the best titles, with their figures, best first.
    """

    name: str
    unit: str
    titles: list[tuple[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """Whom a list is for.

    Attributes:
      user: id of a user; None of somebody new.
      ratings: stars by title that somebody new has given, or that a user gave in training; None where the model does
        not say how many.
    """

    user: str | None
    ratings: Mapping[str, float | None]

    def asks(self, signature: str) -> tuple[str, dict[str, np.ndarray]]:
        """The signature for somebody like this, and who it is for as it takes that."""
        if self.user is not None:
            return signature, {_USER: strings([self.user])}
        stars = np.array(list(self.ratings.values()), np.float32)
        return f"{signature}_for", {_TITLE: strings(list(self.ratings)), _RATING: stars}


def strings(values: Sequence[str]) -> np.ndarray:
    """Texts as a signature takes them, bytes [values]."""
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    return array


def wanted(count: int, only: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Inputs that say how many titles are wanted, and of which; None for all."""
    return {"k": np.array(count, np.int32), "exclude": strings([]), "only": strings(only or [])}


def check_recommends(asking: Asking) -> None:
    """Refuses a model without a list to show.

    Raises:
      RequestError: it was exported without what recommends.
    """
    if not asking.has("recommend"):
        raise RequestError(
            Code.UNIMPLEMENTED,
            "this model rates titles and recommends none: it was made with trainer.retrieval=none",
        )


def listed(asking: Asking, known: Known, person: Person, filters: Filters) -> list[Row]:
    """The best titles for somebody, best first.

    Raises:
      RequestError: the model does not recommend, or refuses what it is asked.
    """
    only = known.fitting(filters)
    if only is not None and not only:
        return []
    name, who = person.asks("recommend")
    answer = asking.ask(name, {**who, **wanted(filters.count, only)}, is_list=True)
    titles = _texts(answer[_TITLE])
    stars: dict[str, float] = dict(zip(titles, answer["predicted_rating"].tolist(), strict=True))
    if filters.seen:
        may = set(known.titles if only is None else only)
        titles += [title for title in person.ratings if title in may]
    name, who = person.asks("explain")
    explained = asking.ask(name, {**who, "asked_title": strings(titles)})
    deviations, chances = {}, {}
    if person.user is not None:
        inputs = {_USER: strings([person.user] * len(titles)), _TITLE: strings(titles)}
        predicted = {each: values.ravel().tolist() for each, values in asking.ask("predict", inputs).items()}
        stars |= dict(zip(titles, predicted["predicted_rating"], strict=True))
        deviations = dict(zip(titles, predicted.get("rating_stddev", []), strict=False))
        chances = dict(zip(titles, predicted.get("prob_at_least", []), strict=False))
    rated, rest = _texts(explained["rated_title"]), _texts(explained["features"])
    order = np.argsort(-explained["score"], kind="stable")[: filters.count] if filters.seen else range(len(titles))
    rows = []
    for place in order:
        title = titles[place]
        shares = sorted(zip(rated, explained["shares"][place].tolist(), strict=True), key=lambda item: -item[1])
        others = zip(rest, explained["feature_shares"][place].tolist(), strict=True)
        rows.append(
            Row(
                title=title,
                stars=stars.get(title),
                deviation=deviations.get(title),
                chance=chances.get(title),
                is_seen=title in person.ratings,
                given=person.ratings.get(title),
                reasons_for=[each for each in shares[:_MOST_FOR] if each[1] > 0.0],
                reasons_against=[each for each in shares[::-1][:_MOST_AGAINST] if each[1] < 0.0],
                rest=sorted(others, key=lambda item: -abs(item[1])),
            )
        )
    return rows


def rated_by(asking: Asking, known: Known, user: str) -> dict[str, float | None]:
    """What a user rated in training, with stars where the model says them, the highest first; nothing of others."""
    place = known.place_of_user(user)
    if place is None:
        return {}
    if known.ratings is None:
        _, who = Person(user=user, ratings={}).asks("explain")
        return dict.fromkeys(_texts(asking.ask("explain", {**who, "asked_title": strings([])})["rated_title"]))
    titles, stars = known.ratings.of_user(place)
    # Of equal ones the most rated, which says most to whoever reads.
    order = np.lexsort((titles, -stars))
    return {
        known.titles[title]: star for title, star in zip(titles[order].tolist(), stars[order].tolist(), strict=True)
    }


def stages(asking: Asking, known: Known, person: Person, filters: Filters) -> list[Stage]:
    """What each stage makes of a user's titles; nothing for users without training ratings, or without vectors.

    Raises:
      RequestError: the model refuses what it is asked.
    """
    place = None if person.user is None else known.place_of_user(person.user)
    scores = None if place is None else known.candidates(place)
    only = known.fitting(filters)
    if person.user is None or scores is None or (only is not None and not only):
        return []
    free = np.array([title not in person.ratings for title in known.titles])
    if only is not None:
        allowed = set(only)
        free &= np.array([title in allowed for title in known.titles])
    # Of titles without ratings the model shows no vectors.
    scores = np.where(free[: len(scores)], scores[: len(free)], -np.inf)
    best = [each for each in np.argsort(-scores, kind="stable")[:_CANDIDATES].tolist() if np.isfinite(scores[each])]
    candidates = [known.titles[each] for each in best]
    inputs = {_USER: strings([person.user] * len(candidates)), _TITLE: strings(candidates)}
    stars = asking.ask("predict", inputs)["predicted_rating"].ravel()
    ranked = np.argsort(-stars, kind="stable")[:_SHOWN].tolist()
    name, who = person.asks("recommend")
    final = asking.ask(name, {**who, **wanted(_SHOWN, only)})
    return [
        Stage(
            name="Retrieval",
            unit="score of who rated what, over all titles",
            titles=[(known.titles[each], float(scores[each])) for each in best[:_SHOWN]],
        ),
        Stage(
            name="Ranking",
            unit=f"predicted stars of retrieval's first {len(candidates)}",
            titles=[(candidates[each], float(stars[each])) for each in ranked],
        ),
        Stage(
            name="Final order",
            unit="score of both and what else is known",
            titles=list(zip(_texts(final[_TITLE]), final["score"].tolist(), strict=True)),
        ),
    ]


def similar(asking: Asking, title: str, count: int) -> list[tuple[str, float]]:
    """Titles that the same people choose, and how alike they are: cosines, the most alike first.

    Raises:
      RequestError: the model does not recommend.
    """
    answer = asking.ask("similar", {_TITLE: strings([title]), **wanted(count, None)}, is_list=True)
    return list(zip(_texts(answer[_TITLE]), answer["score"].tolist(), strict=True))


def check_ratings(known: Known, ratings: Mapping[str, float]) -> None:
    """Refuses ratings that are not within the scale of the data.

    Raises:
      RequestError: one is not.
    """
    if known.ratings is None:
        return
    low, high = known.ratings.low, known.ratings.high
    for stars in ratings.values():
        if not low <= stars <= high:
            raise invalid(f"expected ratings from {low:g} to {high:g} stars; got {stars:g}; choose stars on the page")


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode(errors="replace") for value in values.tolist()]
