from __future__ import annotations

import numpy as np
import pytest

from data import pairs
from data.writer import SortedRatings

TITLES = 7


def part(rng: np.random.Generator, size: int, *, with_timestamps: bool = True) -> SortedRatings:
    pair = np.sort(rng.choice(20 * TITLES, size, replace=False))
    return SortedRatings(
        pair=pair,
        rating=rng.integers(1, 6, size).astype(np.float32),
        timestamp=rng.integers(0, 9, size) if with_timestamps else None,
    )


@pytest.fixture
def parts(rng) -> dict[str, SortedRatings]:
    """In an order that is not that of the judgement."""
    return {name: part(rng, size) for name, size in (("test", 30), ("train", 80), ("eval", 20))}


def test_an_earlier_part_loses_what_a_later_one_has(parts):
    train, evaluation, test = (set(parts[name].pair.tolist()) for name in ("train", "eval", "test"))
    shared = pairs.in_both(parts)
    assert list(shared) == ["train", "eval"]
    assert set(parts["train"].pair[shared["train"]].tolist()) == train & (evaluation | test)
    assert set(parts["eval"].pair[shared["eval"]].tolist()) == evaluation & test


@pytest.mark.parametrize("names", [("train", "test"), ("eval", "test"), ("train",), ("",)])
def test_parts_that_share_nothing_are_not_named(names, rng):
    parts = {name: part(rng, 20) for name in names}
    for position, name in enumerate(names):
        parts[name].pair[:] = parts[name].pair + position * 20 * TITLES
    assert pairs.in_both(parts) == {}


@pytest.mark.parametrize("with_timestamps", [True, False])
def test_ratings_without_some_are_the_others(with_timestamps, rng):
    ratings = part(rng, 10, with_timestamps=with_timestamps)
    dropped = np.arange(10) % 3 == 0
    left = pairs.without(ratings, dropped)
    kept = [1, 2, 4, 5, 7, 8]
    np.testing.assert_array_equal(left.pair, ratings.pair[kept])
    np.testing.assert_array_equal(left.rating, ratings.rating[kept])
    if ratings.timestamp is None:
        assert left.timestamp is None
    else:
        np.testing.assert_array_equal(left.timestamp, ratings.timestamp[kept])


def test_users_and_titles_of_the_test_part_alone_are_counted(rng):
    parts = {"train": part(rng, 12), "test": part(rng, 30), "eval": part(rng, 60)}
    (users, titles), (test_users, test_titles) = (
        ({pair // TITLES for pair in parts[name].pair.tolist()}, {pair % TITLES for pair in parts[name].pair.tolist()})
        for name in ("train", "test")
    )
    expected = len(test_users - users), len(test_titles - titles)
    assert pairs.in_test_alone(parts, TITLES) == expected
    assert expected[0] > 0
    for missing in ("train", "test"):
        assert pairs.in_test_alone({name: each for name, each in parts.items() if name != missing}, TITLES) == (0, 0)
