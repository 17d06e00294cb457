"""Scores for users and titles without ratings, as two numbers more in every embedding.

A title in no table is new, and nobody could have rated it: a user gives it what it gives on average, plus what its
features say. A title of the catalogue that stayed unrated while others were rated is obscure: it is scored as the least
rated titles are, plus its features. A new user gives each title what that has on average, plus what its own features
say. The averages are of fitted scores, not of ratings, so that what else was rated, and by whom, is allowed for. How
far an average tells of the next one is found by leaving out each score in turn: where users pick titles whatever their
own, it tells nothing, and the bias alone is left.

What features say is found by a regression of the fitted rows on them alone. In the model's prior they stand beside who
rated a title, and how many did, and have the effects that are left to them there; of a new title neither is known, and
its features speak for these, too. How far they are trusted is found by leaving out each row in turn.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from modules.side_features import DESCRIBED, LISTED

# Average scores that damp a user's (title's) own.
_DAMPING = 5.0
# Penalties of the effects of features, in rows of average weight; the last one leaves no effect.
_PENALTIES = (*4.0 ** np.arange(-4, 6), np.inf)
# Ratings whose rows are gathered at once.
_AT_ONCE = 1 << 18
# Share of the titles that count as the least rated.
_LEAST_RATED = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What is fitted of the users, or of the titles; a row is [bias, embedding].

    Attributes:
      rows: float [rows, columns].
      features: float32 [rows, features], side features; either none, or with the two flags.
      count: int [rows], ratings.
    """

    rows: np.ndarray
    features: np.ndarray
    count: np.ndarray


def tables(users: Fitted, titles: Fitted, user: np.ndarray, title: np.ndarray) -> list[np.ndarray]:
    """Tables of [bias, embedding, two numbers], the last row of the first two being that of an unknown user or title.

    Args:
      users: fitted rows of the users.
      titles: fitted rows of the titles.
      user: int [ratings], of the training ratings.
      title: int [ratings].

    Returns:
      float [users + 1, columns + 2], [titles + 1, columns + 2], [user features, ...], [title features, ...].
    """
    size = users.rows.shape[1]
    user_features, title_features = (
        np.pad(_feature_table(side, other), [(0, 0), (0, 2)]) for side, other in ((users, titles), (titles, users))
    )
    net_users, net_titles = (
        side.rows - side.features @ table[:, :size]
        for side, table in ((users, user_features), (titles, title_features))
    )
    of_user = _own_means(user, title, users, net_titles, titles.count)
    of_title = _own_means(title, user, titles, net_users, users.count)
    # Of a new title by a new user: half from either side.
    any_user, any_title = (
        0.5 * float(np.average(own + side.rows[:, 0], weights=side.count))
        for own, side in ((of_user, users), (of_title, titles))
    )
    user_table, title_table = (np.zeros((len(side.rows) + 1, size + 2)) for side in (users, titles))
    user_table[:-1, :size], title_table[:-1, :size] = users.rows, titles.rows
    user_table[:, size] = [*of_user, any_user]  # times 1 in the row of a new title
    title_table[:, size + 1] = [*of_title, any_title]  # times 1 in the row of a new user
    title_table[-1, size] = user_table[-1, size + 1] = 1.0
    if len(title_features):
        least = _least_rated(titles.count)
        obscure = np.append(net_titles[least].mean(axis=0), [0.0, of_title[least].mean()])
        title_features[LISTED] += obscure - title_table[-1]
    return [user_table, title_table, user_features, title_features]


def _feature_table(side: Fitted, other: Fitted) -> np.ndarray:
    """Float [features, columns]: what each feature adds to a row; being described takes off what they add on average.

    Averages are over ratings.
    """
    table = np.zeros((side.features.shape[1], side.rows.shape[1]))
    used = np.flatnonzero(side.features[:, :DESCRIBED].any(axis=0))
    features = side.features[:, used].astype(np.float64)
    is_described = np.any(features != 0, axis=1)
    count = is_described * side.count
    if not count.any():
        return table
    typical = count @ features / count.sum()
    table[used] = _effects(np.where(is_described[:, np.newaxis], features - typical, 0.0), side, other)
    table[DESCRIBED] = -typical @ table[used]
    return table


