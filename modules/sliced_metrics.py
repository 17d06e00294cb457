"""Metrics of several models by slice, from columns of scored ratings: sums that are merged, and what comes of them.

NumPy alone, without a Python loop over ratings or users. What is worked out per slice are sums, so that any part of
the ratings can be measured on its own, as long as all ratings of a user are in the same part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from modules import metrics, rating_deviation

EXAMPLE_COUNT = "example_count"
# Of the candidate: how many users have a rating in the slice.
USER_COUNT = "user_count"
RMSE = "root_mean_squared_error"
MAE = "mean_absolute_error"
NDCG = "ndcg"
PAIRWISE_ACCURACY = "pairwise_accuracy"
# Of every model but the candidate, the paired comparison on the same ratings: by how much its mean squared error is
# above the candidate's, stars squared, the standard error of that, and their ratio.
MSE_DIFFERENCE = "mse_difference"
MSE_DIFFERENCE_STDERR = "mse_difference_stderr"
MSE_DIFFERENCE_Z = "mse_difference_z"
PAIRED = (MSE_DIFFERENCE, MSE_DIFFERENCE_STDERR, MSE_DIFFERENCE_Z)
# Of a candidate that tells how sure it is: the RMSE that its standard deviations amount to, stars, and the shares of
# ratings inside the intervals around its predictions that are made to hold 50, 80 and 95 %, by level.
EXPECTED_RMSE = "expected_rmse"
SHARES_INSIDE = {level: f"share_inside_{100 * level:g}" for level in rating_deviation.LEVELS}
# Ranks that count for NDCG.
RANKING_DEPTH = 10

# A feature and its value; nothing for the slice of all ratings.
SliceKey = tuple[str, ...]
OVERALL: SliceKey = ()
# What is summed over the users of a slice.
Sums = TypeVar("Sums", bound=Any)
# Position of the candidate among the models.
_CANDIDATE = 0
# Metrics by slice, then by the name of the model, then by their own.
Evaluation = dict[SliceKey, dict[str, dict[str, float]]]

# Metrics that are the mean over users of how well a user's whole list is ordered, each from users, labels and
# predictions of ratings.
_BY_USER: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], metrics.ByQuery]] = {
    NDCG: lambda user, label, prediction: metrics.ndcg_by_query(user, label, prediction, RANKING_DEPTH),
    PAIRWISE_ACCURACY: metrics.pairwise_accuracy_by_query,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredRatings:
    """Ratings as columns, with what each model predicts and the slices that they lie in.

    A slicing shares all ratings out among slices: one for the ratings at large, or one a value of a feature.

    Attributes:
      user: int64 [ratings], what titles are ranked within.
      label: float32 [ratings], stars.
      prediction: float32 [models, ratings], stars; the candidate's first.
      deviation: float32 [1, ratings], the standard deviation that the candidate gives each rating around its
        prediction, stars; [0, ratings] of a candidate that gives none.
      slice_code: int32 [slicings, ratings], position in `slice_keys`.
      slice_keys: the slices of each slicing.
    """

    user: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    deviation: np.ndarray
    slice_code: np.ndarray
    slice_keys: tuple[tuple[SliceKey, ...], ...]

    def __len__(self) -> int:
        return len(self.label)

    def select(self, rows: np.ndarray) -> ScoredRatings:
        """The ratings at these positions."""
        return dataclasses.replace(
            self,
            user=self.user[rows],
            label=self.label[rows],
            prediction=self.prediction[:, rows],
            deviation=self.deviation[:, rows],
            slice_code=self.slice_code[:, rows],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserSum:
    """A metric by user, summed over those users with a rating in a slice that count.

    Attributes:
      total: float64 [models].
      users: how many count.
    """

    total: np.ndarray
    users: int

    def __add__(self, other: UserSum) -> UserSum:
        return UserSum(total=self.total + other.total, users=self.users + other.users)

    def mean(self, model: int) -> float:
        """The mean over users; NaN if none counts."""
        return float(self.total[model] / self.users) if self.users else float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceSums:
    """What is summed over the ratings of a slice, and over the users that have a rating in it.

    Attributes:
      ratings: how many.
      users: how many have one of them.
      squared_error: float64 [models], sum of (prediction - label)^2, stars squared.
      absolute_error: float64 [models], sum of |prediction - label|, stars.
      difference: float64 [models], sum of how much larger the squared error of each rating is than the candidate's,
        stars squared.
      difference_squared: float64 [models], sum of the squares of that.
      calibration: float64 [1 + levels], sum of the variances that the candidate gives, stars squared, and how many
        ratings lie inside the interval of each level; empty of a candidate that gives none.
      by_user: sums of the metrics that are means over users, by name.
    """

    ratings: int
    users: int
    squared_error: np.ndarray
    absolute_error: np.ndarray
    difference: np.ndarray
    difference_squared: np.ndarray
    calibration: np.ndarray
    by_user: dict[str, UserSum]

    def __add__(self, other: SliceSums) -> SliceSums:
        return SliceSums(
            ratings=self.ratings + other.ratings,
            users=self.users + other.users,
            squared_error=self.squared_error + other.squared_error,
            absolute_error=self.absolute_error + other.absolute_error,
            difference=self.difference + other.difference,
            difference_squared=self.difference_squared + other.difference_squared,
            calibration=self.calibration + other.calibration,
            by_user={name: each + other.by_user[name] for name, each in self.by_user.items()},
        )

    def metrics(self, model: int) -> dict[str, float]:
        """The metrics of a model in the slice, by name; errors in stars."""
        return {
            EXAMPLE_COUNT: float(self.ratings),
            RMSE: float(np.sqrt(self.squared_error[model] / self.ratings)),
            MAE: float(self.absolute_error[model] / self.ratings),
            **{name: each.mean(model) for name, each in self.by_user.items()},
            **({USER_COUNT: float(self.users)} | self._calibrated() if model == _CANDIDATE else self._paired(model)),
        }

    def _calibrated(self) -> dict[str, float]:
        """How well the candidate's deviations describe its errors; nothing where it gives none."""
        if not len(self.calibration):
            return {}
        variance, *inside = (self.calibration / self.ratings).tolist()
        return {EXPECTED_RMSE: variance**0.5, **dict(zip(SHARES_INSIDE.values(), inside, strict=True))}

    def _paired(self, model: int) -> dict[str, float]:
        """The paired comparison with the candidate: large values of z speak for the candidate.

        If all ratings differ by the same, the sign alone decides, and z is infinite or 0. One rating has no standard
        error.
        """
        mean = self.difference[model] / self.ratings
        stderr = z = np.float64("nan")
        if self.ratings > 1:
            # Sums need no centring: a difference scatters more than its mean is large, unless all are nearly equal,
            # where what rounding leaves is far too small to change the verdict.
            scatter = self.difference_squared[model] - mean * self.difference[model]
            stderr = np.sqrt(np.maximum(scatter, 0) / (self.ratings - 1) / self.ratings)
            z = np.divide(mean, stderr) if stderr != 0 else np.copysign(np.inf, mean) if mean else np.float64(0)
        return {MSE_DIFFERENCE: float(mean), MSE_DIFFERENCE_STDERR: float(stderr), MSE_DIFFERENCE_Z: float(z)}


