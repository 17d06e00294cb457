"""How the models of who rated what are regularised: a bounded search on held-out lists.

The best strength depends on the catalogue, and a factor of two beside it costs a good part of what the model gains, so
it is looked for: from the start by a step up, or else down, then on in that direction while lists get better by more
than a standard error of the difference, or until the tries are used up. Lists of few hundred users tell neighbouring
strengths apart by chance otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from modules.metrics import list_ndcg

RANKS = 10

_Model = TypeVar("_Model")


def search(
    start: float,
    step: float,
    tries: int,
    make: Callable[[float], _Model],
    values_of: Callable[[_Model], np.ndarray],
    tell: Callable[[float, float], None],
) -> tuple[float, _Model]:
    """The best of up to 1 + tries strengths, and the model of that strength; one model more is in memory.

    Args:
      start: where to begin, above 0.
      step: factor from one strength to the next, above 1.
      tries: strengths beside the first; with none, the start is taken unasked.
      make: a model by its strength.
      values_of: how good a model is for each user, the larger, the better; float [users], which may be none.
      tell: is called with each strength asked for and the mean of its values.
    """
    best, model = start, make(start)
    if tries < 1:
        return best, model
    values = _told(values_of(model), start, tell)
    factor = step
    for attempt in range(tries):
        strength = best * factor
        candidate = make(strength)
        its_values = _told(values_of(candidate), strength, tell)
        if _is_better(its_values, values):
            best, model, values = strength, candidate, its_values
        elif attempt == 0:
            factor = 1.0 / step
        else:
            break
    return best, model


def _told(values: np.ndarray, strength: float, tell: Callable[[float, float], None]) -> np.ndarray:
    tell(strength, float(values.mean()) if len(values) else float("nan"))
    return values


def _is_better(values: np.ndarray, others: np.ndarray) -> bool:
    """Whether the mean is larger by more than the standard error of the mean difference."""
    gain = values - others
    return len(gain) > 0 and bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def held_out_ndcg(scores: np.ndarray, is_known: np.ndarray, is_positive: np.ndarray) -> np.ndarray:
    """NDCG@10 of lists of titles that are not known, float64 [users with a positive].

    Args:
      scores: float32 [users, titles].
      is_known: bool [users, titles].
      is_positive: bool [users, titles].
    """
    by_user = list_ndcg(np.where(is_known, -np.inf, scores), is_positive & ~is_known, RANKS)
    return by_user.value[by_user.counted]
