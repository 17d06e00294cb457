"""The final order: a weighted sum of features, learned on lists that the models behind them have not seen.

Of the titles that a user has not rated, those that the models of who rated what put first are a list, and those among
them that turn up in held-out ratings, rated highly, are its positives. The weights minimise, over users with p
positives of which up to MOST_COUNTED count,

  - sum_u sqrt(p_u) mean over positives of log softmax(w . f)  +  strength / 2 |w - w0|^2,

where w0 is a little popularity: lists that tell nothing leave the order to it. So do lists that tell too little: a sum
is dropped if on lists that its weights were not learned on it has a lower NDCG@10 than the most popular titles of the
whole catalogue, by more than chance explains. The weights depend on how many ratings of a user are known: found at
a few numbers of them, for which users' histories are cut short, and in between linear in log(1 + number). Where the
ranking model cannot be asked what it would say of a shortened history, it has no weight.

Source: Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach" (the softmax over a list).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from modules.metrics import first_k, ranked_ndcg
from modules.order_features import POPULARITY
from modules.retrieval_tuning import RANKS

# Titles of a list.
DEPTH = 100
# Numbers of known ratings that weights are found at, beside the most. Where nothing is known, popularity is the order.
SHORT = (1, 3, 10)
MOST_COUNTED = 10
# Lists that weigh as much as w0 does.
_STRENGTH = 25.0
# Weight of popularity in w0, in standard deviations.
_LITTLE = 0.1
# Standard errors that chance explains, one-sided, in 95 of 100 cases.
_SIGNIFICANT = 1.645
# Parts of the lists, each ordered by what the others taught.
_PARTS = 4


@dataclasses.dataclass(frozen=True)
class Lists:
    """Lists to learn from.

    Attributes:
      features: float32 [lists, DEPTH or fewer, features].
      is_positive: bool [lists, titles of a list].
      positives: int [lists], positives in the whole catalogue.
      by_popularity: float64 [lists], NDCG@10 of the most popular titles instead.
    """

    features: np.ndarray
    is_positive: np.ndarray
    positives: np.ndarray
    by_popularity: np.ndarray

    def select(self, rows: np.ndarray) -> Lists:
        """Some of the lists, by a mask."""
        return Lists(self.features[rows], self.is_positive[rows], self.positives[rows], self.by_popularity[rows])

    def teach(self) -> Lists:
        """Those with titles of both kinds, which alone tell what to put first."""
        positive = self.is_positive.sum(axis=1)
        return self.select((positive > 0) & (positive < self.is_positive.shape[1]))


def no_lists(features: int) -> Lists:
    """Lists of a number of known ratings at which there is nothing to learn."""
    none = np.zeros(0)
    return Lists(np.zeros((0, 1, features), np.float32), np.zeros((0, 1), bool), none.astype(np.int64), none)


@dataclasses.dataclass(frozen=True)
class Order:
    """What features weigh, by the number of known ratings.

    Attributes:
      names: of the features.
      known: float32 [nodes], rising: numbers of known ratings.
      coefficients: float32 [nodes, features], of the features as they are.
      weights: float32 [nodes, features], the same in standard deviations within the lists, to be compared.
    """

    names: tuple[str, ...]
    known: np.ndarray
    coefficients: np.ndarray
    weights: np.ndarray


def learn(names: Sequence[str], lists: dict[int, Lists]) -> Order:
    """Finds the weights.

    Args:
      names: of the features.
      lists: by the number of known ratings.

    Raises:
      ValueError: there is no number of known ratings.
    """
    if not lists:
        raise ValueError("expected lists for one number of known ratings or more; got none; pass empty lists at least")
    known = sorted(lists)
    popularity = np.array([float(name == POPULARITY) for name in names])
    weights, deviations = zip(*(_trusted(popularity, lists[number]) for number in known), strict=True)
    weights, deviations = np.stack(weights), np.stack(deviations)
    return Order(
        tuple(names), np.array(known, np.float32), (weights / deviations).astype(np.float32), weights.astype(np.float32)
    )


def _trusted(popularity: np.ndarray, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the deviations of the features that they are of, float64 [features] each; 1 for constant ones.

    Args:
      popularity: float64 [features], 1 for popularity, 0 for the others: the weights where nothing better is known.
      lists: of one number of known ratings.
    """
    untaught = popularity, np.ones(len(popularity))
    lists = lists.select(lists.positives > 0)
    part = np.arange(len(lists.positives)) % _PARTS
    parts = [lists.select(part != each).teach() for each in range(_PARTS)]
    if not all(len(rest.positives) for rest in parts):
        return untaught
    start = _LITTLE * popularity
    weights, deviation = _learned(start, lists.teach())
    gain = -lists.by_popularity
    for each, rest in enumerate(parts):
        # Their minimum lies near that of all lists.
        coefficients = np.divide(*_learned(start, rest, weights)).astype(np.float32)
        held = lists.select(part == each)
        best = first_k(held.features @ coefficients, RANKS)
        hits = np.take_along_axis(held.is_positive, best, axis=1)
        gain[part == each] += ranked_ndcg(hits, held.positives).value
    is_worse = gain.mean() < -_SIGNIFICANT * gain.std() / np.sqrt(len(gain))
    return untaught if is_worse else (weights, deviation)


def _learned(start: np.ndarray, lists: Lists, guess: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weights at the minimum, and the features' deviations, float64 [features] each; 1 for constant features.

    Args:
      start: float64 [features], w0.
      lists: those that teach.
      guess: float64 [features], where to look first; w0 if None.
    """
    positive = lists.is_positive
    # Within lists, since a constant of a list does not order it.
    table = lists.features - lists.features.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(np.square(table, dtype=np.float64), axis=(0, 1)))
    varies = deviation > 1e-6
    deviation[~varies] = 1.0
    table = np.where(varies, table / deviation, 0.0).astype(np.float32)
    count = np.minimum(positive.sum(axis=1), MOST_COUNTED)
    share = np.sqrt(count) / np.sqrt(count).sum()
    target = (positive * (share / positive.sum(axis=1))[:, np.newaxis]).astype(np.float32)
    wanted = np.einsum("uk,ukf->f", target, table, dtype=np.float64)
    strength = _STRENGTH / len(table)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        normalizer, likely = _softmax(table @ weights.astype(np.float32))
        away = weights - start
        value = share @ normalizer - wanted @ weights + 0.5 * strength * (away @ away)
        expected = (likely * share[:, np.newaxis]).astype(np.float32).ravel() @ table.reshape(-1, table.shape[2])
        return float(value), expected - wanted + strength * away

    found = optimize.minimize(loss, start if guess is None else guess, jac=True, method="L-BFGS-B")
    return np.where(varies, found.x, 0.0), deviation


def _softmax(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 [lists] log of the sum of exp(score), and [lists, titles] softmax, of scores float [lists, titles]."""
    scores = scores.astype(np.float64)
    highest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - highest)
    total = powers.sum(axis=1, keepdims=True)
    return (np.log(total) + highest)[:, 0], powers / total
