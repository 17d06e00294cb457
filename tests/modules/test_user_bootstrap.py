"""The bootstrap over users, against means that are resampled one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from scipy import stats

from modules import sliced_metrics, user_bootstrap
from modules.sliced_metrics import MAE, NDCG, OVERALL, RMSE, ScoredRatings


def scored(users: int, each: int, seed: int = 0) -> ScoredRatings:
    rng = np.random.default_rng(seed)
    rows = users * each
    label = rng.integers(1, 6, rows).astype(np.float32)
    # Users differ in how well they are predicted.
    noise = np.repeat(rng.gamma(2.0, 0.5, users), each)
    return ScoredRatings(
        user=np.repeat(rng.integers(0, 2**62, users), each),
        label=label,
        prediction=np.stack([label + noise * rng.normal(size=rows), np.full(rows, 3.0)]).astype(np.float32),
        deviation=np.zeros((0, rows), np.float32),
        slice_code=np.zeros((1, rows), np.int32),
        slice_keys=((OVERALL,),),
    )


def test_parts_come_to_the_whole() -> None:
    ratings = scored(200, 5)
    whole = user_bootstrap.resample(ratings)
    parts = [user_bootstrap.resample(part) for _, part in sliced_metrics.split_by_user(ratings, 4)]
    merged = parts[0] + parts[1] + parts[2] + parts[3]
    np.testing.assert_allclose(merged.totals, whole.totals)
    np.testing.assert_allclose(merged.counts, whole.counts)
    assert whole.intervals(["a", "b"]) == user_bootstrap.resample(ratings).intervals(["a", "b"])


def test_intervals_are_those_of_resampled_users(rng: np.random.Generator) -> None:
    ratings = scored(400, 10)
    found = user_bootstrap.resample(ratings).intervals(["a", "b"])["a"]
    error = np.square(ratings.prediction[0].astype(np.float64) - ratings.label).reshape(400, 10).sum(axis=1)
    samples = [np.sqrt(error[rng.integers(0, 400, 400)].sum() / 4000) for _ in range(4000)]
    assert found[f"{RMSE}_low"] == pytest.approx(np.quantile(samples, 0.025), abs=0.015)
    assert found[f"{RMSE}_high"] == pytest.approx(np.quantile(samples, 0.975), abs=0.015)


def test_intervals_hold_the_metric() -> None:
    ratings = scored(50, 4)
    measured = sliced_metrics.evaluation_of(sliced_metrics.sum_by_slice(ratings), ["a", "b"])[OVERALL]
    for model, ends in user_bootstrap.resample(ratings).intervals(["a", "b"]).items():
        for name in (RMSE, MAE, NDCG):
            assert ends[f"{name}_low"] < measured[model][name] < ends[f"{name}_high"]


def test_one_user_has_an_interval_without_width() -> None:
    ends = user_bootstrap.resample(scored(1, 3)).intervals(["a", "b"])["a"]
    # Of samples without the user there is no metric, so there may be no interval.
    assert f"{RMSE}_low" not in ends or ends[f"{RMSE}_low"] == pytest.approx(ends[f"{RMSE}_high"])


def test_what_is_not_a_number_has_no_interval() -> None:
    ratings = scored(20, 3)
    ratings.prediction[0, 0] = np.nan
    found = user_bootstrap.resample(ratings).intervals(["a", "b"])
    assert f"{RMSE}_low" not in found["a"]
    assert f"{RMSE}_low" in found["b"]


def split_mix(seed: int) -> Iterator[int]:
    """SplitMix64 in integers that do not overflow."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        mixed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        yield mixed ^ mixed >> 31


def test_users_are_drawn_the_same_in_every_version() -> None:
    """So that intervals can be compared: by SplitMix64, which each user seeds."""
    # As its authors' own program begins.
    assert next(split_mix(0)) == 0xE220A8397B1DCDAF
    users = [0, 7, 2**62 - 1]
    for user, weights in zip(users, user_bootstrap._weights(np.array(users)).T, strict=True):
        drawn = [stats.poisson.ppf((each >> 11) / 2**53, 1.0) for each in islice(split_mix(user), len(weights))]
        np.testing.assert_array_equal(weights, np.maximum(drawn, 0.0))


def test_users_count_as_often_as_poisson_says() -> None:
    weights = user_bootstrap._weights(np.arange(5000))
    assert weights.mean() == pytest.approx(1.0, abs=0.01)
    assert weights.var() == pytest.approx(1.0, abs=0.02)
    assert np.mean(weights == 0) == pytest.approx(np.exp(-1), abs=0.005)
