"""Scores of users and titles without ratings, against loops over ratings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modules import cold_start
from modules.cold_start import Fitted

USERS, TITLES, RANK, DAMPING = 7, 9, 3, 5.0


@pytest.fixture
def sides() -> tuple[Fitted, Fitted, np.ndarray, np.ndarray]:
    """Fitted users and titles, of whom some are described by two features, flags behind them; user and title ids."""
    rng = np.random.default_rng(4)
    user, title = np.nonzero(rng.random((USERS, TITLES)) < 0.6)
    made = []
    for size, ids in ((USERS, user), (TITLES, title)):
        features = np.zeros((size, 4), np.float32)
        features[: size - 2, :2] = rng.random((size - 2, 2))
        features[: size - 2, 2] = features[:, 3] = 1.0
        effects = np.zeros((4, 1 + RANK))
        effects[:2] = rng.normal(size=(2, 1 + RANK))
        made.append(
            Fitted(
                rows=rng.normal(size=(size, 1 + RANK)),
                features=features,
                effects=effects,
                obscure=rng.normal(size=1 + RANK) if size == TITLES else None,
                count=np.bincount(ids, minlength=size),
            )
        )
    return *made, user, title


def score(user_row: np.ndarray, title_row: np.ndarray) -> float:
    return float(user_row[0] + title_row[0] + user_row[1:] @ title_row[1:])


def effect(side: Fitted, vector: np.ndarray) -> np.ndarray:
    """What the two features add, beside their mean over the described; nothing where nothing is known."""
    mean = side.features[side.features[:, 2] > 0, :2].mean(axis=0)
    return (vector[:2] - mean) @ side.effects[:2] if vector[:2].any() else np.zeros(1 + RANK)


def own_means(side: Fitted, other: Fitted, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """What is expected of each row's next score: by a regression on its others, the features of all left out."""
    net = np.array([other.rows[k] - effect(other, other.features[k]) for k in range(len(other.rows))])
    typical = np.average(net, axis=0, weights=other.count)
    base = [score(side.rows[k], typical) for k in range(len(side.rows))]
    gains = {k: [score(side.rows[k], net[c]) - base[k] for c in column[row == k]] for k in range(len(side.rows))}
    pairs = [
        (sum(gain for place, gain in enumerate(own) if place != left_out) / (len(own) - 1 + DAMPING), own[left_out])
        for own in gains.values()
        for left_out in range(len(own))
    ]
    x, y = np.array(pairs).T
    slope = np.clip(x @ y / (x @ x), 0, 1)
    return np.array([base[k] + slope * sum(own) / (len(own) + DAMPING) for k, own in gains.items()])


