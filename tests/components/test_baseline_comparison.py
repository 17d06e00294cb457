from __future__ import annotations

import numpy as np
import pytest

from components.baseline_comparison import compare


def test_metrics_by_hand() -> None:
    scored = {
        "user_id": np.array([b"1", b"1", b"2", b"2"]),
        "user_rating": np.array([5.0, 3.0, 4.0, 2.0], np.float32),
        "user_activity": np.array([b"3-9", b"3-9", b"0 (cold)", b"0 (cold)"]),
        "title_popularity": np.array([b"3-9"] * 4),
        "model": np.array([4.0, 3.0, 2.0, 4.0], np.float32),
        "global_mean": np.full(4, 3.5, np.float32),
        "title_mean": np.array([5.0, 3.0, 4.0, 2.0], np.float32),
        "user_title_bias": np.array([3.0, 4.0, 3.0, 3.0], np.float32),
    }
    result = compare(scored)
    # Nobody rated a title that was unknown, so there is no such slice.
    assert set(result) == {"overall", "unknown users"}
    model = result["overall"]["model"]
    assert model["ratings"] == 4
    assert model["rmse"] == pytest.approx(np.sqrt((1 + 0 + 4 + 4) / 4))
    assert model["mae"] == pytest.approx(5 / 4)
    # The first user's pair is in order, the second's is not.
    assert model["pairwise_accuracy"] == pytest.approx(0.5)
    wrong_order = (2 + 4 / np.log2(3)) / (4 + 2 / np.log2(3))
    assert model["ndcg_at_10"] == pytest.approx((1 + wrong_order) / 2)
    assert result["overall"]["title_mean"]["rmse"] == 0
    assert result["overall"]["global_mean"]["pairwise_accuracy"] == pytest.approx(0.5)
    assert result["unknown users"]["model"]["ratings"] == 2
    assert result["unknown users"]["model"]["rmse"] == pytest.approx(2.0)


def test_cold_start_slices() -> None:
    slices = [b"0 (cold)", b"1-2", b"3-9", b"1-2"]
    scored = {
        "user_id": np.array([b"1", b"2", b"3", b"4"]),
        "user_rating": np.array([5.0, 3.0, 4.0, 2.0], np.float32),
        "user_activity": np.array(slices),
        "title_popularity": np.array(slices[::-1]),
        **{name: np.full(4, 3.0, np.float32) for name in ("model", "global_mean", "title_mean", "user_title_bias")},
    }
    result = compare(scored)
    assert {name: part["model"]["ratings"] for name, part in result.items()} == {
        "overall": 4,
        "unknown users": 1,
        "users of 1 or 2 ratings": 2,
        "unknown titles": 1,
    }
    assert result["unknown titles"]["model"]["pairwise_accuracy"] is None
    assert result["users of 1 or 2 ratings"]["title_mean"]["rmse"] == pytest.approx(np.sqrt(0.5))
    assert result["unknown titles"]["model"]["rmse"] == pytest.approx(1.0)
