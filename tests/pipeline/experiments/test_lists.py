"""The second table, and what lists are compared with, against counts and means made by hand."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pytest
from rich.console import Console

from data import synthetic
from pipeline.experiments import accuracy, list_methods, list_table, splits
from pipeline.experiments.list_table import ListMeasurement
from pipeline.local.task_display import TaskDisplay
from tests.modules.test_retrieval_model import clustered

SEEDS = (3,)


def measurement(
    split: str, method: str, seed: int, ndcg: list[float], kind: str = "preset", **values
) -> ListMeasurement:
    filled = {"fit_seconds": 1.0, "recall_at_10": 0.5, "coverage": 0.25, **values}
    return ListMeasurement(split=split, method=method, kind=kind, seed=seed, ndcg=np.array(ndcg), **filled)


def test_means_and_paired_errors_by_hand() -> None:
    measured = [
        measurement("u1", "preset a", 1, [0.2, 0.6, 0.4], recall_at_10=0.3),
        measurement("u1", "preset a", 2, [0.4, 0.6, 0.2], recall_at_10=0.5),
        measurement("u1", "b", 1, [0.1, 0.5, 0.0], kind="baseline"),
    ]
    first, other = list_table.summarize(measured)
    assert (first.split, first.method, first.ndcg, first.difference) == ("u1", "preset a", pytest.approx(0.4), None)
    assert first.ndcg_deviation == pytest.approx(0)
    assert first.recall_at_10 == pytest.approx(0.4)
    gaps = np.array([0.1 - 0.3, 0.5 - 0.6, 0.0 - 0.3])
    assert other.difference == pytest.approx(gaps.mean())
    assert other.difference_error == pytest.approx(gaps.std(ddof=1) / np.sqrt(3))
    assert other.ndcg_deviation is None
    assert other.cells()[:6] == ("u1", "b", "0.2000", "-0.2000 ± 0.0577", "0.5000", "25 %")


def test_random_splits_are_averaged_once_all_are_there() -> None:
    measured = [
        measurement(split, method, 1, [value + shift, value - shift])
        for split, value in zip(splits.RANDOM_SPLITS, (0.3, 0.4, 0.5), strict=True)
        for method, shift in (("preset a", 0.1), ("preset b", 0.0))
    ]
    rows = list_table.summarize(measured)
    assert [row.split for row in rows[-2:]] == ["mean of random-1, random-2, random-3"] * 2
    assert [row.ndcg for row in rows[-2:]] == pytest.approx([0.4, 0.4])
    assert rows[-1].difference == pytest.approx(0)
    # Each split has gaps of +-0.1 of two users.
    assert rows[-1].difference_error == pytest.approx(0.1 / np.sqrt(3))
    assert len(list_table.summarize(measured[2:])) == 4
    assert list_table.as_markdown(rows).startswith("| split | method | NDCG@10 |")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("lists")
    synthetic.write(root / "all", rows=2_400, users=40, titles=60, seed=4)
    splits.split_at_random(root / "all", root / "split", seed=7)
    with TaskDisplay(Console(quiet=True), 1) as display:
        yield accuracy.Split("mine", root / "split", root / "output", display)


def test_liked_are_the_high_test_ratings_of_each_user(split) -> None:
    users, titles = split.names(accuracy.USER_ID), split.names(accuracy.MOVIE_TITLE)
    high = split.test[split.test.user_rating >= 4]
    expected = high.groupby("user_id")["movie_title"].apply(set).to_dict()
    assert {users[user] for user in split.liked.users} == set(expected)
    for user, liked, number in zip(*split.liked, strict=True):
        assert {titles[title] for title in liked} == expected[users[user]] & set(titles)
        assert number == len(expected[users[user]])


def test_every_method_lists_what_was_not_rated(split) -> None:
    methods = list_methods.methods(SEEDS, peers=False)
    rated = set(zip(split.ratings.user.tolist(), split.ratings.title.tolist(), strict=True))
    for method in methods:
        answer = method.answer(split, 3)
        assert answer.predictions is None
        assert answer.lists.shape == (len(split.liked.users), 10)
        for user, listed in zip(split.liked.users, answer.lists.tolist(), strict=True):
            free = [title for title in range(split.ratings.num_titles) if (user, title) not in rated]
            found = [title for title in listed if title >= 0]
            assert set(found) <= set(free)
            assert len(set(found)) == len(found) == min(10, len(free))
    popular = methods[0].answer(split, 3).lists
    count = np.bincount(split.ratings.title, minlength=split.ratings.num_titles)
    for user, listed in zip(split.liked.users, popular.tolist(), strict=True):
        free = [title for title in range(len(count)) if (user, title) not in rated]
        assert sorted(count[title] for title in listed if title >= 0) == sorted(count[free].tolist())[-10:]


def test_neighbours_are_summed_over_what_was_rated(monkeypatch) -> None:
    monkeypatch.setattr(list_methods, "_NEIGHBOURS", 3)
    ratings = clustered(np.random.default_rng(2), users=20, titles=9)
    rated = np.zeros((20, 9))
    rated[ratings.user, ratings.title] = 1
    cosine = np.zeros((9, 9))
    for one in range(9):
        for other in range(9):
            if one != other:
                together = rated[:, one] @ rated[:, other]
                cosine[one, other] = together / np.sqrt(rated[:, one].sum() * rated[:, other].sum())
    nearest = [set(np.flatnonzero(row >= np.sort(row)[-3]).tolist()) for row in cosine]
    expected = [
        [sum(cosine[title, other] for other in nearest[title] if rated[user, other]) for title in range(9)]
        for user in range(20)
    ]
    np.testing.assert_allclose(list_methods._neighbours(ratings, 0), expected, atol=1e-6)


@pytest.mark.parametrize("scores", [list_methods._ease, list_methods._neighbours])
def test_models_know_the_taste_that_popularity_does_not(scores) -> None:
    ratings = clustered(np.random.default_rng(5), users=80)
    table = scores(ratings, 0)
    alike = np.arange(80)[:, np.newaxis] % 2 == np.arange(40) % 2
    assert table[alike].mean() > table[~alike].mean() + 0.5 * table.std()
    of_popularity = list_methods._popularity(ratings, 0)
    assert abs(of_popularity[alike].mean() - of_popularity[~alike].mean()) < 0.1 * of_popularity.std()


@pytest.mark.skipif(importlib.util.find_spec("implicit") is None, reason="implicit is not installed; it is a peer")
@pytest.mark.parametrize("scores", [list_methods._implicit_als, list_methods._implicit_bpr])
def test_the_library_knows_it_too(scores) -> None:
    ratings = clustered(np.random.default_rng(5), users=80)
    table = scores(ratings, 3)
    alike = np.arange(80)[:, np.newaxis] % 2 == np.arange(40) % 2
    assert table[alike].mean() > table[~alike].mean()
    np.testing.assert_array_equal(scores(ratings, 3), table)


def test_random_splits_differ_by_their_seed(tmp_path: pathlib.Path) -> None:
    drawn = [splits.drawn_for_test(500, seed) for seed in splits.RANDOM_SPLITS.values()]
    assert [each.sum() for each in drawn] == [100] * 3
    assert (drawn[0] != drawn[1]).any()
    np.testing.assert_array_equal(drawn[0], splits.drawn_for_test(500, 1))
