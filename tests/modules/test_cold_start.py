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
    # Of few seeds do averages tell of the next one on both sides, and neither nothing nor all.
    rng = np.random.default_rng(1217)
    user, title = np.nonzero(rng.random((USERS, TITLES)) < 0.6)
    made = []
    for size, ids in ((USERS, user), (TITLES, title)):
        features = np.zeros((size, 4), np.float32)
        features[: size - 2, :2] = rng.random((size - 2, 2))
        features[: size - 2, 2] = features[:, 3] = 1.0
        rows = features[:, :2] @ rng.normal(size=(2, 1 + RANK)) + 0.1 * rng.normal(size=(size, 1 + RANK))
        made.append(Fitted(rows=rows, features=features, count=np.bincount(ids, minlength=size)))
    return *made, user, title


def score(user_row: np.ndarray, title_row: np.ndarray) -> float:
    return float(user_row[0] + title_row[0] + user_row[1:] @ title_row[1:])


def effects(side: Fitted, other: Fitted) -> tuple[np.ndarray, np.ndarray]:
    """What each of the two features adds, by ridge regressions; and what is taken off a feature vector."""
    described, features = side.features[:, 2] > 0, side.features[:, :2].astype(np.float64)
    which = np.repeat(np.arange(len(side.rows)), side.count)
    typical = features[which[described[which]]].mean(axis=0)
    root = np.sqrt(side.count)
    features = (features - typical) * described[:, np.newaxis]
    features, beside = (each - np.average(each, axis=0, weights=root) for each in (features, side.rows))
    embeddings = other.rows[np.repeat(np.arange(len(other.rows)), other.count), 1:]

    def regressed(chosen: np.ndarray, penalty: float) -> np.ndarray:
        if penalty == np.inf:
            return np.zeros((2, 1 + RANK))
        rows = np.sqrt(root[chosen, np.newaxis])
        design = np.concatenate([rows * features[chosen], np.sqrt(penalty) * np.eye(2)])
        return np.linalg.lstsq(design, np.pad(rows * beside[chosen], ((0, 2), (0, 0))), rcond=None)[0]

    def error(penalty: float) -> float:
        every = np.arange(len(side.rows))
        left_out = np.array([beside[row] - features[row] @ regressed(every[every != row], penalty) for row in every])
        left_out = left_out[which] - left_out[which].mean(axis=0)
        return float(np.sum((left_out[:, :1] + left_out[:, 1:] @ embeddings.T) ** 2))

    penalties = [share * np.average(root, weights=root) for share in (*4.0 ** np.arange(-4, 6), np.inf)]
    return regressed(np.arange(len(side.rows)), min(penalties, key=error)), typical


def effect(side: Fitted, other: Fitted, vector: np.ndarray) -> np.ndarray:
    """What the two features add, beside what they do on average; nothing where nothing is known."""
    table, typical = effects(side, other)
    return (vector[:2] - typical) @ table if vector[:2].any() else np.zeros(1 + RANK)


def net_rows(side: Fitted, other: Fitted) -> np.ndarray:
    table, typical = effects(side, other)
    return side.rows - (side.features[:, :2] - typical) @ table * side.features[:, 2:3]


