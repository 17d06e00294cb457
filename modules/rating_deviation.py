"""How sure a prediction is: its standard deviation, as a product of one number of the user and one of the title.

The variance of a rating to come is that of its score over the draws of the chain, plus that of the noise. Over users
and titles it is close to a product x_u y_i, which is fitted in logarithms. What the model leaves out is made good by
one factor, chosen so that intervals hold the share of held-out ratings that they should.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import special

from modules.baselines import damped_mean

# Shares of ratings that intervals are made to hold, and how far these reach to either side, in standard deviations of a
# normal distribution.
LEVELS = (0.5, 0.8, 0.95)
HALF_WIDTHS = np.sqrt(2.0) * special.erfinv(LEVELS)
_BATCHES = 10
_SWEEPS = 10
_DAMPING = 2.0
# Of the factor at which the middle interval holds its share.
_FACTORS = np.geomspace(0.5, 2.0, 81)


class ScoreMoments:
    """Moments of the scores of some pairs of user and title, over the draws of a chain; all standardised.

    Memory: 24 bytes a pair, and 4 bytes a traced pair and draw.
    """

    def __init__(self, user: np.ndarray, title: np.ndarray, *, traced: int) -> None:
        """Starts without draws.

        Args:
          user: int [pairs].
          title: int [pairs].
          traced: of how many of the first pairs every score is kept, to tell the Monte Carlo error.
        """
        self.user, self.title = user, title
        self._traced = traced
        self.clear()

    def clear(self) -> None:
        """Forgets all draws."""
        self._draws = 0
        self._expected, self._drawn, self._square, self._noise = np.zeros((4, len(self.user)))
        self._trace: list[np.ndarray] = []

    def add(self, expected: np.ndarray, drawn: np.ndarray, noise: np.ndarray) -> None:
        """Takes a draw.

        Args:
          expected: float32 [pairs], scores of the mean that the users' vectors were drawn around.
          drawn: float32 [pairs], scores of drawn vectors.
          noise: float32 [pairs], variances of the ratings around their scores.
        """
        self._draws += 1
        self._expected += expected
        self._drawn += drawn
        self._square += np.square(drawn)
        self._noise += noise
        self._trace.append(expected[: self._traced])

    def __len__(self) -> int:
        return self._draws

    def state(self) -> dict[str, np.ndarray]:
        """All that it has gathered."""
        sums = np.stack([self._expected, self._drawn, self._square, self._noise])
        return {"sums": sums, "trace": np.array(self._trace, np.float32)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes a state back."""
        self._expected, self._drawn, self._square, self._noise = state["sums"]
        self._trace = list(state["trace"])
        self._draws = len(self._trace)

    def mean(self) -> np.ndarray:
        """Float64 [pairs]: the mean scores."""
        return self._expected / self._draws

    def noise(self) -> float:
        """The mean variance of a rating around its score."""
        return float(np.mean(self._noise)) / self._draws

    def variance(self) -> np.ndarray:
        """Float64 [pairs]: of a rating to come."""
        mean = self._drawn / self._draws
        return np.maximum(self._square / self._draws - mean**2, 0.0) + self._noise / self._draws

    def monte_carlo_error(self) -> float:
        """The variance of a mean score that comes of the chain being short, averaged over the traced pairs.

        By batch means: the draws in ten parts, whose means differ the more, the fewer draws there are in effect.
        Infinite where there are fewer than two draws a part.
        """
        size = self._draws // _BATCHES
        if size < 2:
            return float("inf")
        scores = np.stack(self._trace[-size * _BATCHES :])
        means = scores.reshape(_BATCHES, size, -1).mean(axis=1)
        return float(np.mean(means.var(axis=0, ddof=1))) / _BATCHES

    def by_row(self, users: int, titles: int) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations as a product: x [users + 1] and y [titles + 1], the last of those without any pair.

        log variance = log x_u + log y_i, by alternating damped means.
        """
        level = np.log(np.maximum(self.variance(), 1e-12))
        typical = float(level.mean())
        of_user, of_title = np.zeros(users), np.zeros(titles)
        for _ in range(_SWEEPS):
            of_user = damped_mean(self.user, level - typical - of_title[self.title], users, _DAMPING)
            of_title = damped_mean(self.title, level - typical - of_user[self.user], titles, _DAMPING)
        return np.exp(0.5 * (typical + np.append(of_user, 0.0))), np.exp(0.5 * np.append(of_title, 0.0))


def calibrating_factor(standardized: np.ndarray) -> float:
    """What to multiply deviations by, so that intervals hold the shares LEVELS of the errors as nearly as possible.

    Args:
      standardized: float [ratings], |rating - prediction| / deviation; 1 is returned for none, and where
        there is no error.
    """
    middle = float(np.quantile(standardized, LEVELS[1]) / HALF_WIDTHS[1]) if len(standardized) else 0.0
    if not middle:
        return 1.0
    factors = middle * _FACTORS
    gaps = [
        sum((share - level) ** 2 for share, level in zip(shares_inside(standardized / factor), LEVELS, strict=True))
        for factor in factors
    ]
    return float(factors[int(np.argmin(gaps))])


def shares_inside(standardized: np.ndarray) -> list[float]:
    """The shares of |error| / deviation that lie inside the intervals of LEVELS of a normal distribution."""
    return [float(np.mean(standardized <= half_width)) for half_width in HALF_WIDTHS]
