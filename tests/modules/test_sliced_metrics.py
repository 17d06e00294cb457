from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from modules import metrics, sliced_metrics
from modules.sliced_metrics import (
    EXPECTED_RMSE,
    MAE,
    MSE_DIFFERENCE,
    MSE_DIFFERENCE_STDERR,
    MSE_DIFFERENCE_Z,
    NDCG,
    OVERALL,
    PAIRED,
    PAIRWISE_ACCURACY,
    RMSE,
    SHARES_INSIDE,
    ScoredRatings,
)

COLOURS = ("red", "green", "blue")
RED, GREEN, BLUE = KEYS = tuple(("colour", each) for each in COLOURS)


def scored(user, label, prediction, colour=None, deviation=None) -> ScoredRatings:
    """Ratings of one or more models, sliced by nothing and by colour; the first model may give deviations."""
    colours = np.zeros(len(user), np.int32) if colour is None else np.asarray(colour, np.int32)
    return ScoredRatings(
        user=np.asarray(user, np.int64),
        label=np.asarray(label, np.float32),
        prediction=np.atleast_2d(np.asarray(prediction, np.float32)),
        deviation=np.zeros((0, len(user)), np.float32) if deviation is None else np.array([deviation], np.float32),
        slice_code=np.stack([np.zeros(len(user), np.int32), colours]),
        slice_keys=((OVERALL,), KEYS),
    )


@pytest.fixture
def ratings(rng: np.random.Generator) -> ScoredRatings:
    """Two models, thirty users of different sizes, with equal predictions and users without a positive label."""
    rows = 400
    # Of every remainder, whatever the number of buckets.
    user = rng.integers(0, 30, rows) ** 2 // 2 * (10**15 + 1)
    label = rng.integers(1, 6, rows) * (user > 10**16)
    prediction = np.stack([rng.integers(0, 8, rows) / 2, rng.normal(3, 1, rows)])
    return scored(user, label, prediction, rng.integers(0, 2, rows), rng.uniform(0.5, 4, rows))


def paired(candidate: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """The paired comparison of squared errors, by scipy."""
    difference = other - candidate
    return {
        MSE_DIFFERENCE: difference.mean(),
        MSE_DIFFERENCE_STDERR: scipy.stats.sem(difference),
        MSE_DIFFERENCE_Z: scipy.stats.ttest_rel(other, candidate).statistic,
    }


def calibration(error: np.ndarray, deviation: np.ndarray) -> dict[str, float]:
    """What the deviations promise, and the shares inside the intervals of a normal distribution, by scipy."""
    inside = {level: np.abs(error) <= scipy.stats.norm(0, deviation).interval(level)[1] for level in (0.5, 0.8, 0.95)}
    return {
        "expected_rmse": np.sqrt(np.mean(np.square(deviation))),
        **{f"share_inside_{100 * level:.0f}": each.mean() for level, each in inside.items()},
    }


def test_metrics_agree_with_pandas_in_every_slice(ratings: ScoredRatings) -> None:
    evaluation = sliced_metrics.evaluation_of(sliced_metrics.sum_by_slice(ratings), ["one", "two"])
    assert list(evaluation) == [OVERALL, GREEN, RED]  # No rating is blue.
    frame = pd.DataFrame({"user": ratings.user, "label": ratings.label, "code": ratings.slice_code[1]})
    for key, rows in ((OVERALL, frame), *((KEYS[code], group) for code, group in frame.groupby("code"))):
        whole = frame[frame["user"].isin(rows["user"])].index
        assert list(evaluation[key]) == ["one", "two"]
        for model, measured in enumerate(evaluation[key].values()):
            error = ratings.prediction[model].astype(float)[rows.index] - rows["label"]
            lists = (ratings.user[whole], ratings.label[whole], ratings.prediction[model][whole])
            compared = {name: measured.pop(name) for name in PAIRED if name in measured}
            assert bool(compared) == (model == 1)
            if compared:
                squared = np.square(ratings.prediction.astype(float)[:, rows.index] - rows["label"].to_numpy())
                assert compared == pytest.approx(paired(*squared), rel=1e-10)
            told = {name: measured.pop(name) for name in (EXPECTED_RMSE, *SHARES_INSIDE.values()) if name in measured}
            expected = calibration(error, ratings.deviation[0].astype(float)[rows.index]) if model == 0 else {}
            assert told == pytest.approx(expected, rel=1e-12)
            assert measured.pop("user_count", None) == (rows["user"].nunique() if model == 0 else None)
            assert measured == {
                "example_count": len(rows),
                RMSE: pytest.approx(np.sqrt((error**2).mean()), rel=1e-12),
                MAE: pytest.approx(error.abs().mean(), rel=1e-12),
                NDCG: pytest.approx(metrics.ndcg_at_k(*lists, 10), rel=1e-12),
                PAIRWISE_ACCURACY: pytest.approx(metrics.pairwise_accuracy(*lists), rel=1e-12),
            }


@pytest.mark.parametrize("buckets", [1, 3, 64])
def test_parts_sum_up_to_the_whole(ratings: ScoredRatings, buckets: int) -> None:
    parts = dict(sliced_metrics.split_by_user(ratings, buckets))
    assert sum(map(len, parts.values())) == len(ratings)
    assert all((part.user % buckets == number).all() for number, part in parts.items())
    merged = sliced_metrics.merge(map(sliced_metrics.sum_by_slice, parts.values()))
    whole = sliced_metrics.sum_by_slice(ratings)
    assert set(merged) == set(whole)
    for key, sums in whole.items():
        for model in range(2):
            assert merged[key].metrics(model) == pytest.approx(sums.metrics(model), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 350_000.0])
