"""How good lists of titles are, from users' lists and what they turned out to like: sums that are merged.

With L the list of a user, k titles long where there are that many, and P what the user liked among held-out ratings:

  NDCG@k    sum over ranks i of L of [title in P] / log2(i + 1), over the largest that |P| positives allow;
  Recall@k  |L and P| / |P|;
  popularity rank  mean over L of the title's place by training ratings, 1 for the most rated;
  diversity  mean over pairs of L of 1 - cosine of the titles' genres; lists of two described titles or more count;
  coverage  share of the catalogue that is in any list;
  Gini      of how often each title of the catalogue is listed: 0 if all are equally often, 1 if one has everything.

Sources: Jarvelin and Kekalainen 2002 (NDCG); Ziegler et al. 2005, "Improving recommendation lists through topic
diversification" (diversity within a list); Fleder and Hosanagar 2009, "Blockbuster culture's next rise or fall" (Gini).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from modules import sliced_metrics
from modules.sliced_metrics import OVERALL, Evaluation, SliceKey

# Titles of a list.
LENGTH = 10
# Of all names of these metrics.
LIST_PREFIX = "list_"
LIST_NDCG, LIST_RECALL, LIST_POPULARITY_RANK, LIST_DIVERSITY = BY_USER = (
    "list_ndcg",
    "list_recall",
    "list_popularity_rank",
    "list_diversity",
)
LIST_COVERAGE, LIST_GINI = "list_coverage", "list_gini"
LIST_USERS = "list_users"
# Of every model but the candidate: by how much the candidate's NDCG is above its own, on the same users, the standard
# error of that, and their ratio.
LIST_LEAD, LIST_LEAD_STDERR, LIST_LEAD_Z = LEADS = ("list_ndcg_lead", "list_ndcg_lead_stderr", "list_ndcg_lead_z")
_STDERR = "{}_stderr"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The titles that can be listed.

    Attributes:
      count: int [titles], training ratings of each.
      genres: float32 [titles, genres]; zeros where nothing is known.
    """

    count: np.ndarray
    genres: np.ndarray

    def popularity_rank(self) -> np.ndarray:
        """Int [titles]: 1 for the most rated; of equally many the first in the catalogue."""
        rank = np.empty(len(self.count), np.int64)
        rank[np.argsort(-self.count, kind="stable")] = np.arange(1, len(self.count) + 1)
        return rank


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListSums:
    """Sums over users; the first model is the candidate.

    Attributes:
      users: how many.
      counted: float64 [metrics, models], how many of them count, by BY_USER.
      total: float64 [metrics, models].
      squares: float64 [metrics, models].
      lead: float64 [models], sum of how much the candidate's NDCG is above the model's.
      lead_squares: float64 [models].
      exposure: int64 [models, titles], how often each title of the catalogue is listed.
    """

    users: int
    counted: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    lead: np.ndarray
    lead_squares: np.ndarray
    exposure: np.ndarray

    def __add__(self, other: ListSums) -> ListSums:
        names = (field.name for field in dataclasses.fields(self))
        return ListSums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def metrics(self, model: int) -> dict[str, float]:
        """The metrics of a model, by name; NaN where no user counts."""
        values = {LIST_USERS: float(self.users)}
        for place, name in enumerate(BY_USER):
            count, total, squares = (each[place, model] for each in (self.counted, self.total, self.squares))
            values |= {name: _mean(total, count), _STDERR.format(name): _stderr(total, squares, count)}
        exposure = self.exposure[model]
        values |= {LIST_COVERAGE: float(np.mean(exposure > 0)), LIST_GINI: gini(exposure)}
        if model:
            mean, stderr = (
                self.lead[model] / self.users,
                _stderr(self.lead[model], self.lead_squares[model], self.users),
            )
            z = mean / stderr if stderr > 0 else np.copysign(np.inf, mean) if mean else 0.0
            values |= {LIST_LEAD: float(mean), LIST_LEAD_STDERR: stderr, LIST_LEAD_Z: float(z)}
        return values


def ndcg(lists: np.ndarray, positives: Sequence[np.ndarray], num_positives: np.ndarray) -> np.ndarray:
    """NDCG@k of each list of k titles, float64 [users]; arguments as those of `sum_lists`, of one model."""
    discount = 1.0 / np.log2(np.arange(lists.shape[1]) + 2.0)
    best = np.cumsum(discount)[np.minimum(num_positives, lists.shape[1]) - 1]
    return hits(lists, positives) @ discount / best