def concatenate(parts: Sequence[ScoredRatings]) -> ScoredRatings:
    """The ratings of all parts, which have the same models and slicings, in their order.

    Raises:
      ValueError: there is no part.
    """
    if not parts:
        raise ValueError("expected at least one part; got none; leave out what has no ratings")
    codes, keys = zip(*(_join_codes(parts, slicing) for slicing in range(len(parts[0].slice_keys))), strict=True)
    return ScoredRatings(
        user=np.concatenate([part.user for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        prediction=np.concatenate([part.prediction for part in parts], axis=1),
        deviation=np.concatenate([part.deviation for part in parts], axis=1),
        slice_code=np.stack(codes),
        slice_keys=keys,
    )


def _join_codes(parts: Sequence[ScoredRatings], slicing: int) -> tuple[np.ndarray, tuple[SliceKey, ...]]:
    """Codes and keys of one slicing, where each part may number its slices differently."""
    position: dict[SliceKey, int] = {}
    codes = []
    for part in parts:
        renumbered = [position.setdefault(key, len(position)) for key in part.slice_keys[slicing]]
        codes.append(np.array(renumbered, np.int32)[part.slice_code[slicing]])
    return np.concatenate(codes), tuple(position)


def split_by_user(ratings: ScoredRatings, buckets: int) -> Iterator[tuple[int, ScoredRatings]]:
    """Shares ratings out among buckets, all ratings of a user in the same one; empty buckets are left out."""
    bucket = ratings.user % buckets
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(np.bincount(bucket, minlength=buckets))
    for number, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            yield number, ratings.select(rows)


def sum_by_slice(ratings: ScoredRatings) -> dict[SliceKey, SliceSums]:
    """Sums up ratings, of which there is at least one.

    What is measured by user is that of the user's whole list, in every slice that one of its ratings lies in: so does
    TensorFlow Model Analysis, where a slice does not change what is ranked.

    Args:
      ratings: all ratings of each user that has any here.

    Returns:
      the sums of each slice that has a rating.
    """
    error = ratings.prediction.astype(np.float64) - ratings.label
    squared, absolute = np.square(error), np.abs(error)
    difference = squared - squared[_CANDIDATE]
    by_rating = (
        squared,
        absolute,
        difference,
        np.square(difference),
        _calibration(error[_CANDIDATE], ratings.deviation.astype(np.float64)),
    )
    _, user = np.unique(ratings.user, return_inverse=True)
    by_user = _measure_users(user, ratings)

    sums: dict[SliceKey, SliceSums] = {}
    for codes, keys in zip(ratings.slice_code, ratings.slice_keys, strict=True):
        counts = np.bincount(codes, minlength=len(keys))
        summed = [_sum_by(codes, values, len(keys)) for values in by_rating]
        users, code_of_user = np.divmod(np.unique(user * len(keys) + codes), len(keys))
        user_counts = np.bincount(code_of_user, minlength=len(keys))
        user_sums = {
            name: (
                _sum_by(code_of_user, value[:, users], len(keys)),
                np.bincount(code_of_user, weights=counted[users], minlength=len(keys)),
            )
            for name, (value, counted) in by_user.items()
        }
        for code in np.flatnonzero(counts):
            sums[keys[code]] = SliceSums(
                ratings=int(counts[code]),
                users=int(user_counts[code]),
                squared_error=summed[0][:, code],
                absolute_error=summed[1][:, code],
                difference=summed[2][:, code],
                difference_squared=summed[3][:, code],
                calibration=summed[4][:, code],
                by_user={
                    name: UserSum(total=total[:, code], users=int(number[code]))
                    for name, (total, number) in user_sums.items()
                },
            )
    return sums


def sum_by_user(ratings: ScoredRatings, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the overall metrics are means of, by user.

    Args:
      ratings: all ratings of each user that has any here.
      names: of metrics: RMSE, whose squares are meant, MAE, and those that are means over users.

    Returns:
      int64 [users], as in `ratings`; float64 [metrics, models, users], sums; float64 [metrics, users], what they are
      divided by.
    """
    keys, user = np.unique(ratings.user, return_inverse=True)
    error = ratings.prediction.astype(np.float64) - ratings.label
    number = np.bincount(user, minlength=len(keys)).astype(np.float64)
    by_name = {
        RMSE: (_sum_by(user, np.square(error), len(keys)), number),
        MAE: (_sum_by(user, np.abs(error), len(keys)), number),
        **_measure_users(user, ratings),
    }
    totals, counts = zip(*(by_name[name] for name in names), strict=True)
    return keys, np.stack(totals), np.stack(counts).astype(np.float64)


def _calibration(error: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Float64 [1 + levels, ratings]: the variance of each rating, and whether it lies inside the interval of a level.

    Args:
      error: float64 [ratings].
      deviation: float64 [1, ratings]; [0, ratings] gives [0, ratings].
    """
    if not len(deviation):
        return deviation
    inside = np.abs(error) <= rating_deviation.HALF_WIDTHS[:, np.newaxis] * deviation
    calibration = np.concatenate([np.square(deviation), inside])
    # What is not a number lies neither inside nor outside.
    calibration[:, np.isnan(error + deviation[0])] = np.nan
    return calibration


def _measure_users(user: np.ndarray, ratings: ScoredRatings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name of the metric: float64 [models, users], zero where the user does not count, and bool [users]."""
    models, users = len(ratings.prediction), int(user.max()) + 1
    # All models in one go: a user's list of one model is a query, that of another model another one.
    query = (np.arange(models)[:, None] * users + user).ravel()
    label, prediction = np.tile(ratings.label, models), ratings.prediction.ravel()
    measured = {}
    for name, measure in _BY_USER.items():
        value, counted = measure(query, label, prediction)
        measured[name] = (np.where(counted, value, 0).reshape(models, users), counted[:users])
    return measured


def _sum_by(code: np.ndarray, values: np.ndarray, codes: int) -> np.ndarray:
    """Float64 [models, codes]: the sums of values [models, rows] by code."""
    return np.reshape([np.bincount(code, weights=row, minlength=codes) for row in values], (len(values), codes))


def merge(parts: Iterable[dict[SliceKey, Sums]]) -> dict[SliceKey, Sums]:
    """The sums of all parts, of any kind that can be added; none of no parts."""
    merged: dict[SliceKey, Sums] = {}
    for part in parts:
        for key, sums in part.items():
            merged[key] = merged[key] + sums if key in merged else sums
    return merged


def evaluation_of(sums: dict[SliceKey, SliceSums], models: Sequence[str]) -> Evaluation:
    """The metrics that the sums come to, for models of these names, in the order of predictions."""
    return {key: {model: sums[key].metrics(position) for position, model in enumerate(models)} for key in sorted(sums)}