def _effects(features: np.ndarray, side: Fitted, other: Fitted) -> np.ndarray:
    """Float [features, columns]: effects of features, float [rows, features], on rows.

    With N the diagonal of the square roots of the rows' numbers n of ratings, w a row and x its features, both less the
    mean by these roots:
      effects = (X^T N X + penalty)^-1 X^T N W
    Rows that are rated often are fitted well and asked for most, but are too few to count by their ratings alone. Of
    `_PENALTIES` that one is taken whose scores are nearest when the effects on a row are those of all other rows:
      error = sum of n ((e - mean e)^T z)^2 over rows, and over z = [1, embedding] of the other side's ratings
      e = (w - x^T effects) / (1 - h),  h = sqrt(n) x^T (X^T N X + penalty)^-1 x,  mean e by n
    Source of e: Allen 1974, "The relationship between variable selection and data augmentation".
    """
    count = side.count.astype(np.float64)
    weight = np.sqrt(count)
    centred, beside = (each - weight @ each / weight.sum() for each in (features, side.rows))
    values, basis = np.linalg.eigh((centred.T * weight) @ centred)
    projected = centred @ basis
    moments = (projected.T * weight) @ beside
    spread, axes = np.linalg.eigh(_second_moments(other))
    in_scores = axes * np.sqrt(np.maximum(spread, 0.0))
    scores, score_moments = beside @ in_scores, moments @ in_scores

    def inverse(penalty: float) -> np.ndarray:
        return 1.0 / (np.maximum(values, 0.0) + penalty * count.sum() / weight.sum())

    def error(penalty: float) -> float:
        left_out = 1.0 - weight * (projected**2 @ inverse(penalty))
        errors = (scores - projected @ (inverse(penalty)[:, np.newaxis] * score_moments)) / left_out[:, np.newaxis]
        return float(count @ np.square(errors - count @ errors / count.sum()).sum(axis=1))

    return basis @ (inverse(min(_PENALTIES, key=error))[:, np.newaxis] * moments)


def _second_moments(side: Fitted) -> np.ndarray:
    """Float [columns, columns]: the sum of z z^T, z = [1, embedding], over the ratings."""
    design = np.concatenate([np.ones((len(side.rows), 1)), side.rows[:, 1:]], axis=1)
    return (design.T * side.count) @ design


def _own_means(row: np.ndarray, column: np.ndarray, side: Fitted, net: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Float [rows]: what is expected of a row's next score, without features of what is rated, less its bias.

    With y the scores of what the row has rated, less the bias, and t that of what is typically rated:
      expected = t + slope (sum of (y - t)) / (n + damping)
    where the slope is that of the regression of y - t on the same quotient of all others of the row.

    Args:
      row: int [ratings].
      column: int [ratings], what is rated.
      side: of the rows.
      net: float [columns, size], rows of what is rated, without what their features add.
      count: int [columns], ratings of each.
    """
    typical = np.average(net, axis=0, weights=count)
    beside = net - typical
    sums = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(side.rows), len(net))) @ beside
    total = sums[:, 0] + np.sum(side.rows[:, 1:] * sums[:, 1:], axis=1)
    score = np.empty(len(row))
    # A part at a time: rows of all ratings side by side would be the largest thing in memory.
    for begin in range(0, len(row), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        rows, columns = side.rows[row[part]], beside[column[part]]
        score[part] = columns[:, 0] + np.einsum("nk,nk->n", rows[:, 1:], columns[:, 1:])
    others = (total[row] - score) / (side.count[row] - 1 + _DAMPING)
    spread = float(others @ others)
    slope = min(max(float(others @ score) / spread, 0.0), 1.0) if spread > 0 else 0.0
    return typical[0] + side.rows[:, 1:] @ typical[1:] + slope * total / (side.count + _DAMPING)


def _least_rated(count: np.ndarray) -> np.ndarray:
    """Bool [rows]: the row has no more ratings than a tenth of all rows have at most."""
    return count <= np.quantile(count, _LEAST_RATED, method="inverted_cdf")