def hits(lists: np.ndarray, positives: Sequence[np.ndarray]) -> np.ndarray:
    """Bool [users, k]: the title is one that the user liked."""
    return np.stack([np.isin(listed, liked) for listed, liked in zip(lists, positives, strict=True)])


def sum_lists(
    lists: np.ndarray, positives: Sequence[np.ndarray], num_positives: np.ndarray, catalogue: Catalogue
) -> ListSums:
    """Measures lists of the same users by several models.

    Args:
      lists: int [models, users, length], positions in the catalogue, best first; -1 behind the end of a list that is
        shorter, and for a title that the catalogue has not.
      positives: of each user, int [positives], positions of what was liked, each once; that of the catalogue alone.
      num_positives: int [users], how many there are with those that the catalogue has not, at least 1.
      catalogue: the titles.
    """
    models, users, _ = lists.shape
    is_listed = lists >= 0
    number = is_listed.sum(axis=2)
    rank = np.where(is_listed, catalogue.popularity_rank()[lists], 0).sum(axis=2) / np.maximum(number, 1)
    diversity, is_diverse = _diversity(lists, catalogue.genres)
    gained = np.stack([ndcg(each, positives, num_positives) for each in lists])
    recall = np.stack([hits(each, positives).sum(axis=1) / num_positives for each in lists])
    values = np.stack([gained, recall, rank, diversity])
    everybody = np.ones((models, users), bool)
    counted = np.stack([everybody, everybody, number > 0, is_diverse])
    values = np.where(counted, values, 0.0)
    lead = gained[0] - gained
    titles = len(catalogue.count)
    exposure = np.stack([np.bincount(each[each >= 0], minlength=titles) for each in lists])
    return ListSums(
        users=users,
        counted=counted.sum(axis=2).astype(np.float64),
        total=values.sum(axis=2),
        squares=np.square(values).sum(axis=2),
        lead=lead.sum(axis=1),
        lead_squares=np.square(lead).sum(axis=1),
        exposure=exposure,
    )


def gini(exposure: np.ndarray) -> float:
    """Gini coefficient of counts, int [titles]; NaN where all are zero."""
    total, titles = exposure.sum(), len(exposure)
    if not total:
        return float("nan")
    rising = np.sort(exposure)
    return float((2 * np.arange(1, titles + 1) - titles - 1) @ rising / (titles * total))


def evaluation_of(sums: dict[SliceKey, ListSums], models: Sequence[str]) -> Evaluation:
    """The metrics that the sums come to, for models of these names."""
    return {key: {model: sums[key].metrics(place) for place, model in enumerate(models)} for key in sorted(sums)}


def with_overall(by_slice: dict[SliceKey, ListSums]) -> dict[SliceKey, ListSums]:
    """The same with the sums over all users, each of whom is in one slice."""
    whole = sliced_metrics.merge({OVERALL: sums} for sums in by_slice.values())
    return {**whole, **by_slice}


def _diversity(lists: np.ndarray, genres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 [models, users], and whether the list counts, bool [models, users]."""
    lengths = np.linalg.norm(genres, axis=1, keepdims=True)
    unit = np.divide(genres, lengths, out=np.zeros_like(genres, np.float64), where=lengths > 0)
    # A title that is not there, or of which nothing is known, is zeros.
    listed = np.where((lists >= 0)[..., np.newaxis], unit[lists], 0.0)
    described = listed.any(axis=3).sum(axis=2)
    # Of unit vectors: |sum|^2 = number + 2 sum over pairs of their cosine.
    cosines = (np.square(listed.sum(axis=2)).sum(axis=2) - described) / 2
    pairs = described * (described - 1) / 2
    return 1.0 - np.divide(cosines, pairs, out=np.zeros_like(cosines), where=pairs > 0), pairs > 0


def _mean(total: float, count: float) -> float:
    return float(total / count) if count else float("nan")


def _stderr(total: float, squares: float, count: float) -> float:
    """Standard error of a mean; NaN of fewer than two values."""
    if count < 2:
        return float("nan")
    return float(np.sqrt(max(squares - total * total / count, 0.0) / (count - 1) / count))
