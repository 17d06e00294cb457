"""How far metrics would move with other users: the Poisson bootstrap over users, as sums that are merged.

Each user counts w times in a sample, with w drawn from a Poisson distribution of mean 1, which for many users is
sampling them with replacement (Chamandy et al. 2012, "Estimating uncertainty for massive data streams"). The draw is a
hash of user and sample, so that the same ratings give the same intervals, in whatever parts they are measured.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from modules import sliced_metrics
from modules.sliced_metrics import MAE, NDCG, PAIRWISE_ACCURACY, RMSE, ScoredRatings

SAMPLES = 400
# Quantiles of the samples that are the ends of an interval, by what is added to the metric's name.
ENDS = {"_low": 0.025, "_high": 0.975}
# Of all metrics that have intervals.
MEASURED = (RMSE, MAE, NDCG, PAIRWISE_ACCURACY)
NAMES = tuple(name + end for name in MEASURED for end in ENDS)
# Users that are weighted at once: 400 samples of these are 13 MB.
_AT_ONCE = 4096
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15
# P(w <= k) of Poisson(1); beyond, less than one draw of 10^10.
_POISSON = np.cumsum([math.exp(-1.0) / math.factorial(k) for k in range(14)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resampled:
    """Weighted sums over users, by sample.

    Attributes:
      totals: float64 [samples, metrics, models], by MEASURED.
      counts: float64 [samples, metrics], ratings of the errors, users that count of the others.
    """

    totals: np.ndarray
    counts: np.ndarray

    def __add__(self, other: Resampled) -> Resampled:
        return Resampled(totals=self.totals + other.totals, counts=self.counts + other.counts)

    def intervals(self, models: Sequence[str]) -> dict[str, dict[str, float]]:
        """By model, the ends of the interval of 95 % of each metric; those without a number are left out."""
        # A sample of few users may have nobody who counts.
        with np.errstate(divide="ignore", invalid="ignore"):
            means = self.totals / self.counts[:, :, np.newaxis]
        means[:, MEASURED.index(RMSE)] = np.sqrt(means[:, MEASURED.index(RMSE)])
        ends = np.quantile(means, list(ENDS.values()), axis=0)
        return {
            model: {
                name + end: float(ends[which, metric, place])
                for metric, name in enumerate(MEASURED)
                for which, end in enumerate(ENDS)
                if math.isfinite(ends[which, metric, place])
            }
            for place, model in enumerate(models)
        }


def resample(ratings: ScoredRatings) -> Resampled:
    """Sums of all samples.

    Args:
      ratings: at least one; all ratings of each user that has any here.
    """
    keys, totals, counts = sliced_metrics.sum_by_user(ratings, MEASURED)
    metrics, models, _ = totals.shape
    sums = Resampled(totals=np.zeros((SAMPLES, metrics, models)), counts=np.zeros((SAMPLES, metrics)))
    for users in _blocks(len(keys)):
        weight = _weights(keys[users])
        flat = totals[:, :, users].reshape(metrics * models, -1)
        sums += Resampled(
            totals=(weight @ flat.T).reshape(SAMPLES, metrics, models), counts=weight @ counts[:, users].T
        )
    return sums


def _blocks(users: int) -> Iterator[slice]:
    for begin in range(0, users, _AT_ONCE):
        yield slice(begin, begin + _AT_ONCE)


def _weights(user: np.ndarray) -> np.ndarray:
    """Float64 [samples, users]: how often each user counts in each sample."""
    sample = np.arange(1, SAMPLES + 1, dtype=np.uint64)[:, np.newaxis]
    # SplitMix64 of both; unsigned integers wrap around.
    mixed = user.astype(np.uint64)[np.newaxis] + sample * np.uint64(_STEP)
    for shift, factor in zip((30, 27), _MIX, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(_POISSON, uniform, side="right").astype(np.float64)
