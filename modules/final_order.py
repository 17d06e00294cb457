"""The final order: a weighted sum of features, learned on lists that the models behind them have not seen.

Of the titles that a user has not rated, those that the models of who rated what put first are a list, and those among
them that turn up in held-out ratings, rated highly, are its positives. The weights minimise, over users with p
positives of which up to MOST_COUNTED count,

  - sum_u sqrt(p_u) mean over positives of log softmax(w . f)  +  strength / 2 |w - w0|^2,

where w0 is a little popularity: lists that tell nothing leave the order to it. The weights depend on how many ratings
of a user are known: found at a few numbers of them, for which users' histories are cut short, and in between linear in
log(1 + number). Where the ranking model cannot be asked what it would say of a shortened history, it has no weight.

Source: Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach" (the softmax over a list).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from modules.order_features import POPULARITY

# Titles of a list.
DEPTH = 100
# Numbers of known ratings that weights are found at, beside the most. Where nothing is known, popularity is the order.
SHORT = (1, 3, 10)
MOST_COUNTED = 10
# Lists that weigh as much as w0 does.
_STRENGTH = 25.0
# Weight of popularity in w0, in standard deviations.
_LITTLE = 0.1


@dataclasses.dataclass(frozen=True)
class Lists:
    """Lists to learn from.

    Attributes:
      features: float32 [lists, DEPTH or fewer, features].
      is_positive: bool [lists, titles of a list].
    """

    features: np.ndarray
    is_positive: np.ndarray


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
    weights, deviations = zip(*(_learned(names, lists[number]) for number in known), strict=True)
    weights, deviations = np.stack(weights), np.stack(deviations)
    return Order(
        tuple(names), np.array(known, np.float32), (weights / deviations).astype(np.float32), weights.astype(np.float32)
    )


def _learned(names: Sequence[str], lists: Lists) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the deviations of the features that they are of, float64 [features] each; 1 for constant ones."""
    popularity = np.array([float(name == POPULARITY) for name in names])
    told = lists.is_positive.any(axis=1) & ~lists.is_positive.all(axis=1)
    if not told.any():
        return popularity, np.ones(len(names))
    table, positive = lists.features[told], lists.is_positive[told]
    # Within lists, since a constant of a list does not order it.
    table = table - table.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(np.square(table, dtype=np.float64), axis=(0, 1)))
    varies = deviation > 1e-6
    deviation[~varies] = 1.0
    table = np.where(varies, table / deviation, 0.0).astype(np.float32)
    count = np.minimum(positive.sum(axis=1), MOST_COUNTED)
    share = np.sqrt(count) / np.sqrt(count).sum()
    start = _LITTLE * popularity
    target = (positive * (share / positive.sum(axis=1))[:, np.newaxis]).astype(np.float32)
    wanted = np.einsum("uk,ukf->f", target, table, dtype=np.float64)
    strength = _STRENGTH / len(table)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        normalizer, likely = _softmax(table @ weights.astype(np.float32))
        away = weights - start
        value = share @ normalizer - wanted @ weights + 0.5 * strength * (away @ away)
        expected = (likely * share[:, np.newaxis]).astype(np.float32).ravel() @ table.reshape(-1, table.shape[2])
        return float(value), expected - wanted + strength * away

    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
    return np.where(varies, found.x, 0.0), deviation


def _softmax(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 [lists] log of the sum of exp(score), and [lists, titles] softmax, of scores float [lists, titles]."""
    scores = scores.astype(np.float64)
    highest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - highest)
    total = powers.sum(axis=1, keepdims=True)
    return (np.log(total) + highest)[:, 0], powers / total