def own_means(side: Fitted, other: Fitted, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """What is expected of each row's next score: by a regression on its others, the features of all left out."""
    net = net_rows(other, side)
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
        made.append(Fitted(rows=rows, features=np.zeros((size, 0)), count=count))
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
    added = effect(titles, users, np.array(vector))
    for u in range(USERS):
        row = tables[1][-1] + vector @ tables[3]
        expected = own_means(users, titles, user, title)[u] + added[0] + users.rows[u, 1:] @ added[1:]
        assert score(tables[0][u], row) == pytest.approx(expected)


@pytest.mark.parametrize("vector", [[0, 0, 0, 0], [0.3, 0.9, 1, 1]])
def test_a_new_user_gets_the_titles_own_mean_and_what_its_features_say(sides, vector: list[float]) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    added = effect(users, titles, np.array(vector))
    for t in range(TITLES):
        row = tables[0][-1] + vector @ tables[2]
        expected = own_means(titles, users, title, user)[t] + added[0] + titles.rows[t, 1:] @ added[1:]
        assert score(row, tables[1][t]) == pytest.approx(expected)


@pytest.mark.parametrize("vector", [[0, 0, 0, 1], [0.3, 0.9, 1, 1]])
def test_an_unrated_title_of_the_catalogue_is_like_the_least_rated(sides, vector: list[float]) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    least = titles.count <= np.sort(titles.count)[0]
    expected = net_rows(titles, users)[least].mean(axis=0) + effect(titles, users, np.array(vector))
    row = tables[1][-1] + vector @ tables[3]
    for u in range(USERS):
        assert score(tables[0][u], row) == pytest.approx(score(users.rows[u], expected))
    # For a new user, the mean of what the least rated titles have of theirs.
    means = (own_means(titles, users, title, user) - titles.rows[:, 0])[least]
    assert score(tables[0][-1], row) == pytest.approx(expected[0] + np.mean(means))


def test_a_new_user_and_a_new_title_meet_half_way(sides) -> None:
    users, titles, user, title = sides
    tables = cold_start.tables(users, titles, user, title)
    of_users, of_titles = own_means(users, titles, user, title), own_means(titles, users, title, user)
    expected = 0.5 * np.average(of_users, weights=users.count) + 0.5 * np.average(of_titles, weights=titles.count)
    assert score(tables[0][-1], tables[1][-1]) == pytest.approx(expected)


def told(share: float, *, titles: int = 300) -> tuple[Fitted, Fitted, np.ndarray, np.ndarray]:
    """Titles that a feature tells a share of, the rest being their own, rated by twenty users each; two flags."""
    rng = np.random.default_rng(1)
    user, title = np.tile(np.arange(20), titles), np.repeat(np.arange(titles), 20)
    features = np.ones((titles, 3 + 2), np.float32)
    features[:, :3] = rng.normal(size=(titles, 3))
    own = rng.normal(size=(titles, 1 + RANK))
    rows = share * features[:, :1] * [1.0, -2.0, 0.5, 0.0] + (1 - share) * own
    made = [
        Fitted(rows=rng.normal(size=(20, 1 + RANK)), features=np.zeros((20, 2), np.float32), count=np.full(20, titles)),
        Fitted(rows=rows, features=features, count=np.full(titles, 20)),
    ]
    return *made, user, title


def test_features_count_as_far_as_they_tell_of_rows_left_out() -> None:
    all_of_it, half, nothing = (cold_start.tables(*told(share))[3][:3, : 1 + RANK] for share in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(all_of_it, [[1.0, -2.0, 0.5, 0.0], [0] * 4, [0] * 4], atol=0.01)
    np.testing.assert_allclose(half, [[0.5, -1.0, 0.25, 0.0], [0] * 4, [0] * 4], atol=0.1)
    np.testing.assert_array_equal(nothing, 0.0)


def test_a_title_counts_for_effects_by_the_root_of_its_ratings() -> None:
    """Of as many titles of two kinds, with opposite effects, those rated four times as often count twice."""
    users, titles, user, title = told(1.0)
    rare = np.arange(300) % 2 == 0
    rows = np.where(rare[:, np.newaxis], -titles.rows, titles.rows)
    often = np.where(rare[title], user < 5, user < 20)
    changed = dataclasses.replace(titles, rows=rows, count=np.bincount(title[often]))
    fitted = dataclasses.replace(users, count=np.bincount(user[often], minlength=20))
    table = cold_start.tables(fitted, changed, user[often], title[often])[3]
    np.testing.assert_allclose(table[0, : 1 + RANK], np.array([1.0, -2.0, 0.5, 0.0]) / 3, atol=0.15)


@pytest.mark.parametrize("first", [0, 1], ids=["somebody rates by it", "nobody does"])
def test_effects_are_trusted_as_far_as_they_tell_of_scores(first: int) -> None:
    """Features that tell all of the embeddings, by which one user of twenty rates, and nothing of the bias."""
    users, titles, user, title = told(0.0)
    rated = user >= first
    rows = np.zeros((20, 1 + RANK))
    rows[0, 1:] = 5.0
    users = dataclasses.replace(users, rows=rows, count=np.bincount(user[rated], minlength=20))
    rows = np.concatenate([titles.rows[:, :1], titles.features[:, :RANK]], axis=1)
    titles = dataclasses.replace(titles, rows=rows, count=np.bincount(title[rated]))
    table = cold_start.tables(users, titles, user[rated], title[rated])[3]
    np.testing.assert_allclose(table[:RANK, 1 : 1 + RANK], np.zeros((3, 3)) if first else np.eye(3), atol=0.01)


def test_titles_without_ratings_say_nothing_of_effects() -> None:
    users, titles, user, title = told(1.0)
    kept = np.arange(300) < 200
    rated = np.flatnonzero(title < 200)
    users = dataclasses.replace(users, count=np.full(20, 200))
    fewer = Fitted(rows=titles.rows[kept], features=titles.features[kept], count=titles.count[kept])
    unrated = dataclasses.replace(titles, rows=np.where(kept[:, np.newaxis], titles.rows, 9.0), count=20 * kept)
    one, other = (cold_start.tables(users, each, user[rated], title[rated])[3] for each in (fewer, unrated))
    np.testing.assert_allclose(one[:-1], other[:-1], rtol=1e-9, atol=1e-12)


def test_without_side_features_there_is_nothing_to_add(sides) -> None:
    users, titles, user, title = sides
    bare = [dataclasses.replace(side, features=np.zeros((len(side.rows), 0))) for side in (users, titles)]
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
    title = np.repeat(np.arange(len(count)), count)
    rows = np.random.default_rng(0).normal(size=(len(count), 1 + RANK))
    titles = Fitted(rows=rows, features=np.ones((len(count), 2), np.float32), count=np.array(count))
    users = Fitted(
        rows=np.zeros((len(title), 1 + RANK)), features=np.zeros((len(title), 2)), count=np.ones(len(title), int)
    )
    *_, table = cold_start.tables(users, titles, np.arange(len(title)), title)
    np.testing.assert_allclose(table[-1, : 1 + RANK], rows[least].mean(axis=0))
