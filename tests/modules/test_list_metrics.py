"""Lists against loops over users and pairs, and against another library where that is installed."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from modules import list_metrics, sliced_metrics
from modules.list_metrics import Catalogue, ListSums

MODELS, USERS, TITLES, LENGTH = 3, 40, 30, 10


@pytest.fixture
def catalogue(rng: np.random.Generator) -> Catalogue:
    genres = (rng.random((TITLES, 4)) < 0.4).astype(np.float32)
    genres[5:8] = 0
    return Catalogue(count=rng.integers(1, 20, TITLES), genres=genres)


@pytest.fixture
def lists(rng: np.random.Generator) -> np.ndarray:
    """Some are shorter; one is empty, one of a single title."""
    drawn = np.array([[rng.permutation(TITLES)[:LENGTH] for _ in range(USERS)] for _ in range(MODELS)])
    drawn[0, 3, 7:] = drawn[1, 5] = -1
    drawn[2, 4, 1:] = -1
    return drawn


@pytest.fixture
def positives(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.permutation(TITLES)[: rng.integers(0, 14)] for _ in range(USERS)]


@pytest.fixture
def num_positives(rng: np.random.Generator, positives) -> np.ndarray:
    return np.array([max(1, len(each) + rng.integers(0, 2)) for each in positives])


def by_hand(listed: list[int], liked: set[int], number: int, catalogue: Catalogue) -> dict[str, float | None]:
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(number, LENGTH) + 1))
    order = sorted(range(TITLES), key=lambda title: (-catalogue.count[title], title))
    described = [catalogue.genres[title] for title in listed if catalogue.genres[title].any()]
    distances = [1 - a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in itertools.combinations(described, 2)]
    return {
        "list_ndcg": sum(1 / np.log2(rank + 1) for rank, title in enumerate(listed, 1) if title in liked) / ideal,
        "list_recall": len(set(listed) & liked) / number,
        "list_popularity_rank": np.mean([order.index(title) + 1 for title in listed]) if listed else None,
        "list_diversity": np.mean(distances) if distances else None,
    }


def test_each_metric_is_what_loops_make_of_it(lists, positives, num_positives, catalogue) -> None:
    sums = list_metrics.sum_lists(lists, positives, num_positives, catalogue)
    hands = [
        [
            by_hand([t for t in lists[model, user] if t >= 0], {*positives[user]}, num_positives[user], catalogue)
            for user in range(USERS)
        ]
        for model in range(MODELS)
    ]
    for model in range(MODELS):
        measured = sums.metrics(model)
        assert measured["list_users"] == USERS
        for name in list_metrics.BY_USER:
            values = [hand[name] for hand in hands[model] if hand[name] is not None]
            assert measured[name] == pytest.approx(np.mean(values))
            assert measured[f"{name}_stderr"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)))
        shown = [sum(title in each for each in lists[model].tolist()) for title in range(TITLES)]
        assert measured["list_coverage"] == np.mean(np.array(shown) > 0)
        gaps = np.abs(np.subtract.outer(shown, shown)).sum()
        assert measured["list_gini"] == pytest.approx(gaps / (2 * TITLES * sum(shown)))
        if model:
            lead = [hands[0][user]["list_ndcg"] - hands[model][user]["list_ndcg"] for user in range(USERS)]
            stderr = np.std(lead, ddof=1) / np.sqrt(USERS)
            assert measured["list_ndcg_lead"] == pytest.approx(np.mean(lead))
            assert measured["list_ndcg_lead_stderr"] == pytest.approx(stderr)
            assert measured["list_ndcg_lead_z"] == pytest.approx(np.mean(lead) / stderr)
        else:
            assert not set(measured) & set(list_metrics.LEADS)


def test_parts_of_the_users_add_up(lists, positives, num_positives, catalogue) -> None:
    def part(users: slice) -> ListSums:
        return list_metrics.sum_lists(lists[:, users], positives[users], num_positives[users], catalogue)

    whole, parts = part(slice(None)), {("a", "1"): part(slice(0, 15)), ("a", "2"): part(slice(15, None))}
    merged = list_metrics.with_overall(sliced_metrics.merge([{key: sums} for key, sums in parts.items()]))
    assert set(merged) == {(), *parts}
    for model in range(MODELS):
        assert merged[()].metrics(model) == pytest.approx(whole.metrics(model))
    evaluation = list_metrics.evaluation_of(merged, ["x", "y", "z"])
    assert evaluation[("a", "2")]["y"] == parts[("a", "2")].metrics(1)


def test_a_title_that_is_listed_once_is_covered(lists, positives, num_positives, catalogue) -> None:
    for users in (1, 2):
        sums = list_metrics.sum_lists(lists[:, :users], positives[:users], num_positives[:users], catalogue)
        for model in range(MODELS):
            assert sums.metrics(model)["list_coverage"] == len({*lists[model, :users].ravel()}) / TITLES


def test_models_that_list_the_same_do_not_lead(lists, positives, num_positives, catalogue) -> None:
    sums = list_metrics.sum_lists(np.repeat(lists[:1], 2, axis=0), positives, num_positives, catalogue)
    assert [sums.metrics(1)[name] for name in list_metrics.LEADS] == [0, 0, 0]


def test_gini_of_equal_and_of_single_exposure() -> None:
    assert list_metrics.gini(np.full(5, 3)) == pytest.approx(0)
    assert list_metrics.gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
    assert np.isnan(list_metrics.gini(np.zeros(3)))


def test_the_same_as_rectools(lists, positives, num_positives, catalogue) -> None:
    rectools = pytest.importorskip("rectools", reason="rectools is not installed; it is one of the peers")
    from rectools import metrics

    rated = [user for user in range(USERS) if len(positives[user])]
    number = np.array([len(positives[user]) for user in rated])
    sums = list_metrics.sum_lists(lists[:1, rated], [positives[user] for user in rated], number, catalogue)
    shown = pd.DataFrame(
        [(user, title, rank) for user in rated for rank, title in enumerate(lists[0, user], 1) if title >= 0],
        columns=[rectools.Columns.User, rectools.Columns.Item, rectools.Columns.Rank],
    )
    liked = pd.DataFrame(
        [(user, title) for user in rated for title in positives[user]],
        columns=[rectools.Columns.User, rectools.Columns.Item],
    )
    measured = sums.metrics(0)
    theirs = {
        "list_ndcg": metrics.NDCG(k=LENGTH, divide_by_achievable=True).calc(shown, liked),
        "list_recall": metrics.Recall(k=LENGTH).calc(shown, liked),
        "list_coverage": metrics.CatalogCoverage(k=LENGTH, normalize=True).calc(shown, range(TITLES)),
    }
    assert theirs == pytest.approx({name: measured[name] for name in theirs}, abs=1e-6)
