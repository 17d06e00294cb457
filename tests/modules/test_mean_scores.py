"""Mean scores as embeddings, against the mean of dense score matrices."""

from __future__ import annotations

import numpy as np
import pytest

from modules.mean_scores import MeanScores


def scores(user: np.ndarray, title: np.ndarray) -> np.ndarray:
    return user[:, :1] + title[:, :1].T + user[:, 1:] @ title[:, 1:].T


def draws(number: int, users: int = 30, titles: int = 20) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(users, 4)), rng.normal(size=(titles, 4))) for _ in range(number)]


def mean_of(samples: list[tuple[np.ndarray, np.ndarray]], rank: int, **block: int) -> tuple[np.ndarray, np.ndarray]:
    mean = MeanScores(rank, **block)
    for sample in samples:
        mean.add(*sample)
    return mean.factors()


@pytest.mark.parametrize("number", [1, 2, 8, 9, 40])
def test_a_rank_that_holds_all_gives_the_mean_of_the_scores(number: int) -> None:
    samples = draws(number)
    user, title = mean_of(samples, 20)
    assert (len(user), len(title)) == (30, 20)
    np.testing.assert_allclose(scores(user, title), np.mean([scores(*each) for each in samples], axis=0), atol=1e-9)


def test_biases_are_means_of_biases() -> None:
    samples = draws(40)
    for found, expected in zip(mean_of(samples, 2), map(np.mean, zip(*samples, strict=True), (0, 0)), strict=True):
        np.testing.assert_allclose(found[:, 0], expected[:, 0])


@pytest.mark.parametrize("number", [8, 40])
def test_a_smaller_rank_is_close_to_the_best_approximation(number: int) -> None:
    samples = draws(number)
    products = np.mean([user[:, 1:] @ title[:, 1:].T for user, title in samples], axis=0)
    user, title = mean_of(samples, 6)
    assert (user.shape, title.shape) == ((30, 7), (20, 7))
    best = np.sqrt(np.sum(np.linalg.svd(products, compute_uv=False)[6:] ** 2))
    error = np.linalg.norm(products - user[:, 1:] @ title[:, 1:].T)
    # Of few draws it is the best. Truncating on the way, to twice the rank, may cost a little.
    assert error == pytest.approx(best) if number <= 8 else error <= 1.1 * best
    # So it is of many that are gathered first.
    user, title = mean_of(samples, 6, draws_per_block=number)
    assert np.linalg.norm(products - user[:, 1:] @ title[:, 1:].T) == pytest.approx(best)


def test_embeddings_of_both_sides_are_alike_in_size() -> None:
    user, title = mean_of(draws(20), 6)
    np.testing.assert_allclose(np.linalg.norm(user[:, 1:], axis=0), np.linalg.norm(title[:, 1:], axis=0))


def test_memory_is_bounded_by_twice_the_rank_and_eight_draws() -> None:
    mean = MeanScores(6)
    widths = []
    for sample in draws(60):
        mean.add(*sample)
        widths.append(sum(block.shape[1] for block in mean._blocks[0]))
    # Nine draws are compressed to twelve columns; eight more, and again.
    assert widths[7:9] == [24, 12]
    assert max(widths) == 12 + 7 * 3
    assert widths[16] == 12


def test_draws_without_factors_have_a_mean() -> None:
    samples = [(np.eye(5, 4)[:, ::-1] * [1, 0, 0, 0], np.ones((3, 4)) * [1, 0, 0, 0]) for _ in range(12)]
    user, title = mean_of(samples, 2)
    np.testing.assert_array_equal(scores(user, title), np.mean([scores(*each) for each in samples], axis=0))


@pytest.mark.parametrize("before", [0, 3, 8, 21])
def test_a_mean_goes_on_from_its_state(before: int) -> None:
    samples = draws(30)
    first, second = MeanScores(6), MeanScores(6)
    for sample in samples[:before]:
        first.add(*sample)
    second.restore(first.state())
    for sample in samples[before:]:
        first.add(*sample)
        second.add(*sample)
    for one, other in zip(first.factors(), second.factors(), strict=True):
        np.testing.assert_array_equal(one, other)