def test_the_comparison_on_a_wide_scale_with_a_heavy_tail(rng: np.random.Generator, shift: float) -> None:
    rows = 20_000
    label = np.minimum(np.exp(rng.normal(5, 2.5, rows)), 350_000)
    prediction = np.stack([label * rng.uniform(0.3, 2, rows), np.full(rows, label.mean() + shift)])
    ratings = scored(rng.integers(0, 500, rows), label, prediction)
    squared = np.square(ratings.prediction.astype(float) - ratings.label)
    parts = (part for _, part in sliced_metrics.split_by_user(ratings, 64))
    measured = sliced_metrics.merge(map(sliced_metrics.sum_by_slice, parts))[OVERALL].metrics(1)
    assert {name: measured[name] for name in PAIRED} == pytest.approx(paired(*squared), rel=1e-9)


@pytest.mark.parametrize(
    ("errors", "mean", "z"),
    [([1.0, 1.0], 0, 0), ([2.0, 2.0], 3, np.inf), ([0.5, 0.5], -0.75, -np.inf), ([0.0, 0.0], -1, -np.inf)],
)
def test_without_scatter_the_sign_decides(errors: list[float], mean: float, z: float) -> None:
    measured = sliced_metrics.sum_by_slice(scored([1, 2], [3, 3], [[4, 4], np.add(3, errors)]))[OVERALL].metrics(1)
    assert [measured[name] for name in PAIRED] == [mean, 0, z]


def test_one_rating_has_no_standard_error() -> None:
    measured = sliced_metrics.sum_by_slice(scored([1], [3], [[4], [5]]))[OVERALL].metrics(1)
    assert measured[MSE_DIFFERENCE] == 3
    assert np.isnan([measured[MSE_DIFFERENCE_STDERR], measured[MSE_DIFFERENCE_Z]]).all()


def test_merging_nothing_gives_nothing() -> None:
    assert sliced_metrics.merge([]) == {}


def test_parts_that_number_their_slices_differently_are_joined(ratings: ScoredRatings) -> None:
    first, second = ratings.select(np.arange(150)), ratings.select(np.arange(150, 400))
    turned = ScoredRatings(
        user=second.user,
        label=second.label,
        prediction=second.prediction,
        deviation=second.deviation,
        slice_code=np.stack([second.slice_code[0], 2 - second.slice_code[1]]),
        slice_keys=((OVERALL,), KEYS[::-1]),
    )
    joined = sliced_metrics.concatenate([first, turned])
    np.testing.assert_array_equal(joined.user, ratings.user)
    np.testing.assert_array_equal(joined.prediction, ratings.prediction)
    np.testing.assert_array_equal(joined.deviation, ratings.deviation)
    names = [joined.slice_keys[1][code] for code in joined.slice_code[1]]
    assert names == [KEYS[code] for code in ratings.slice_code[1]]


def test_one_part_is_the_whole(ratings: ScoredRatings) -> None:
    assert sliced_metrics.sum_by_slice(sliced_metrics.concatenate([ratings])).keys() == {OVERALL, RED, GREEN}


def test_joining_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one part; got none"):
        sliced_metrics.concatenate([])


