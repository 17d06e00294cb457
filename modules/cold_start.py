"""Scores for users and titles without ratings, as two numbers more in every embedding.

A title in no table is new, and nobody could have rated it: a user gives it what it gives on average, plus what its
features say. A title of the catalogue that stayed unrated while others were rated is obscure: it is scored as the least
rated titles are, plus its features. A new user gives each title what that has on average, plus what its own features
say. The averages are of fitted scores, not of ratings, so that what else was rated, and by whom, is allowed for. How
far an average tells of the next one is found by leaving out each score in turn: where users pick titles whatever their
own, it tells nothing, and the bias alone is left.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from modules.side_features import DESCRIBED, LISTED

# Average scores that damp a user's (title's) own.
_DAMPING = 5.0
# Ratings whose rows are gathered at once.
_AT_ONCE = 1 << 18
# Share of the titles that count as the least rated.
LEAST_RATED = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What is fitted of the users, or of the titles; a row is [bias, embedding].

    Attributes:
      rows: float [rows, columns].
      features: float32 [rows, features], side features.
      effects: float [features, columns], what each adds to a row, beside its mean over the described rows.
      obscure: float [columns], what is expected of the least rated rows, without side features; None where no row
        counts as obscure.
      count: int [rows], ratings.
    """

    rows: np.ndarray
    features: np.ndarray
    effects: np.ndarray
    obscure: np.ndarray | None
    count: np.ndarray

    def effect_of_features(self) -> np.ndarray:
        """Float [rows, columns]: what a row's features add to it."""
        return self.features @ self.feature_table(self.rows.shape[1])

    def feature_table(self, columns: int) -> np.ndarray:
        """Float [features, columns]: what each feature adds, where being described takes off the mean of the others."""
        table = np.zeros((len(self.effects), columns))
        table[:, : self.effects.shape[1]] = self.effects
        described = self.features[self.features[:, DESCRIBED:LISTED].any(axis=1)]
        if len(described):
            table[DESCRIBED] -= described.mean(axis=0) @ table
        return table


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
    of_user, of_title = _own_means(user, title, users, titles), _own_means(title, user, titles, users)
    # Of a new title by a new user: half from either side.
    any_user, any_title = (
        0.5 * float(np.average(own + side.rows[:, 0], weights=side.count))
        for own, side in ((of_user, users), (of_title, titles))
    )
    size = users.rows.shape[1]
    user_table, title_table = (np.zeros((len(side.rows) + 1, size + 2)) for side in (users, titles))
    user_table[:-1, :size], title_table[:-1, :size] = users.rows, titles.rows
    user_table[:, size] = [*of_user, any_user]  # times 1 in the row of a new title
    title_table[:, size + 1] = [*of_title, any_title]  # times 1 in the row of a new user
    title_table[-1, size] = user_table[-1, size + 1] = 1.0
    user_features, title_features = (side.feature_table(size + 2) for side in (users, titles))
    if titles.obscure is not None and len(title_features):
        obscure = np.append(titles.obscure, [0.0, float(np.mean(of_title[_least_rated(titles.count)]))])
        title_features[LISTED] += obscure - title_table[-1]
    return [user_table, title_table, user_features, title_features]


def _own_means(row: np.ndarray, column: np.ndarray, side: Fitted, other: Fitted) -> np.ndarray:
    """Float [rows]: what is expected of a row's next score, without features of what is rated, less its bias.

    With y the scores of what the row has rated, less the bias, and t that of what is typically rated:
      expected = t + slope (sum of (y - t)) / (n + damping)
    where the slope is that of the regression of y - t on the same quotient of all others of the row.
    """
    net = other.rows - other.effect_of_features()
    typical = np.average(net, axis=0, weights=other.count)
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
    return count <= np.quantile(count, LEAST_RATED, method="inverted_cdf")


def least_rated_weights(count: np.ndarray) -> np.ndarray:
    """Float32 [rows], adding up to one: equal for the least rated rows, else zero."""
    chosen = _least_rated(count)
    return (chosen / chosen.sum()).astype(np.float32)