def picked(share_own: float) -> tuple[Fitted, Fitted, np.ndarray, np.ndarray]:
    """Users of one taste who pick titles as good as their own standard, or whatever comes, and all rate them alike."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 12)
    standard = rng.normal(size=200)
    wanted = share_own * standard[user] + rng.normal(size=len(user)) * (1 - share_own)
    quality = np.sort(rng.normal(size=500))
    title = np.clip(np.searchsorted(quality, wanted), 0, 499)
    made = []
    for size, ids, bias in ((200, user, np.zeros(200)), (500, title, quality)):
        rows = np.zeros((size, 1 + RANK))
        rows[:, 0] = bias
        count = np.bincount(ids, minlength=size)
        made.append(
            Fitted(rows=rows, features=np.zeros((size, 0)), effects=np.zeros((0, 1 + RANK)), obscure=None, count=count)
        )
    return *made, user, title


@pytest.mark.parametrize("at_once", [4, 1 << 18])
def test_an_average_counts_as_far_as_it_tells_of_the_next(sides, monkeypatch, at_once: int) -> None:
    monkeypatch.setattr(cold_start, "_AT_ONCE", at_once)
    for share_own, tells in ((0.8, True), (0.0, False)):
        users, titles, user, title = picked(share_own)
        expected = cold_start.tables(users, titles, user, title)[0][:-1, 1 + RANK]
        # What a user has rated, which are the next user's titles' like where all users have a standard.
        own = np.array([titles.rows[title[user == u], 0].mean() for u in range(200)])
        spread = np.ptp(expected) / np.ptp(own)
        assert (spread > 0.6) == tells
        assert (spread < 0.2) != tells


@pytest.mark.parametrize(("second", "slope"), [(1.0, 1.0), (-1.0, 0.0)], ids=["all of it", "nothing"])
def test_a_mean_counts_for_no_more_than_itself_and_never_against_itself(second: float, slope: float) -> None:
    """Users of two ratings: as good as each other, so that half of both is too little; or the better, the worse."""
    first = np.random.default_rng(0).normal(size=200)
    biases = [np.zeros(200), np.concatenate([first, second * first])]
    user, title = np.tile(np.arange(200), 2), np.arange(400)
    users, titles = (
        Fitted(
            rows=np.pad(bias[:, np.newaxis], [(0, 0), (0, RANK)]),
            features=np.zeros((len(bias), 0)),
            effects=np.zeros((0, 1 + RANK)),
            obscure=None,
            count=np.bincount(ids),
        )
        for bias, ids in zip(biases, (user, title), strict=True)
    )
    mean = titles.rows[:, 0].mean()
    beside = titles.rows[:200, 0] + titles.rows[200:, 0] - 2 * mean
    expected = cold_start.tables(users, titles, user, title)[0][:-1, 1 + RANK]
    np.testing.assert_allclose(expected, mean + slope * beside / (2 + DAMPING), atol=1e-9)


def test_known_pairs_keep_their_scores(sides) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    for u in range(USERS):
        for t in range(TITLES):
            assert score(tables[0][u], tables[1][t]) == pytest.approx(score(users.rows[u], titles.rows[t]))


@pytest.mark.parametrize("vector", [[0, 0, 0, 0], [0.3, 0.9, 1, 0]])
def test_a_new_title_gets_a_users_own_mean_and_what_its_features_say(sides, vector: list[float]) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    added = effect(titles, np.array(vector))
    for u in range(USERS):
        row = tables[1][-1] + vector @ tables[3]
        expected = own_means(users, titles, user, title)[u] + added[0] + users.rows[u, 1:] @ added[1:]
        assert score(tables[0][u], row) == pytest.approx(expected)


@pytest.mark.parametrize("vector", [[0, 0, 0, 0], [0.3, 0.9, 1, 1]])
def test_a_new_user_gets_the_titles_own_mean_and_what_its_features_say(sides, vector: list[float]) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    added = effect(users, np.array(vector))
    for t in range(TITLES):
        row = tables[0][-1] + vector @ tables[2]
        expected = own_means(titles, users, title, user)[t] + added[0] + titles.rows[t, 1:] @ added[1:]
        assert score(row, tables[1][t]) == pytest.approx(expected)


@pytest.mark.parametrize("vector", [[0, 0, 0, 1], [0.3, 0.9, 1, 1]])
def test_an_unrated_title_of_the_catalogue_is_like_the_least_rated(sides, vector: list[float]) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    expected = titles.obscure + effect(titles, np.array(vector))
    row = tables[1][-1] + vector @ tables[3]
    for u in range(USERS):
        assert score(tables[0][u], row) == pytest.approx(score(users.rows[u], expected))
    # For a new user, the mean of what the least rated titles have of theirs.
    least = titles.count <= np.sort(titles.count)[0]
    means = (own_means(titles, users, title, user) - titles.rows[:, 0])[least]
    assert score(tables[0][-1], row) == pytest.approx(expected[0] + np.mean(means))


def test_a_new_user_and_a_new_title_meet_half_way(sides) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    of_users, of_titles = own_means(users, titles, user, title), own_means(titles, users, title, user)
    expected = 0.5 * np.average(of_users, weights=users.count) + 0.5 * np.average(of_titles, weights=titles.count)
    assert score(tables[0][-1], tables[1][-1]) == pytest.approx(expected)


def test_without_side_features_there_is_nothing_to_add(sides) -> None:
    users, titles, user, title = sides
    bare = [
        dataclasses.replace(side, features=np.zeros((len(side.rows), 0)), effects=np.zeros((0, 1 + RANK)))
        for side in (users, titles)
    ]
    tables = cold_start.tables(*bare, user, title)
    assert [table.shape for table in tables[2:]] == [(0, 3 + RANK)] * 2
    assert np.isfinite(tables[0]).all()
    assert np.isfinite(tables[1]).all()


@pytest.mark.parametrize(
    ("count", "least"),
    [
        ([5, 1, 9, 2, 2, 7, 8, 9, 9, 9], [1]),
        ([3, 3, 3], [0, 1, 2]),
        ([4], [0]),
        ([1, 1, *[5] * 30], [0, 1, *range(2, 32)]),
    ],
)
def test_the_least_rated_are_a_tenth_and_those_with_as_few(count: list[int], least: list[int]) -> None:
    weights = cold_start.least_rated_weights(np.array(count))
    np.testing.assert_array_equal(np.flatnonzero(weights), least)
    np.testing.assert_allclose(weights[least], 1 / len(least), rtol=1e-6)