def test_one_rating_by_hand() -> None:
    measured = sliced_metrics.sum_by_slice(scored([5], [4], [2.5]))[OVERALL].metrics(0)
    # One title can be in no wrong order.
    assert np.isnan(measured.pop(PAIRWISE_ACCURACY))
    assert measured == {"example_count": 1, "user_count": 1, RMSE: 1.5, MAE: 1.5, NDCG: 1.0}


def test_a_user_counts_whole_in_each_of_its_slices() -> None:
    # User 1 is given the worse title first, and has a rating in either slice; user 2 in green alone, in order.
    sums = sliced_metrics.sum_by_slice(scored([1, 1, 2, 2], [1, 3, 5, 4], [4, 2, 2, 1], [0, 1, 1, 1]))
    red, green = sums[RED].metrics(0), sums[GREEN].metrics(0)
    wrong = (1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3))
    assert (red["example_count"], green["example_count"]) == (1, 3)
    assert (red["user_count"], green["user_count"]) == (1, 2)
    assert (red[NDCG], red[PAIRWISE_ACCURACY]) == (pytest.approx(wrong), 0)
    assert (green[NDCG], green[PAIRWISE_ACCURACY]) == (pytest.approx((wrong + 1) / 2), 0.5)


def test_without_a_user_that_counts_there_is_no_mean() -> None:
    measured = sliced_metrics.sum_by_slice(scored([1, 1], [0, 0], [4, 2]))[OVERALL].metrics(0)
    assert np.isnan(measured[NDCG])
    assert np.isnan(measured[PAIRWISE_ACCURACY])


def test_a_nan_prediction_spoils_its_model_and_its_slices_alone() -> None:
    prediction = [[np.nan, 2, 2, 1], [1, 2, 2, 3]]
    sums = sliced_metrics.sum_by_slice(scored([1, 1, 2, 2], [1, 3, 5, 4], prediction, [0, 0, 1, 1]))
    for key, spoilt in ((OVERALL, True), (RED, True), (GREEN, False)):
        for model in range(2):
            values = sums[key].metrics(model)
            compared = [values.pop(name) for name in PAIRED if name in values]
            spoilt_names = {name for name, value in values.items() if np.isnan(value)}
            assert spoilt_names == ({RMSE, MAE, NDCG, PAIRWISE_ACCURACY} if spoilt and model == 0 else set())
            assert np.isnan(compared).tolist() == [spoilt] * 3 * model


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0])
def test_deviations_that_are_right_hold_the_shares_and_others_do_not(rng: np.random.Generator, factor: float) -> None:
    """Errors are drawn around known deviations, of which the model tells a multiple."""
    rows = 100_000
    deviation = rng.choice([0.25, 0.5, 3.0], rows)
    label = rng.integers(1, 6, rows)
    ratings = scored(np.arange(rows) % 999, label, label + deviation * rng.normal(size=rows), None, factor * deviation)
    measured = sliced_metrics.sum_by_slice(ratings)[OVERALL].metrics(0)
    assert measured[EXPECTED_RMSE] == pytest.approx(factor * measured[RMSE], rel=0.01)
    for level, name in SHARES_INSIDE.items():
        reach = factor * scipy.stats.norm.ppf((1 + level) / 2)
        assert measured[name] == pytest.approx(1 - 2 * scipy.stats.norm.sf(reach), abs=0.005)


@pytest.mark.parametrize(("prediction", "deviation"), [(np.nan, 1.0), (3.0, np.nan)])
def test_what_is_no_number_lies_neither_inside_nor_outside(prediction: float, deviation: float) -> None:
    sums = sliced_metrics.sum_by_slice(scored([1, 2], [3, 3], [[prediction, 4]], [0, 1], [deviation, 1]))
    spoilt, other = ([sums[key].metrics(0)[name] for name in SHARES_INSIDE.values()] for key in (RED, GREEN))
    assert np.isnan(spoilt).all()
    assert np.isnan(sums[RED].metrics(0)[EXPECTED_RMSE])
    # One deviation lies between the half-widths of 50 and 80 %.
    assert other == [0, 1, 1]
    assert np.isnan(sums[OVERALL].metrics(0)[EXPECTED_RMSE])


def test_no_error_lies_inside_an_interval_without_width() -> None:
    measured = sliced_metrics.sum_by_slice(scored([1, 2], [3, 3], [[3, 4]], None, [0, 0]))[OVERALL].metrics(0)
    assert [measured[name] for name in (EXPECTED_RMSE, *SHARES_INSIDE.values())] == [0, 0.5, 0.5, 0.5]
