from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components import columnar_metrics
from components.columnar_metrics import OVERALL, ScoredRatings
from modules import metrics

COLOURS = ("red", "green", "blue")


def key(colour: str) -> columnar_metrics.SliceKey:
    return (("colour", colour),)


def scored(query, label, prediction, colour=None) -> ScoredRatings:
    """Ratings of one or more models, sliced by nothing and by colour."""
    colours = np.zeros(len(query), np.int32) if colour is None else np.asarray(colour, np.int32)
    return ScoredRatings(
        query=np.asarray(query, np.int64),
        label=np.asarray(label, np.float32),
        prediction=np.atleast_2d(np.asarray(prediction, np.float32)),
        slice_code=np.stack([np.zeros(len(query), np.int32), colours]),
        slice_keys=((OVERALL,), tuple(key(each) for each in COLOURS)),
    )


@pytest.fixture
def ratings(rng: np.random.Generator) -> ScoredRatings:
    """Two models, thirty queries of different sizes, with equal predictions and queries without a positive label."""
    rows = 400
    query = rng.integers(0, 30, rows) ** 2 * 10**15
    label = rng.integers(1, 6, rows) * (query > 10**15)
    prediction = np.stack([rng.integers(0, 8, rows) / 2, rng.normal(3, 1, rows)])
    return scored(query, label, prediction, rng.integers(0, 2, rows))


def test_sums_agree_with_pandas_in_every_slice(ratings: ScoredRatings) -> None:
    sums = columnar_metrics.sum_by_slice(ratings, depths=(1, 10))
    assert set(sums) == {OVERALL, key("red"), key("green")}  # No rating is blue.
    frame = pd.DataFrame({"query": ratings.query, "label": ratings.label, "code": ratings.slice_code[1]})
    for slice_key, rows in ((OVERALL, frame), *((key(COLOURS[c]), group) for c, group in frame.groupby("code"))):
        whole_queries = frame[frame["query"].isin(rows["query"])].index
        for model in range(2):
            error = ratings.prediction[model].astype(float)[rows.index] - rows["label"]
            assert sums[slice_key].ratings == len(rows)
            assert sums[slice_key].rmse(model) == pytest.approx(np.sqrt((error**2).mean()), rel=1e-12)
            assert sums[slice_key].mae(model) == pytest.approx(error.abs().mean(), rel=1e-12)
            for position, depth in enumerate((1, 10)):
                expected = metrics.ndcg_at_k(
                    ratings.query[whole_queries], ratings.label[whole_queries],
                    ratings.prediction[model][whole_queries], depth,
                )  # fmt: skip
                assert sums[slice_key].mean_ndcg(position, model) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("buckets", [1, 3, 64])
def test_parts_sum_up_to_the_whole(ratings: ScoredRatings, buckets: int) -> None:
    parts = dict(columnar_metrics.split_by_query(ratings, buckets))
    assert sum(map(len, parts.values())) == len(ratings)
    assert all((part.query % buckets == number).all() for number, part in parts.items())
    merged = columnar_metrics.merge(columnar_metrics.sum_by_slice(part, (5,)) for part in parts.values())
    whole = columnar_metrics.sum_by_slice(ratings, (5,))
    assert set(merged) == set(whole)
    for slice_key, sums in whole.items():
        assert (merged[slice_key].ratings, merged[slice_key].queries) == (sums.ratings, sums.queries)
        for name in ("squared_error", "absolute_error", "ndcg"):
            np.testing.assert_allclose(getattr(merged[slice_key], name), getattr(sums, name), rtol=1e-12)


def test_merging_nothing_gives_nothing() -> None:
    assert columnar_metrics.merge([]) == {}


def test_parts_that_number_their_slices_differently_are_joined(ratings: ScoredRatings) -> None:
    first, second = ratings.select(np.arange(150)), ratings.select(np.arange(150, 400))
    turned = ScoredRatings(
        query=second.query,
        label=second.label,
        prediction=second.prediction,
        slice_code=np.stack([second.slice_code[0], 2 - second.slice_code[1]]),
        slice_keys=((OVERALL,), tuple(key(each) for each in reversed(COLOURS))),
    )
    joined = columnar_metrics.concatenate([first, turned])
    np.testing.assert_array_equal(joined.query, ratings.query)
    np.testing.assert_array_equal(joined.prediction, ratings.prediction)
    names = [joined.slice_keys[1][code] for code in joined.slice_code[1]]
    assert names == [key(COLOURS[code]) for code in ratings.slice_code[1]]


def test_joining_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one part; got none"):
        columnar_metrics.concatenate([])


def test_one_rating_by_hand() -> None:
    sums = columnar_metrics.sum_by_slice(scored([5], [4], [2.5]), (10,))[OVERALL]
    assert (sums.ratings, sums.rmse(0), sums.mae(0), sums.mean_ndcg(0, 0)) == (1, 1.5, 1.5, 1.0)


def test_a_query_counts_whole_in_each_of_its_slices() -> None:
    # Query 1 puts the worse title first, and has a rating in either slice; query 2 is right, and green alone.
    sums = columnar_metrics.sum_by_slice(scored([1, 1, 2], [1, 3, 5], [4, 2, 2], [0, 1, 1]), (2,))
    wrong = (1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3))
    assert sums[key("red")].mean_ndcg(0, 0) == pytest.approx(wrong)
    assert sums[key("green")].mean_ndcg(0, 0) == pytest.approx((wrong + 1) / 2)
    assert sums[key("red")].ratings == 1


def test_without_a_positive_label_there_is_no_ndcg() -> None:
    sums = columnar_metrics.sum_by_slice(scored([1, 1], [0, -1], [4, 2]), (2,))[OVERALL]
    assert sums.queries == 0
    assert np.isnan(sums.mean_ndcg(0, 0))


def test_a_nan_prediction_spoils_its_model_and_its_slices_alone() -> None:
    prediction = [[np.nan, 2, 2], [1, 2, 2]]
    sums = columnar_metrics.sum_by_slice(scored([1, 1, 2], [1, 3, 5], prediction, [0, 0, 1]), (2,))
    for slice_key, spoilt in ((OVERALL, True), (key("red"), True), (key("green"), False)):
        for model in range(2):
            values = [sums[slice_key].rmse(model), sums[slice_key].mae(model), sums[slice_key].mean_ndcg(0, model)]
            assert np.isnan(values).tolist() == [spoilt and model == 0] * 3


def test_no_depth_no_ndcg(ratings: ScoredRatings) -> None:
    sums = columnar_metrics.sum_by_slice(ratings, ())
    assert sums[OVERALL].ndcg.shape == (0, 2)
    assert sums[OVERALL].ratings == len(ratings)
